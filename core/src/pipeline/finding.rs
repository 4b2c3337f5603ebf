//! Findings of checks, before their positions in the text are known.

use std::fmt::{self, Write as _};
use std::rc::Rc;

use crate::text::diagnostics::{Location, Severity};

/// Maximum number of errors, and of warnings, that are reported for one file.
pub(crate) const MAX_FINDINGS: usize = 200;

/// One step of a path: a key of a mapping, or an index of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(Rc<str>),
    Index(usize),
}

/// A path in a document. Paths share their prefixes, so that they are cheap to extend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(Option<Rc<PathStep>>);

#[derive(Debug, PartialEq, Eq)]
struct PathStep {
    parent: Path,
    segment: Segment,
}

impl Path {
    /// The path one mapping key further down.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.join(Segment::Key(key.into()))
    }

    /// The path one list item further down.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.join(Segment::Index(index))
    }

    /// The path one step further down.
    pub(crate) fn join(&self, segment: Segment) -> Self {
        Self(Some(Rc::new(PathStep { parent: self.clone(), segment })))
    }

    /// The last step; `None` for the document itself.
    pub(crate) fn last(&self) -> Option<&Segment> {
        self.0.as_ref().map(|step| &step.segment)
    }

    /// The number of steps.
    pub(crate) fn depth(&self) -> usize {
        self.upwards().count()
    }

    /// The steps, outermost first.
    pub(crate) fn segments(&self) -> Vec<&Segment> {
        let mut segments: Vec<&Segment> = self.upwards().collect();
        segments.reverse();
        segments
    }

    fn upwards(&self) -> impl Iterator<Item = &Segment> {
        std::iter::successors(self.0.as_deref(), |step| step.parent.0.as_deref()).map(|step| &step.segment)
    }

    /// Returns its first key.
    pub(crate) fn first_key(&self) -> Option<&str> {
        match self.upwards().last() {
            Some(Segment::Key(key)) => Some(key.as_ref()),
            _ => None,
        }
    }

    /// Whether it leads through a key.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.upwards().any(|segment| matches!(segment, Segment::Key(own) if own.as_ref() == key))
    }

    /// Its name in messages: a key, or an item of a key.
    pub(crate) fn label(&self) -> String {
        let key = self.upwards().find_map(|segment| match segment {
            Segment::Key(key) => Some(key),
            Segment::Index(_) => None,
        });
        match (key, self.last()) {
            (Some(key), Some(Segment::Index(index))) => format!("item {} of `{key}`", index + 1),
            (Some(key), _) => format!("`{key}`"),
            (None, Some(Segment::Index(index))) => format!("item {}", index + 1),
            (None, _) => "the pipeline file".to_owned(),
        }
    }
}

/// The path of a value being read. It lives on the stack, and becomes a [`Path`] only for a finding.
#[derive(Clone, Copy)]
pub(crate) struct Trail<'a>(Option<(&'a Trail<'a>, TrailStep<'a>)>);

#[derive(Clone, Copy)]
enum TrailStep<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Trail<'a> {
    /// The document itself.
    pub(crate) const ROOT: Self = Self(None);

    /// The path one mapping key further down.
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self(Some((self, TrailStep::Key(key))))
    }

    /// The path one list item further down.
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self(Some((self, TrailStep::Index(index))))
    }

    /// Whether it is the document itself.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_none()
    }

    /// Converts it into a [`Path`].
    pub(crate) fn to_path(self) -> Path {
        match self.0 {
            None => Path::default(),
            Some((parent, TrailStep::Key(key))) => parent.to_path().key(key),
            Some((parent, TrailStep::Index(index))) => parent.to_path().index(index),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.segments().into_iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if at > 0 {
                        f.write_char('.')?;
                    }
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(plain) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Which part of a path's entry is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathPart {
    /// The key; the value if it is an item of a list.
    Key,
    /// The value.
    Value,
}

/// The location of a finding or of related information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FindingLocation {
    /// At a path, whose position is looked up later.
    Path(Path, PathPart),
    /// Within the text at a path: the first character, counted from 0, and the number of characters.
    TextRange(Path, usize, usize),
    /// At a known position.
    Position(Path, Location),
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) location: FindingLocation,
    pub(crate) help: Option<String>,
    pub(crate) related: Vec<(String, FindingLocation)>,
}

