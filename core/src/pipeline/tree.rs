//! A YAML document with the position of everything in it; built only when something is wrong, or when the
//! text may hold aliases, whose expansion must be bounded before anything follows them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::finding::{Finding, Part, Path, Segment, Spot};
use crate::diagnostics::{LineIndex, Location};

/// The files that a text is made from are told apart by the lines of their places: those of the next file start here.
const LINES_PER_FILE: usize = 1 << 21;

/// How deep lists and mappings may lie in each other; a pipeline needs six.
const DEEPEST: usize = 64;
/// How many values a document may have with every alias written out.
const MOST_NODES: u64 = 1_000_000;
/// How many bytes of text a document may have with every alias written out.
const MOST_BYTES: u64 = 16 << 20;

/// A value and where it is written.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) location: Location,
    /// Whether it is a list tagged `!reference`, which only GitLab's files may have.
    pub(crate) is_reference: bool,
    size: Size,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind {
    Scalar { text: String, plain: bool },
    Sequence(Vec<Rc<Node>>),
    Mapping(Mapping),
}

/// Entries in the order they are written, those that a merge key brings in last.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    pub(crate) entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_location: Location,
    pub(crate) value: Rc<Node>,
}

/// What a value comes to once aliases are written out.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: u64,
    bytes: u64,
    depth: usize,
}

impl Size {
    fn add(&mut self, child: Self) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.depth = self.depth.max(child.depth + 1);
    }
}

impl Node {
    /// Whether this is YAML's null: nothing at all, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// A mapping of these entries, each key once.
    pub(crate) fn mapping(entries: Vec<Entry>, location: Location) -> Self {
        let mut mapping = Mapping::default();
        let mut size = Size { nodes: 1, bytes: 0, depth: 0 };
        for entry in entries {
            size.add(Size { nodes: 1, bytes: entry.key.len() as u64, depth: 0 });
            size.add(entry.value.size);
            mapping.push(&entry.key, entry.key_location, entry.value);
        }
        Self { kind: Kind::Mapping(mapping), location, is_reference: false, size }
    }

    /// A list of these items.
    pub(crate) fn sequence(items: Vec<Rc<Self>>, location: Location) -> Self {
        let mut size = Size { nodes: 1, bytes: 0, depth: 0 };
        for item in &items {
            size.add(item.size);
        }
        Self { kind: Kind::Sequence(items), location, is_reference: false, size }
    }

    /// How many values it has with every alias written out.
    pub(crate) fn nodes(&self) -> u64 {
        self.size.nodes
    }

    /// Whether it is larger than a document may be, its aliases written out.
    pub(crate) fn is_too_large(&self) -> bool {
        self.size.nodes > MOST_NODES || self.size.bytes > MOST_BYTES || self.size.depth > DEEPEST
    }

    /// The value under `key`, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Mapping(mapping) => mapping.index.get(key).map(|at| &mapping.entries[*at]),
            _ => None,
        }
    }
}

/// A document, and the mistakes that belong to YAML rather than to pipelines.
pub(crate) struct Tree {
    /// `None` for a text without a value.
    pub(crate) root: Option<Rc<Node>>,
    pub(crate) findings: Vec<Finding>,
}

impl Tree {
    /// The position of a place, or of the nearest thing around it.
    pub(crate) fn locate(&self, path: &Path, part: Part) -> Location {
        self.find(path, part).0
    }

    /// The position of `length` characters of the text at `path`, from the character `at` on; that of the whole text where
    /// it is not written on one line as it is.
    pub(crate) fn locate_within(&self, path: &Path, at: usize, length: usize) -> Location {
        let (location, node) = self.find(path, Part::Value);
        let Some(Kind::Scalar { text, plain }) = node.map(|node| &node.kind) else { return location };
        let characters = text.chars().count();
        let before = match location.length.checked_sub(characters) {
            Some(0) if *plain => 0,
            Some(2) if !*plain => 1,
            _ => return location,
        };
        let end = (at + length).min(characters).max(at + 1);
        Location { line: location.line, column: location.column + before + at, length: end - at }
    }

    fn find(&self, path: &Path, part: Part) -> (Location, Option<&Node>) {
        let Some(mut node) = self.root.as_deref() else {
            return (Location { line: 1, column: 1, length: 0 }, None);
        };
        let mut location = Location { length: 0, ..node.location };
        for segment in &path.0 {
            let (at, next) = match (segment, &node.kind) {
                (Segment::Key(key), Kind::Mapping(_)) => match node.get(key) {
                    Some(entry) => (entry.key_location, &entry.value),
                    None => break,
                },
                (Segment::Index(index), Kind::Sequence(items)) => match items.get(*index) {
                    Some(item) => (item.location, item),
                    None => break,
                },
                // One value may stand for a list of one.
                (Segment::Index(0), Kind::Scalar { .. } | Kind::Mapping(_)) => continue,
                _ => break,
            };
            let nothing_written = next.location.length == 0;
            location = if part == Part::Value && !nothing_written { next.location } else { at };
            node = next;
        }
        (location, Some(node))
    }
}

