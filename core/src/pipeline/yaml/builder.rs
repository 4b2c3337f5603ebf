//! Builds the tree of a document from the events of a YAML parser.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::anchors::{self, InvalidName};
use super::input::TextInput;
use super::limits::{MAX_DEPTH, MAX_NODES, MAX_TEXT_BYTES, deep_line};
use super::line_scanner::with_indented_lines;
use super::merge_keys::{duplicate_key, merge_over};
use super::origin::ReplacedText;
use super::scalars::{self, ScalarType};
use super::tree::{Kind, LINES_PER_FILE, MapEntry, Mapping, Node, Size, Tree, alias_bomb, too_deep};
use super::unquoted;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::text::diagnostics::{LineIndex, Location};

/// Builds the tree of `source`. Stops at the first syntax error.
pub(crate) fn build(source: &str) -> Result<Tree, Box<Finding>> {
    build_file(source, 0)
}

/// Like [`build`], for the file with the index `file` of several; its positions encode the index.
pub(crate) fn build_file(source: &str, file: usize) -> Result<Tree, Box<Finding>> {
    read(source, file, Dialect::Native, None)
}

/// Like [`build_file`], for a GitLab file: YAML 1.1 as GitLab reads it, in which lists may be tagged `!reference`.
pub(crate) fn build_gitlab_file(source: &str, file: usize) -> Result<Tree, Box<Finding>> {
    read(source, file, Dialect::GitLab, None).or_else(|error| match with_indented_lines(source) {
        Some(indented) => read(&indented, file, Dialect::GitLab, None).map_err(|_| error),
        None => Err(error),
    })
}

/// Like [`build_gitlab_file`], for a text in which parts were replaced; positions are those of the original.
pub(crate) fn build_replaced(source: &ReplacedText, file: usize) -> Result<Tree, Box<Finding>> {
    read(&source.text, file, Dialect::GitLab, Some(source))
}

/// Whose YAML it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// YAML 1.2, in which a key occurs once.
    Native,
    /// YAML 1.1 as Ruby's Psych reads it: the last of several equal keys is the one that counts, merged ones included.
    GitLab,
}

fn read(
    source: &str,
    file: usize,
    dialect: Dialect,
    replaced: Option<&ReplacedText>,
) -> Result<Tree, Box<Finding>> {
    let lines = LineIndex::new(source);
    if let Some(location) = deep_line(&lines) {
        let line = file * LINES_PER_FILE + location.line;
        return Err(Box::new(too_deep(Location { line, ..location })));
    }
    let mut builder = Builder {
        dialect,
        replaced,
        first_line: file * LINES_PER_FILE,
        lines,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        merged: 0,
        findings: Vec::new(),
    };
    builder.check_characters(source)?;
    let mut parser = Parser::new(TextInput::new(source));
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
    Mapping {
        mapping: Mapping,
        /// The merge keys of a native file, which are applied last.
        merges: Vec<(Location, Rc<Node>)>,
        /// The keys of a GitLab file that only a merge key has set so far.
        merged: HashSet<String>,
        key: Option<Key>,
    },
}

/// A key whose value has not been read yet.
struct Key {
    /// `None` for a key that is a list or a mapping.
    text: Option<String>,
    plain: bool,
    location: Location,
}

struct Builder<'a> {
    dialect: Dialect,
    replaced: Option<&'a ReplacedText>,
    first_line: usize,
    lines: LineIndex<'a>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    documents: usize,
    merged: usize,
    findings: Vec<Finding>,
}

