//! Annotations: remarks of a job on places in the sources. Everything in them comes from jobs, so all of it is bounded.

use crate::execution::predefined::WORKSPACE_DIR;
use crate::text::{is_control, prefix};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Maximum number of annotations of a job.
pub const MAX_ANNOTATIONS: usize = 100;
/// Maximum total length in bytes of the texts of a job's annotations, so that they fit into a document.
pub const MAX_TEXT_BYTES: usize = 64 << 10;
/// Maximum length of a message in bytes.
pub const MAX_MESSAGE_LEN: usize = 4 << 10;
/// Maximum length of a title in bytes.
pub const MAX_TITLE_LEN: usize = 255;
/// Maximum length of a path in bytes.
pub const MAX_PATH_LEN: usize = 1 << 10;

/// How severe an annotation is, the most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationLevel {
    /// Something is wrong.
    Failure,
    /// Something may be wrong.
    Warning,
    /// Something is worth knowing.
    Notice,
}

impl AnnotationLevel {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// A remark of a job on a place in the sources. The order of annotations is by severity, file and line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Annotation {
    /// How severe it is.
    pub level: AnnotationLevel,
    /// The file, relative to the sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The line of the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column of the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The last line, if it is not `line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// The column at which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// A short title, such as the name of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The message.
    pub message: String,
}

impl Annotation {
    /// Creates an annotation without a place.
    #[must_use]
    pub fn new(level: AnnotationLevel, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            level,
            path: None,
            line: None,
            column: None,
            end_line: None,
            end_column: None,
            title: None,
            message,
        }
    }

    /// Returns it within its bounds, with a path that is relative to the sources; `None` if it says nothing.
    ///
    /// A path that leads out of the sources is removed, with its lines: nobody can follow it.
    #[must_use]
    pub fn normalized(self) -> Option<Self> {
        let message = truncated(&visible(&self.message, true), MAX_MESSAGE_LEN);
        let title = self.title.map(|title| truncated(&visible(&title, false), MAX_TITLE_LEN));
        let title = title.filter(|title| !title.is_empty());
        if message.is_empty() && title.is_none() {
            return None;
        }
        let path = self.path.as_deref().and_then(relative_path);
        let line = self.line.filter(|line| *line > 0 && path.is_some());
        let end_line = self.end_line.filter(|end| line.is_some_and(|line| *end > line));
        let column = self.column.filter(|column| *column > 0 && line.is_some());
        let end_column =
            self.end_column.filter(|end| column.is_some_and(|column| *end > column || end_line.is_some()));
        let end_column = end_column.filter(|end| *end > 0);
        Some(Self { level: self.level, path, line, column, end_line, end_column, title, message })
    }

    /// Returns the total length of its texts in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        of(&self.path) + of(&self.title) + self.message.len()
    }

    /// Returns file, line and column as compilers write them; `None` if it has no file.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let mut place = self.path.clone()?;
        for number in [self.line, self.column].into_iter().flatten() {
            place = format!("{place}:{number}");
        }
        Some(place)
    }
}

/// The annotations of a job: each once, in their order, within the bounds. Beyond these, the least severe are omitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnotationSet {
    all: BTreeSet<Annotation>,
    bytes: usize,
    left_out: u64,
}