impl Finding {
    /// Returns the path that it is about.
    pub(crate) fn path(&self) -> &Path {
        match &self.location {
            FindingLocation::Path(path, _)
            | FindingLocation::TextRange(path, ..)
            | FindingLocation::Position(path, _) => path,
        }
    }

    /// Creates an error at `spot`.
    pub(crate) fn error(code: &'static str, location: FindingLocation, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, code, message, location, help: None, related: Vec::new() }
    }

    /// Creates an error about the value at `path`.
    pub(crate) fn value(code: &'static str, path: &Path, message: impl Into<String>) -> Self {
        Self::error(code, FindingLocation::Path(path.clone(), PathPart::Value), message)
    }

    /// Creates an error about the key at `path`.
    pub(crate) fn key(code: &'static str, path: &Path, message: impl Into<String>) -> Self {
        Self::error(code, FindingLocation::Path(path.clone(), PathPart::Key), message)
    }

    /// Turns it into a warning.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds advice.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds advice, if any.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        if help.is_some() {
            self.help = help;
        }
        self
    }

    /// Adds a related location.
    pub(crate) fn related(mut self, message: impl Into<String>, spot: FindingLocation) -> Self {
        self.related.push((message.into(), spot));
        self
    }
}

/// An error in a single value, without its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    /// Continues the sentence "`key` ...".
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Converts it into a finding at `path`.
    pub(crate) fn into_finding(self, path: &Path) -> Finding {
        Finding::value(self.code, path, format!("{} {}", path.label(), self.message)).maybe_help(self.help)
    }
}

/// Quotes `text` for a message: one line, shortened to 60 characters.
pub(crate) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut out: String = text
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        out.push('…');
    }
    format!("`{out}`")
}

/// Keeps the first [`MAX_FINDINGS`] findings of each severity, and adds one of that severity with the number of the others.
pub(crate) fn keep_first(findings: &mut Vec<Finding>) {
    let (mut errors, mut warnings) = (0_usize, 0_usize);
    findings.retain(|finding| {
        let count = if finding.severity == Severity::Error { &mut errors } else { &mut warnings };
        *count += 1;
        *count <= MAX_FINDINGS
    });
    let last = |message| Finding::key("too-many", &Path::default(), message);
    if let Some(others) = errors.checked_sub(MAX_FINDINGS).filter(|others| *others > 0) {
        let noun = if others == 1 { "error is" } else { "errors are" };
        findings.push(last(format!("{others} more {noun} not shown; fix these first")));
    }
    if let Some(others) = warnings.checked_sub(MAX_FINDINGS).filter(|others| *others > 0) {
        let noun = if others == 1 { "warning is" } else { "warnings are" };
        findings.push(last(format!("{others} more {noun} not shown")).warning());
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, MAX_FINDINGS, Path, keep_first};
    use crate::text::diagnostics::Severity;

    #[test]
    fn diagnostics_beyond_limit_are_counted_by_severity() {
        let error = Finding::value("x", &Path::default(), "x");
        let warning = error.clone().warning();
        let kept = |errors: usize, warnings: usize| {
            let mut findings = [vec![warning.clone(); warnings], vec![error.clone(); errors]].concat();
            keep_first(&mut findings);
            findings
        };
        assert_eq!(kept(MAX_FINDINGS, MAX_FINDINGS).len(), MAX_FINDINGS + MAX_FINDINGS);
        let both = kept(3 * MAX_FINDINGS, MAX_FINDINGS + 1);
        let [.., of_errors, of_warnings] = both.as_slice() else { panic!("{}", both.len()) };
        assert_eq!(both.len(), MAX_FINDINGS + MAX_FINDINGS + 2);
        assert_eq!(
            (of_errors.severity, of_errors.message.as_str()),
            (Severity::Error, "400 more errors are not shown; fix these first")
        );
        assert_eq!(
            (of_warnings.severity, of_warnings.message.as_str()),
            (Severity::Warning, "1 more warning is not shown")
        );
    }

    #[test]
    fn paths_are_shown_and_named_by_their_last_key() {
        let path = Path::default().key("jobs").key("a b").key("needs").index(1);
        assert_eq!(path.to_string(), "jobs.\"a b\".needs[1]");
        assert_eq!((path.label(), path.depth()), ("item 2 of `needs`".to_owned(), 4));
        assert_eq!(Path::default().label(), "the pipeline file");
    }
}