impl Builder<'_> {
    fn location(&self, span: Span) -> Location {
        self.original(self.location_in_text(span))
    }

    /// Returns the position in the original, with the index of the file.
    fn original(&self, location: Location) -> Location {
        let original = self.replaced.map_or(location, |replaced| replaced.original(location));
        Location { line: self.first_line + original.line, ..original }
    }

    fn location_in_text(&self, span: Span) -> Location {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let lines = self.lines.count();
        if line > lines {
            // The parser adds a line break at the end of a text that lacks one, so an error there is on a line that does not exist.
            let column = self.lines.line(lines).chars().count() + 1;
            return Location { line: lines, column, length: 1 };
        }
        let length = if span.end.line() == line {
            span.end.col().saturating_sub(span.start.col())
        } else {
            let rest = self.lines.line(line).trim_end().chars().count();
            rest.saturating_sub(span.start.col())
        };
        Location { line, column, length }
    }

    /// Rejects characters that YAML does not allow: some readers stop at them, others read them as text.
    fn check_characters(&self, source: &str) -> Result<(), Box<Finding>> {
        // Without a branch per byte, the compiler vectorizes this.
        let is_common = |good: bool, byte: &u8| good & matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        if source.as_bytes().chunks(256).all(|chunk| chunk.iter().fold(true, is_common)) {
            return Ok(());
        }
        let Some((at, invalid)) =
            source.char_indices().find(|(at, c)| !(is_printable(*c) || *at == 0 && *c == BYTE_ORDER_MARK))
        else {
            return Ok(());
        };
        let location = self.lines.location(at);
        let message =
            format!("this is not valid YAML: the character U+{:04X} is not allowed", u32::from(invalid));
        let location = self.original(location);
        Err(Box::new(
            Finding::error("yaml-syntax", FindingLocation::Position(Path::default(), location), message)
                .help("remove it, or write it as an escape between double quotes"),
        ))
    }

    fn spot(&self, span: Span) -> FindingLocation {
        FindingLocation::Position(Path::default(), self.location(span))
    }

    fn syntax(&self, error: &ScanError) -> Box<Finding> {
        let mark = *error.marker();
        if error.info().contains("recursion limit") {
            return self.too_deep(Span::empty(mark));
        }
        if let Some(finding) = self.unquoted_condition(mark.line()) {
            return Box::new(finding);
        }
        if error.info().contains("unknown anchor")
            && let Err(finding) = self.check_anchor_name(mark, '*')
        {
            return finding;
        }
        let mut location = self.location(Span::empty(mark));
        location.length = 1;
        let line = self.lines.line(mark.line());
        let finding = Finding::error(
            "yaml-syntax",
            FindingLocation::Position(Path::default(), location),
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
                self.check_anchor(anchor, span)?;
                // What was meant has no further mistakes.
                let text = match self.refuse_tag(tag.as_deref(), span, true) {
                    Some(tag) => Cow::Owned(format!("{tag} {text}").trim_end().to_owned()),
                    None => text,
                };
                let size = Size::of_text(&text);
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let location = self.location(span);
                let text = Cow::into_owned(text);
                if anchor == 0
                    && let Some(Frame { size: all, content: Content::Mapping { key, .. }, .. }) =
                        self.stack.last_mut()
                    && key.is_none()
                {
                    all.add(size);
                    *key = Some(Key { text: Some(text), plain, location });
                    return Ok(());
                }
                let text = if plain && self.dialect == Dialect::GitLab {
                    self.resolve(text, location)
                } else {
                    text
                };
                let kind = Kind::Scalar { text, plain };
                let node = Node { kind, location, is_reference: false, size };
                self.finish(Rc::new(node), anchor, span)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_anchor(anchor, span)?;
                let is_reference = self.dialect == Dialect::GitLab
                    && tag.as_deref().is_some_and(|tag| tag.handle == "!" && tag.suffix == "reference");
                if !is_reference {
                    self.refuse_tag(tag.as_deref(), span, false);
                }
                self.open(anchor, span, Content::Sequence(Vec::new()))?;
                if let Some(frame) = self.stack.last_mut() {
                    frame.is_reference = is_reference;
                }
            }
            Event::MappingStart(anchor, tag) => {
                self.check_anchor(anchor, span)?;
                self.refuse_tag(tag.as_deref(), span, false);
                let content = Content::Mapping {
                    mapping: Mapping::default(),
                    merges: Vec::new(),
                    merged: HashSet::new(),
                    key: None,
                };
                self.open(anchor, span, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Box::new(Finding::error(
                        "yaml-syntax",
                        self.spot(span),
                        "this alias is inside the value that it refers to",
                    )));
                };
                self.finish(node, 0, span)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// Checks the name of the anchor of a value, which `span` begins with, unless a tag stands before it.
    fn check_anchor(&self, anchor: usize, span: Span) -> Result<(), Box<Finding>> {
        if anchor == 0 { Ok(()) } else { self.check_anchor_name(span.start, '&') }
    }

    /// Rejects names that YAML 1.1 and 1.2 read differently: `&a:` is an anchor `a:` in one and a key with an anchor `a` in the
    /// other.
    fn check_anchor_name(&self, start: Marker, sign: char) -> Result<(), Box<Finding>> {
        let Some(InvalidName { line, column, name }) = anchors::invalid_name(&self.lines, start, sign) else {
            return Ok(());
        };
        if let Some(finding) = self.unquoted_condition(line) {
            return Err(Box::new(finding));
        }
        let length = name.chars().count() + 1;
        let location = self.original(Location { line, column, length });
        let kind = if sign == '&' { "anchor" } else { "alias" };
        let message = format!("{} is not a valid {kind} name", quoted(name));
        Err(Box::new(
            Finding::error("yaml-syntax", FindingLocation::Position(Path::default(), location), message)
                .help("use letters, digits, `_` and `-`, and write a space before a `:` that follows"),
        ))
    }

    /// Returns the finding about a condition on a line of a native file that begins with `!` and is not between quotes.
    fn unquoted_condition(&self, line: usize) -> Option<Finding> {
        let condition =
            unquoted::condition(self.lines.line(line)).filter(|_| self.dialect == Dialect::Native)?;
        Some(condition.finding(self.original(condition.location(line))))
    }

    /// Returns the text of a plain scalar of a GitLab file.
    fn resolve(&mut self, text: String, location: Location) -> String {
        let (kind, normal) = scalars::resolve(&text);
        if kind == ScalarType::Date {
            let message = format!("{} is a date without quotes, which GitLab does not read", quoted(&text));
            let spot = FindingLocation::Position(Path::default(), location);
            self.findings.push(Finding::error("gitlab-date", spot, message).help("write it between quotes"));
        }
        if normal == text.as_str() { text } else { normal.into_owned() }
    }

    /// Reports a tag other than those that change nothing. Returns the tag of a text that begins with `!`, as in `if: !fork`.
    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span, is_scalar: bool) -> Option<String> {
        let tag = tag?;
        let is_of_yaml = tag.is_yaml_core_schema();
        // Other tags change the meaning of a value.
        if is_of_yaml && matches!(tag.suffix.as_str(), "str" | "seq" | "map") {
            return None;
        }
        let written = format!("{}{}", if is_of_yaml { "!!" } else { "!" }, tag.suffix);
        if let Some(finding) = self.unquoted_condition(span.start.line()).filter(|_| is_scalar) {
            self.findings.push(finding);
            return Some(written);
        }
        let is_text = is_scalar && !is_of_yaml && tag.suffix != "reference";
        let for_text = || format!("if the value begins with `!`, write it between quotes: `\"{written}\"`");
        let for_others = "use an anchor (`&name`) and an alias (`*name`) to share a value";
        let help = if is_text { for_text() } else { for_others.to_owned() };
        let message = format!("YAML tags such as `{written}` have no meaning in a pipeline file");
        self.findings.push(Finding::error("unknown-tag", self.spot(span), message).help(help));
        is_text.then_some(written)
    }

    fn open(&mut self, anchor: usize, start: Span, content: Content) -> Result<(), Box<Finding>> {
        if self.stack.len() >= MAX_DEPTH as usize {
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

    /// Adds a complete value to the collection that contains it.
    fn finish(&mut self, node: Rc<Node>, anchor: usize, span: Span) -> Result<(), Box<Finding>> {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size.add(node.size);
        if frame.size.nodes > MAX_NODES || frame.size.bytes > MAX_TEXT_BYTES {
            return Err(alias_bomb(self.location(span)));
        }
        if frame.size.depth > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        match &mut frame.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { mapping, merges, merged, key } => match key.take() {
                None => {
                    let (text, plain) = match &node.kind {
                        Kind::Scalar { text, plain } => (Some(text.clone()), *plain),
                        _ => (None, false),
                    };
                    *key = Some(Key { text, plain, location: node.location });
                }
                Some(key) => {
                    let Some(text) = key.text else {
                        self.findings.push(Finding::error(
                            "wrong-type",
                            FindingLocation::Position(Path::default(), key.location),
                            "a key must be text, not a list or a mapping",
                        ));
                        return Ok(());
                    };
                    let entry = MapEntry { key: text, key_location: key.location, value: node };
                    if key.plain && entry.key == "<<" {
                        if self.dialect == Dialect::GitLab {
                            self.merged +=
                                merge_over(mapping, merged, &entry, &mut frame.size, &mut self.findings);
                            if self.merged > MAX_NODES as usize {
                                return Err(alias_bomb(key.location));
                            }
                        } else {
                            merges.push((key.location, entry.value));
                        }
                    } else if let Some(first) = mapping.get(&entry.key) {
                        if self.dialect == Dialect::Native {
                            self.findings.push(duplicate_key(&entry, first).help("keep one of the two"));
                        } else {
                            if !merged.remove(&entry.key) {
                                let finding = duplicate_key(&entry, first)
                                    .help("GitLab uses the last one, and so does this");
                                self.findings.push(finding.warning());
                            }
                            mapping.replace(entry);
                        }
                    } else {
                        mapping.push(entry);
                    }
                }
            },
        }
        Ok(())
    }

    /// Adds the entries of `base` to `mapping`, whose own entries win.
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
                    FindingLocation::Position(Path::default(), at),
                    "a merge key `<<` takes a mapping, or a list of mappings",
                ));
                continue;
            };
            self.merged += base.entries.len();
            if self.merged > MAX_NODES as usize {
                return Err(alias_bomb(at));
            }
            for entry in &base.entries {
                if mapping.get(&entry.key).is_none() {
                    size.add(entry.value.size);
                    mapping.push(entry.clone());
                }
            }
        }
        Ok(())
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether YAML allows this character outside of escapes.
const fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}