impl AnnotationSet {
    /// Adds an annotation, normalized.
    pub fn add(&mut self, annotation: Annotation) {
        let Some(annotation) = annotation.normalized() else { return };
        let bytes = annotation.bytes();
        if !self.all.insert(annotation) {
            return;
        }
        self.bytes += bytes;
        while self.all.len() > MAX_ANNOTATIONS || self.bytes > MAX_TEXT_BYTES {
            let Some(last) = self.all.pop_last() else { break };
            self.bytes -= last.bytes();
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Adds the annotations of another set.
    pub fn merge(&mut self, other: Self) {
        let (all, left_out) = other.into_parts();
        for annotation in all {
            self.add(annotation);
        }
        self.leave_out(left_out);
    }

    /// Counts annotations that are omitted elsewhere.
    pub fn leave_out(&mut self, number: u64) {
        self.left_out = self.left_out.saturating_add(number);
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.left_out == 0
    }

    /// Returns the annotations in their order, and the number of those omitted.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Annotation>, u64) {
        (self.all.into_iter().collect(), self.left_out)
    }
}

/// Returns the path of a `file` address or of a relative reference, as SARIF has them; other addresses are returned unchanged.
pub(super) fn path_of_uri(uri: &str) -> String {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Returns `path` relative to the sources and without `.`, `..` and repeated slashes; `None` if it is not the path of a file in the
/// sources.
#[must_use]
pub fn relative_path(path: &str) -> Option<String> {
    let path = path.trim();
    if path.len() > MAX_PATH_LEN || path.contains(is_control) {
        return None;
    }
    let path = path.replace('\\', "/");
    let path = match path.strip_prefix(WORKSPACE_DIR) {
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => &path,
    };
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').map(str::trim) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    // A drive or an address of another kind.
    let first = parts.first().filter(|first| !first.contains(':'));
    first.map(|_| parts.join("/"))
}

/// Removes characters that a terminal or a page could interpret; line breaks become spaces unless `is_multiline`.
fn visible(text: &str, is_multiline: bool) -> String {
    let text = text.replace("\r\n", "\n");
    let shown = |c: char| match c {
        '\n' if is_multiline => Some(c),
        '\t' | '\n' | '\r' => Some(if c == '\t' && is_multiline { c } else { ' ' }),
        c if is_control(c) => None,
        c => Some(c),
    };
    text.chars().filter_map(shown).collect::<String>().trim().to_owned()
}

/// Truncates `text` to `max` bytes, with an ellipsis.
fn truncated(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}{ELLIPSIS}", prefix(text, max - ELLIPSIS.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        Annotation, AnnotationLevel, AnnotationSet, MAX_ANNOTATIONS, MAX_MESSAGE_LEN, MAX_PATH_LEN,
        MAX_TEXT_BYTES, MAX_TITLE_LEN, path_of_uri, relative_path,
    };
    use proptest::prelude::*;

    fn annotation(message: &str) -> Annotation {
        Annotation::new(AnnotationLevel::Warning, message)
    }