/// Whether a text may hold aliases or tags, seen without parsing it; may err on the side of yes.
pub(crate) fn may_alias(source: &str) -> bool {
    let bytes = source.as_bytes();
    let mut before = b'\n';
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(byte, b'*' | b'!') && matches!(before, b' ' | b'\t' | b'\n' | b'\r' | b'[' | b'{' | b',')
        {
            let after = bytes.get(at + 1).copied().unwrap_or(b' ');
            if !after.is_ascii_whitespace() {
                return true;
            }
        }
        before = *byte;
    }
    false
}

/// The file that a place is in, and its place there.
pub(crate) fn place_in_file(location: Location) -> (usize, Location) {
    let (file, line) = (location.line / LINES_PER_FILE, location.line % LINES_PER_FILE);
    (file, Location { line, ..location })
}

/// Reads the whole of `source`; stops at the first syntax error, as what follows one means nothing.
pub(crate) fn build(source: &str) -> Result<Tree, Box<Finding>> {
    build_file(source, 0)
}

/// The same for one of several files, whose places say that they are in it.
pub(crate) fn build_file(source: &str, file: usize) -> Result<Tree, Box<Finding>> {
    read(source, file, false)
}

/// The same for a file of GitLab's, in which lists may be tagged `!reference`.
pub(crate) fn build_gitlab_file(source: &str, file: usize) -> Result<Tree, Box<Finding>> {
    read(source, file, true)
}

fn read(source: &str, file: usize, references: bool) -> Result<Tree, Box<Finding>> {
    if let Some(location) = super::bounds::deep_line(source) {
        let line = file * LINES_PER_FILE + location.line;
        return Err(Box::new(too_deep(Location { line, ..location })));
    }
    let mut builder = Builder {
        references,
        first_line: file * LINES_PER_FILE,
        lines: LineIndex::new(source),
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        merged: 0,
        findings: Vec::new(),
    };
    let mut parser = Parser::new_from_str(source);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.syntax(&error))?;
        builder.event(event, span)?;
    }
    Ok(Tree { root: builder.root, findings: builder.findings })
}

struct Frame {
    anchor: usize,
    start: Span,
    size: Size,
    is_reference: bool,
    content: Content,
}

enum Content {
    Sequence(Vec<Rc<Node>>),
    Mapping { mapping: Mapping, merges: Vec<(Location, Rc<Node>)>, key: Option<Rc<Node>> },
}

struct Builder<'a> {
    /// Whether `!reference` may stand in the text.
    references: bool,
    first_line: usize,
    lines: LineIndex<'a>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    documents: usize,
    merged: u64,
    findings: Vec<Finding>,
}

