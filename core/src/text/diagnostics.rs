//! What is wrong with a file: as data, and as text for people.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted, though it may not do what was meant.
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

/// A run of characters on one line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// The line, counted from 1.
    pub line: usize,
    /// The first character's column, counted in characters from 1.
    pub column: usize,
    /// How many characters are meant; 0 where nothing is written.
    pub length: usize,
}

/// Another place that helps to understand a [`Diagnostic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// Where it is.
    pub location: Location,
    /// The file that it is in, if that is another one than the file that was read: one that it includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// One thing that is wrong, or odd, in a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Whether the file is refused because of it.
    pub severity: Severity,
    /// A stable name of the kind of mistake, such as `unknown-need`.
    pub code: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The place in the document's structure, such as `jobs.unit.needs[0]`; empty for the whole file.
    pub path: String,
    /// The place in the text, where one is known.
    pub location: Option<Location>,
    /// The file that it is in, if that is another one than the file that was read: one that it includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that matter, such as the first of two equal keys.
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

/// Where the lines of a text start, so that places can be turned into byte ranges.
pub(crate) struct LineIndex<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// Indexes `source`, whose lines end as YAML's do: by LF, CR LF or CR.
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

    /// How many lines there are; the last one may be empty.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// The place of the character that starts at a byte.
    pub(crate) fn location(&self, at: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or_default();
        let column = self.source.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        Location { line, column, length: 1 }
    }

    /// The text of a line counted from 1, without its line break; empty when there is no such line.
    pub(crate) fn line(&self, line: usize) -> &'a str {
        let Some(start) = line.checked_sub(1).and_then(|line| self.starts.get(line)) else { return "" };
        let end = self.starts.get(line).copied().unwrap_or(self.source.len());
        self.source[*start..end].trim_end_matches(['\n', '\r'])
    }

    /// The bytes that `location` covers; within its line, whatever it says.
    fn bytes(&self, location: Location) -> std::ops::Range<usize> {
        let start = location.line.checked_sub(1).and_then(|line| self.starts.get(line)).copied();
        let start = start.unwrap_or(self.source.len());
        let line = self.line(location.line);
        let offset = |chars: usize| line.char_indices().nth(chars).map_or(line.len(), |(at, _)| at);
        let from = location.column.saturating_sub(1);
        start + offset(from)..start + offset(from + location.length.max(1))
    }
}

/// Lines further apart than this are shown as two excerpts.
const MAX_EXCERPT_GAP: usize = 40;

/// Draws `diagnostics` for people: message, `file:line:column`, the source line underlined, and help.
///
/// `source_name` is how the file is called in the output; `source` is the text that was checked. The
/// result is empty without diagnostics, and otherwise ends with a line break.
pub fn render_human(source_name: &str, source: &str, diagnostics: &[Diagnostic], color: bool) -> String {
    render_files(&[(source_name, source)], diagnostics, color)
}

/// The same for a file and those that it includes: names and texts, the file itself first.
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

/// The lines from the first place to the last, and nothing else: a long file costs no more than a short one.
fn excerpt<'a>(
    source: &Source<'a>,
    primary: Option<Location>,
    related: &[&'a Related],
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let (source_name, index) = (source.name, &source.index);
    let places = || primary.into_iter().chain(related.iter().map(|r| r.location));
    let last_line = index.starts.len();
    let first = places().map(|p| p.line).min().unwrap_or(1).clamp(1, last_line);
    let last = places().map(|p| p.line).max().unwrap_or(1).clamp(first, last_line);
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
