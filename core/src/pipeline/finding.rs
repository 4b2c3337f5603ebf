//! What a rule found wrong, before its place in the text is looked up.

use std::fmt::{self, Write as _};

use crate::diagnostics::{Location, Severity};

/// One step down into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// A place in a document's structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

impl Path {
    /// The path one mapping key further down.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The path one list item further down.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The path one step further down.
    pub(crate) fn with(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }

    /// How a message calls this place: its key, or an item of a key.
    pub(crate) fn called(&self) -> String {
        let last_key = self.0.iter().rposition(|s| matches!(s, Segment::Key(_)));
        match (last_key, self.0.last()) {
            (Some(at), Some(Segment::Index(index))) => {
                let Segment::Key(key) = &self.0[at] else { return String::new() };
                format!("item {} of `{key}`", index + 1)
            }
            (Some(at), _) => match &self.0[at] {
                Segment::Key(key) => format!("`{key}`"),
                Segment::Index(_) => String::new(),
            },
            (None, Some(Segment::Index(index))) => format!("item {}", index + 1),
            (None, _) => "the pipeline file".to_owned(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
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

/// Which text of a path's place is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The key that leads there; the value where a list item leads there.
    Key,
    /// What is written there.
    Value,
}

/// Where a finding, or something related to it, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In the structure; the position is looked up later.
    At(Path, Part),
    /// In a text of the structure: its first character, counted from 0, and how many.
    Within(Path, usize, usize),
    /// In the text already.
    Text(Path, Location),
}

/// One mistake or oddity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) spot: Spot,
    pub(crate) help: Option<String>,
    pub(crate) related: Vec<(String, Spot)>,
}

impl Finding {
    /// An error about `spot`.
    pub(crate) fn error(code: &'static str, spot: Spot, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, code, message, spot, help: None, related: Vec::new() }
    }

    /// An error about what is written at `path`.
    pub(crate) fn value(code: &'static str, path: &Path, message: impl Into<String>) -> Self {
        Self::error(code, Spot::At(path.clone(), Part::Value), message)
    }

    /// An error about the key that leads to `path`.
    pub(crate) fn key(code: &'static str, path: &Path, message: impl Into<String>) -> Self {
        Self::error(code, Spot::At(path.clone(), Part::Key), message)
    }

    /// The same, as a warning.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same, with advice.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with advice when there is some.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        if help.is_some() {
            self.help = help;
        }
        self
    }

    /// The same, pointing at another place too.
    pub(crate) fn related(mut self, message: impl Into<String>, spot: Spot) -> Self {
        self.related.push((message.into(), spot));
        self
    }
}

/// What is wrong with a single value, wherever it stands.
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

    /// The finding this is at `path`.
    pub(crate) fn at(self, path: &Path) -> Finding {
        Finding::value(self.code, path, format!("{} {}", path.called(), self.message)).maybe_help(self.help)
    }
}

/// `text` as a message may quote it: one line, not longer than a reader wants.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    format!("`{out}`")
}