impl Builder<'_> {
    fn location(&self, span: Span) -> Location {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let length = if span.end.line() == line {
            span.end.col().saturating_sub(span.start.col())
        } else {
            let rest = self.lines.line(line).trim_end().chars().count();
            rest.saturating_sub(span.start.col())
        };
        Location { line: self.first_line + line, column, length }
    }

    fn spot(&self, span: Span) -> Spot {
        Spot::Text(Path::default(), self.location(span))
    }

    fn syntax(&self, error: &ScanError) -> Box<Finding> {
        let mark = *error.marker();
        if error.info().contains("recursion limit") {
            return self.too_deep(Span::empty(mark));
        }
        let mut location = self.location(Span::empty(mark));
        location.length = 1;
        let line = self.lines.line(mark.line());
        let finding = Finding::error(
            "yaml-syntax",
            Spot::Text(Path::default(), location),
            format!("this is not valid YAML: {}", error.info()),
        );
        let indented_by_tab = line.trim_start_matches(' ').starts_with('\t');
        Box::new(if indented_by_tab || error.info().contains("tab") {
            finding.help("YAML is indented with spaces; replace the tab")
        } else if error.info().contains("mapping values") {
            finding.help("put text that holds `: ` between quotes")
        } else {
            finding
        })
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Finding>> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 2 {
                    let finding = Finding::error(
                        "many-documents",
                        self.spot(span),
                        "a pipeline file holds one YAML document, and here a second one starts",
                    );
                    return Err(Box::new(finding.help("keep each pipeline in a file of its own")));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                let size = Size { nodes: 1, bytes: text.len() as u64, depth: 0 };
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let kind = Kind::Scalar { text: Cow::into_owned(text), plain };
                let node = Node { kind, location: self.location(span), is_reference: false, size };
                self.finish(Rc::new(node), anchor, span)?;
            }
            Event::SequenceStart(anchor, tag) => {
                let is_reference = self.references
                    && tag.as_deref().is_some_and(|tag| tag.handle == "!" && tag.suffix == "reference");
                if !is_reference {
                    self.refuse_tag(tag.as_deref(), span);
                }
                self.open(anchor, span, Content::Sequence(Vec::new()))?;
                if let Some(frame) = self.stack.last_mut() {
                    frame.is_reference = is_reference;
                }
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                let mapping = Mapping::default();
                self.open(anchor, span, Content::Mapping { mapping, merges: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Box::new(Finding::error(
                        "yaml-syntax",
                        self.spot(span),
                        "this alias stands inside the value that it names",
                    )));
                };
                self.finish(node, 0, span)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag else { return };
        if !tag.is_yaml_core_schema() && tag.handle != "!" || !tag.suffix.is_empty() && tag.handle == "!" {
            let written = format!("!{}", tag.suffix);
            let finding = Finding::error(
                "unknown-tag",
                self.spot(span),
                format!("YAML tags such as `{written}` mean nothing in a pipeline file"),
            );
            self.findings
                .push(finding.help("use an anchor (`&name`) and an alias (`*name`) to share a value"));
        }
    }

    fn open(&mut self, anchor: usize, start: Span, content: Content) -> Result<(), Box<Finding>> {
        if self.stack.len() >= DEEPEST {
            return Err(self.too_deep(start));
        }
        let size = Size { nodes: 1, bytes: 0, depth: 0 };
        self.stack.push(Frame { anchor, start, size, is_reference: false, content });
        Ok(())
    }

    fn too_deep(&self, span: Span) -> Box<Finding> {
        Box::new(too_deep(self.location(span)))
    }

    fn close(&mut self, end: Span) -> Result<(), Box<Finding>> {
        let Some(mut frame) = self.stack.pop() else { return Ok(()) };
        let span = Span::new(frame.start.start, end.end);
        let kind = match frame.content {
            Content::Sequence(items) => Kind::Sequence(items),
            Content::Mapping { mut mapping, merges, .. } => {
                for (at, base) in merges {
                    self.merge(&mut mapping, at, &base, &mut frame.size)?;
                }
                Kind::Mapping(mapping)
            }
        };
        let is_reference = frame.is_reference;
        let node = Node { kind, location: self.location(span), is_reference, size: frame.size };
        self.finish(Rc::new(node), frame.anchor, span)
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Rc<Node>, anchor: usize, span: Span) -> Result<(), Box<Finding>> {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let location = self.location(span);
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size.add(node.size);
        if frame.size.nodes > MOST_NODES || frame.size.bytes > MOST_BYTES {
            return Err(alias_bomb(location));
        }
        if frame.size.depth > DEEPEST {
            return Err(self.too_deep(span));
        }
        match &mut frame.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { mapping, merges, key } => match key.take() {
                None => *key = Some(node),
                Some(key) => {
                    let Kind::Scalar { text, plain } = &key.kind else {
                        self.findings.push(Finding::error(
                            "wrong-type",
                            Spot::Text(Path::default(), key.location),
                            "a key must be text, not a list or a mapping",
                        ));
                        return Ok(());
                    };
                    if *plain && text == "<<" {
                        merges.push((key.location, node));
                    } else if let Some(first) = mapping.index.get(text) {
                        let first = mapping.entries[*first].key_location;
                        self.findings.push(
                            Finding::error(
                                "duplicate-key",
                                Spot::Text(Path::default(), key.location),
                                format!("{} is written twice in this mapping", super::finding::quoted(text)),
                            )
                            .help("keep one of the two")
                            .related("first written here", Spot::Text(Path::default(), first)),
                        );
                    } else {
                        mapping.push(text, key.location, node);
                    }
                }
            },
        }
        Ok(())
    }

    /// Brings the entries of `base` into `mapping`, which keeps its own.
    fn merge(
        &mut self,
        mapping: &mut Mapping,
        at: Location,
        base: &Node,
        size: &mut Size,
    ) -> Result<(), Box<Finding>> {
        let bases: Vec<&Node> = match &base.kind {
            Kind::Sequence(items) => items.iter().map(AsRef::as_ref).collect(),
            _ => vec![base],
        };
        for base in bases {
            let Kind::Mapping(base) = &base.kind else {
                self.findings.push(Finding::error(
                    "wrong-type",
                    Spot::Text(Path::default(), at),
                    "a merge key `<<` takes a mapping, or a list of mappings",
                ));
                continue;
            };
            self.merged += base.entries.len() as u64;
            if self.merged > MOST_NODES {
                return Err(alias_bomb(at));
            }
            for entry in &base.entries {
                if !mapping.index.contains_key(&entry.key) {
                    size.add(entry.value.size);
                    mapping.push(&entry.key, entry.key_location, Rc::clone(&entry.value));
                }
            }
        }
        Ok(())
    }
}

impl Mapping {
    fn push(&mut self, key: &str, key_location: Location, value: Rc<Node>) {
        self.index.insert(key.to_owned(), self.entries.len());
        self.entries.push(Entry { key: key.to_owned(), key_location, value });
    }
}

pub(crate) fn too_deep(location: Location) -> Finding {
    Finding::error(
        "too-deep",
        Spot::Text(Path::default(), location),
        format!("lists and mappings lie more than {DEEPEST} deep in each other here"),
    )
}

pub(crate) fn alias_bomb(location: Location) -> Box<Finding> {
    let finding = Finding::error(
        "alias-bomb",
        Spot::Text(Path::default(), location),
        format!(
            "with its aliases written out this file is larger than {MOST_NODES} values or {} MiB",
            MOST_BYTES >> 20
        ),
    );
    Box::new(finding.help("use fewer aliases, or split the pipeline"))
}
