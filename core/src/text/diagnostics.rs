//! Diagnostics of a pipeline file: as data, and rendered as text.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The severity of a [`Diagnostic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is rejected.
    Error,
    /// The file is accepted, but may not do what is intended.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A range of characters on one line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// The line, counted from 1.
    pub line: usize,
    /// Column of the first character, counted in characters from 1.
    pub column: usize,
    /// Number of characters; 0 if nothing is there.
    pub length: usize,
}

/// An additional location that explains a [`Diagnostic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// What is at the location.
    pub message: String,
    /// The location.
    pub location: Location,
    /// The file of the location, if it is a file included by the checked one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// An error or a warning about a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Whether the file is rejected because of it.
    pub severity: Severity,
    /// A stable identifier of the kind of error, such as `unknown-need`.
    pub code: String,
    /// The error in one sentence.
    pub message: String,
    /// The path in the document's structure, such as `jobs.unit.needs[0]`; empty for the whole file.
    pub path: String,
    /// The location in the text, if known.
    pub location: Option<Location>,
    /// The file of the location, if it is a file included by the checked one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A suggestion how to fix it.
    pub help: Option<String>,
    /// Additional locations, such as that of the first of two equal keys.
    pub related: Vec<Related>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.location {
            if let Some(file) = &self.file {
                write!(f, "{file}:")?;
            }
            write!(f, "{}:{}: ", at.line, at.column)?;
        }
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// The starts of a text's lines, to convert locations to byte ranges.
pub(crate) struct LineIndex<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// Indexes `source`, whose lines end as in YAML: with LF, CR LF or CR.
    pub(crate) fn new(source: &'a str) -> Self {
        let bytes = source.as_bytes();
        let mut starts = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                starts.push(at + 1);
            }
        }
        Self { source, starts }
    }

    /// Returns the number of lines; the last one may be empty.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns the location of the character that starts at a byte.
    pub(crate) fn location(&self, at: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or_default();
        let column = self.source.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        Location { line, column, length: 1 }
    }

    /// Returns the text of a line counted from 1, without its line break; empty if there is no such line.
    pub(crate) fn line(&self, line: usize) -> &'a str {
        let Some(start) = line.checked_sub(1).and_then(|line| self.starts.get(line)) else { return "" };
        let end = self.starts.get(line).copied().unwrap_or(self.source.len());
        self.source[*start..end].trim_end_matches(['\n', '\r'])
    }

    /// Returns the byte range of `location`, limited to its line.
    fn bytes(&self, location: Location) -> std::ops::Range<usize> {
        let start = location.line.checked_sub(1).and_then(|line| self.starts.get(line)).copied();
        let start = start.unwrap_or(self.source.len());
        let line = self.line(location.line);
        let offset = |chars: usize| line.char_indices().nth(chars).map_or(line.len(), |(at, _)| at);
        let from = location.column.saturating_sub(1);
        start + offset(from)..start + offset(from + location.length.max(1))
    }
}

/// Locations that are more lines apart are rendered as separate excerpts.
const MAX_EXCERPT_GAP: usize = 40;

/// Renders `diagnostics` as text: message, `file:line:column`, the source line underlined, and help.
///
/// `source_name` is the displayed name of the file; `source` is the text that was checked. The result is empty without
/// diagnostics, and otherwise ends with a line break.
pub fn render_human(source_name: &str, source: &str, diagnostics: &[Diagnostic], color: bool) -> String {
    render_files(&[(source_name, source)], diagnostics, color)
}

/// Renders diagnostics of a file and the files that it includes, given their names and texts; the file itself comes
/// first.
pub fn render_files(files: &[(&str, &str)], diagnostics: &[Diagnostic], color: bool) -> String {
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { name, index: LineIndex::new(text) }).collect();
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&[group(&sources, diagnostic)]));
        out.push('\n');
    }
    out
}

struct Source<'a> {
    name: &'a str,
    index: LineIndex<'a>,
}

fn source_of<'s, 'a>(sources: &'s [Source<'a>], file: Option<&str>) -> Option<&'s Source<'a>> {
    let named = file.and_then(|file| sources.iter().skip(1).find(|source| source.name == file));
    named.or(sources.first())
}

fn group<'a>(sources: &[Source<'a>], diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group =
        Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str()));
    let own = source_of(sources, diagnostic.file.as_deref());
    match (diagnostic.location, own) {
        (_, None) => {}
        (None, Some(own)) => group = group.element(Origin::path(own.name)),
        (Some(primary), Some(own)) => {
            let (near, far): (Vec<&Related>, Vec<&Related>) = diagnostic.related.iter().partition(|r| {
                r.file == diagnostic.file && r.location.line.abs_diff(primary.line) <= MAX_EXCERPT_GAP
            });
            group = group.element(excerpt(own, Some(primary), &near));
            for related in far {
                let source = source_of(sources, related.file.as_deref()).unwrap_or(own);
                group = group.element(excerpt(source, None, &[related]));
            }
        }
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    group
}

/// Creates an excerpt from the first location to the last only, so that a long file costs no more than a short one.
fn excerpt<'a>(
    source: &Source<'a>,
    primary: Option<Location>,
    related: &[&'a Related],
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let (source_name, index) = (source.name, &source.index);
    let locations = || primary.into_iter().chain(related.iter().map(|r| r.location));
    let last_line = index.starts.len();
    let first = locations().map(|p| p.line).min().unwrap_or(1).clamp(1, last_line);
    let last = locations().map(|p| p.line).max().unwrap_or(1).clamp(first, last_line);
    let start = index.starts[first - 1];
    let end = index.starts.get(last).copied().unwrap_or(index.source.len());
    let range = |location: Location| {
        let bytes = index.bytes(location);
        bytes.start.clamp(start, end) - start..bytes.end.clamp(start, end) - start
    };
    let mut snippet =
        Snippet::source(&index.source[start..end]).line_start(first).path(source_name).fold(true);
    if let Some(primary) = primary {
        snippet = snippet.annotation(AnnotationKind::Primary.span(range(primary)));
    }
    for related in related {
        snippet = snippet.annotation(
            AnnotationKind::Context
                .span(range(related.location))
                .label(normalize_untrusted_str(&related.message)),
        );
    }
    snippet
}
