//! The tree of a YAML document, with positions.

use std::collections::HashMap;
use std::rc::Rc;

use super::limits::{MAX_DEPTH, MAX_NODES, MAX_TEXT_BYTES};
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, Segment, quoted};
use crate::text::diagnostics::Location;

/// Number of lines reserved for each file of a composed document: line numbers encode the index of the file.
pub(crate) const LINES_PER_FILE: usize = 1 << 21;

/// A value and its position.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) location: Location,
    /// Whether it is a list tagged `!reference`, which only GitLab files may contain.
    pub(crate) is_reference: bool,
    pub(crate) size: Size,
}

/// The kind of a value, with its content.
#[derive(Debug)]
pub(crate) enum Kind {
    Scalar { text: String, plain: bool },
    Sequence(Vec<Rc<Node>>),
    Mapping(Mapping),
}

/// Entries in file order; those of merge keys come last.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    pub(crate) entries: Vec<MapEntry>,
    /// Positions by key, of a mapping with more than [`MAX_UNINDEXED`] entries.
    #[allow(clippy::box_collection, reason = "few mappings have one, and all nodes have room for it")]
    index: Option<Box<HashMap<String, usize>>>,
}

/// Up to this many entries, linear search costs less than an index.
const MAX_UNINDEXED: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct MapEntry {
    pub(crate) key: String,
    pub(crate) key_location: Location,
    pub(crate) value: Rc<Node>,
}

/// The size of a value after alias expansion.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) nodes: u32,
    pub(crate) bytes: u32,
    pub(crate) depth: u32,
}

impl Size {
    pub(crate) fn of_text(text: &str) -> Self {
        Self { nodes: 1, bytes: u32::try_from(text.len()).unwrap_or(u32::MAX), depth: 0 }
    }

    pub(crate) fn add(&mut self, child: Self) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.depth = self.depth.max(child.depth + 1);
    }

    /// Takes off the nodes and bytes of a value that is replaced. A count at its maximum stays: it may be more.
    pub(crate) fn remove(&mut self, child: Self) {
        let less = |count: u32, by: u32| if count == u32::MAX { count } else { count.saturating_sub(by) };
        self.nodes = less(self.nodes, child.nodes);
        self.bytes = less(self.bytes, child.bytes);
    }
}

impl Node {
    /// Whether this is YAML's null: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// Creates a mapping; each key must occur once.
    pub(crate) fn mapping(entries: Vec<MapEntry>, location: Location) -> Self {
        let mut mapping = Mapping::default();
        let mut size = Size { nodes: 1, bytes: 0, depth: 0 };
        for entry in entries {
            size.add(Size::of_text(&entry.key));
            size.add(entry.value.size);
            mapping.push(entry);
        }
        Self { kind: Kind::Mapping(mapping), location, is_reference: false, size }
    }

    /// Creates a list.
    pub(crate) fn sequence(items: Vec<Rc<Self>>, location: Location) -> Self {
        let mut size = Size { nodes: 1, bytes: 0, depth: 0 };
        for item in &items {
            size.add(item.size);
        }
        Self { kind: Kind::Sequence(items), location, is_reference: false, size }
    }

    /// The number of values in it after alias expansion.
    pub(crate) fn node_count(&self) -> u64 {
        u64::from(self.size.nodes)
    }

    /// Whether it exceeds a limit of documents after alias expansion.
    pub(crate) fn is_too_large(&self) -> bool {
        self.size.nodes > MAX_NODES || self.size.bytes > MAX_TEXT_BYTES || self.size.depth > MAX_DEPTH
    }

    /// The value under `key`, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&MapEntry> {
        match &self.kind {
            Kind::Mapping(mapping) => mapping.get(key),
            _ => None,
        }
    }
}