    #[test]
    fn path_is_relative_and_never_outside_of_sources() {
        for (path, expected) in [
            ("src/a.rs", Some("src/a.rs")),
            (" ./src//./a.rs ", Some("src/a.rs")),
            ("/workspace/src/a.rs", Some("src/a.rs")),
            ("src/../b.rs", Some("b.rs")),
            (r"src\win\a.cs", Some("src/win/a.cs")),
            ("größe/ü.txt", Some("größe/ü.txt")),
            ("src/a:b", Some("src/a:b")),
            ("/workspacex/a", None),
            ("/workspace", None),
            ("/etc/passwd", None),
            ("//host/share", None),
            ("../a", None),
            ("a/../../b", None),
            (r"..\..\a", None),
            (r"C:\a", None),
            ("https://host/a", None),
            ("javascript:alert(1)", None),
            ("a\nb", None),
            ("a\u{202e}b", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(relative_path(path).as_deref(), expected, "{path:?}");
        }
        assert_eq!(relative_path(&"a".repeat(MAX_PATH_LEN + 1)), None);
        assert_eq!(path_of_uri("file:///workspace/a%20b.rs"), "/workspace/a b.rs");
        assert_eq!(relative_path(&path_of_uri("a/%2e%2e/%2e%2e/b")), None);
    }

    #[test]
    fn annotation_without_file_has_no_lines_and_one_without_text_is_dropped() {
        let full = Annotation {
            path: Some("a.rs".into()),
            line: Some(3),
            column: Some(5),
            end_line: Some(4),
            end_column: Some(1),
            title: Some(" two\nlines\u{1b}[1m ".into()),
            ..annotation(" one\r\ntwo\tx\0\u{9b} ")
        };
        let shown = full.clone().normalized().unwrap();
        assert_eq!((shown.title.as_deref(), shown.message.as_str()), (Some("two lines[1m"), "one\ntwo\tx"));
        assert_eq!((shown.end_line, shown.end_column), (Some(4), Some(1)));
        assert_eq!(shown.place().unwrap(), "a.rs:3:5");
        let outside = Annotation { path: Some("../a.rs".into()), ..full.clone() }.normalized().unwrap();
        assert_eq!((outside.place(), outside.line, outside.end_column), (None, None, None));
        let backwards = Annotation { end_line: Some(2), ..full.clone() }.normalized().unwrap();
        assert_eq!((backwards.end_line, backwards.end_column), (None, None));
        let zero = Annotation { line: Some(0), ..full }.normalized().unwrap();
        assert_eq!((zero.line, zero.column), (None, None));
        assert_eq!(annotation(" \n ").normalized(), None);
    }

    #[test]
    fn set_is_ordered_without_duplicates_and_keeps_the_most_severe() {
        let mut set = AnnotationSet::default();
        for number in 0..500 {
            set.add(annotation(&format!("warning {number:03}")));
        }
        for number in 0..50 {
            set.add(annotation(&format!("warning {number:03}")));
        }
        let at = |path: &str, line| Annotation {
            path: Some(path.into()),
            line: Some(line),
            ..Annotation::new(AnnotationLevel::Failure, "wrong")
        };
        for annotation in [at("b.rs", 1), at("a.rs", 20), at("a.rs", 3), at("./a.rs", 3)] {
            set.add(annotation);
        }
        set.add(Annotation::new(AnnotationLevel::Notice, "last"));
        set.leave_out(5);
        let (all, left_out) = set.into_parts();
        assert_eq!((all.len(), left_out), (MAX_ANNOTATIONS, 504 - MAX_ANNOTATIONS as u64 + 5));
        let places: Vec<_> = all.iter().take(4).map(Annotation::place).collect();
        let failures = ["a.rs:3", "a.rs:20", "b.rs:1"].map(|place| Some(place.to_owned()));
        assert_eq!(places[..3], failures);
        assert_eq!((places[3].as_ref(), all[3].message.as_str()), (None, "warning 000"));
    }

    fn any_annotation() -> impl Strategy<Value = Annotation> {
        // A long text is repeated: as a pattern of one character each, it takes a hundred times as long to generate.
        let repeated = (prop::sample::select(vec!["x", "\u{85}", "é"]), 0..6_000_usize);
        let long = repeated.prop_map(|(text, times)| text.repeat(times));
        let text = prop_oneof![any::<String>(), "[a./\\\\:%]{0,20}", long];
        let level = prop::sample::select(vec![
            AnnotationLevel::Failure,
            AnnotationLevel::Warning,
            AnnotationLevel::Notice,
        ]);
        let numbers = any::<[Option<u8>; 4]>();
        (level, prop::option::of(text.clone()), prop::option::of(text.clone()), text, numbers).prop_map(
            |(level, path, title, message, numbers)| {
                let [line, column, end_line, end_column] = numbers.map(|number| number.map(u32::from));
                Annotation { level, path, line, column, end_line, end_column, title, message }
            },
        )
    }

    proptest! {
        #[test]
        fn bounds_hold_for_any_annotations(all in prop::collection::vec(any_annotation(), 0..150)) {
            let mut set = AnnotationSet::default();
            for one in &all {
                set.add(one.clone());
            }
            let (kept, left_out) = set.into_parts();
            prop_assert!(kept.len() <= MAX_ANNOTATIONS && kept.len() as u64 + left_out <= all.len() as u64);
            prop_assert!(kept.iter().map(Annotation::bytes).sum::<usize>() <= MAX_TEXT_BYTES);
            prop_assert!(kept.is_sorted());
            for one in kept {
                prop_assert!(one.message.len() <= MAX_MESSAGE_LEN);
                prop_assert!(one.title.iter().all(|title| title.len() <= MAX_TITLE_LEN));
                let path = one.path.as_deref().unwrap_or("a");
                prop_assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".." && !part.is_empty()));
                prop_assert_eq!(one.clone().normalized(), Some(one));
            }
        }
    }
}