impl Mapping {
    /// The entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&MapEntry> {
        match &self.index {
            None => self.entries.iter().find(|entry| entry.key == key),
            Some(index) => index.get(key).map(|at| &self.entries[*at]),
        }
    }

    /// Adds an entry whose key is not in the mapping.
    pub(crate) fn push(&mut self, entry: MapEntry) {
        if self.entries.len() == MAX_UNINDEXED {
            let keys = self.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at));
            self.index = Some(Box::new(keys.collect()));
        }
        if let Some(index) = &mut self.index {
            index.insert(entry.key.clone(), self.entries.len());
        }
        self.entries.push(entry);
    }

    /// Puts an entry in the place of the one with its key, if there is one.
    pub(crate) fn replace(&mut self, entry: MapEntry) {
        let at = match &self.index {
            None => self.entries.iter().position(|known| known.key == entry.key),
            Some(index) => index.get(&entry.key).copied(),
        };
        if let Some(known) = at.and_then(|at| self.entries.get_mut(at)) {
            *known = entry;
        }
    }
}

/// A document, and the findings about its YAML.
pub(crate) struct Tree {
    /// `None` for a text without a value.
    pub(crate) root: Option<Rc<Node>>,
    pub(crate) findings: Vec<Finding>,
}

impl Tree {
    /// The position of a path, or of its nearest existing ancestor.
    pub(crate) fn locate(&self, path: &Path, part: PathPart) -> Location {
        self.find(path, part).0
    }

    /// The position of `length` characters of the text at `path`, starting at the character `at`; that of the whole text if its
    /// characters are escaped or span several lines.
    pub(crate) fn locate_within(&self, path: &Path, at: usize, length: usize) -> Location {
        let (location, node) = self.find(path, PathPart::Value);
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

    fn find(&self, path: &Path, part: PathPart) -> (Location, Option<&Node>) {
        let Some(mut node) = self.root.as_deref() else {
            return (Location { line: 1, column: 1, length: 0 }, None);
        };
        let mut location = Location { length: 0, ..node.location };
        for segment in path.segments() {
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
            location = if part == PathPart::Value && !nothing_written { next.location } else { at };
            node = next;
        }
        (location, Some(node))
    }
}

/// Splits a position into the index of its file and the position in that file.
pub(crate) fn split_file_index(location: Location) -> (usize, Location) {
    let (file, line) = (location.line / LINES_PER_FILE, location.line % LINES_PER_FILE);
    (file, Location { line, ..location })
}

pub(crate) fn too_deep(location: Location) -> Finding {
    Finding::error(
        "too-deep",
        FindingLocation::Position(Path::default(), location),
        format!("lists and mappings are nested more than {MAX_DEPTH} deep here"),
    )
}

pub(crate) fn alias_bomb(location: Location) -> Box<Finding> {
    let finding = Finding::error(
        "alias-bomb",
        FindingLocation::Position(Path::default(), location),
        format!(
            "after alias expansion this file is larger than {MAX_NODES} values or {} MiB",
            MAX_TEXT_BYTES >> 20
        ),
    );
    Box::new(finding.help("use fewer aliases, or split the pipeline"))
}

pub(crate) fn wrong_type(node: &Node, path: &Path, expected: &str) -> Finding {
    let actual = match &node.kind {
        Kind::Scalar { text, .. } => {
            if node.is_null() {
                return Finding::value("empty-value", path, format!("{} has no value", path.label()))
                    .help(format!("give it {expected}, or remove the key"));
            }
            quoted(text)
        }
        Kind::Sequence(_) => "a list".to_owned(),
        Kind::Mapping(_) => "a mapping".to_owned(),
    };
    Finding::value("wrong-type", path, format!("{} takes {expected}, not {actual}", path.label()))
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn replaced_value_is_taken_off_unless_the_count_is_at_its_maximum() {
        let mut size = Size::default();
        size.add(Size::of_text("a"));
        size.add(Size::of_text("bcd"));
        size.remove(Size::of_text("a"));
        assert_eq!((size.nodes, size.bytes), (1, 3));
        let mut most = Size { bytes: u32::MAX, ..size };
        most.remove(Size::of_text("a"));
        assert_eq!(most.bytes, u32::MAX);
    }
}
