//! Findings about a GitLab file, with their locations.

pub(crate) mod synonyms;

use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::{Location, Severity};

/// The findings so far.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) findings: Vec<Finding>,
}

impl Log {
    /// Whether there is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Reports a key that has no effect; the jobs run as they would with it.
    pub(crate) fn ignored(&mut self, path: &Path, entry: &MapEntry, why: &str) {
        self.ignored_at(&path.key(&entry.key), entry.key_location, &format!("`{}`", entry.key), why);
    }

    /// Like [`Self::ignored`], for something that is not a key.
    pub(crate) fn ignored_at(&mut self, path: &Path, at: Location, what: &str, why: &str) {
        let message = format!("{what} is not supported: {why}");
        self.findings.push(
            Finding::error("gitlab-key-ignored", FindingLocation::Position(path.clone(), at), message)
                .warning(),
        );
    }

    /// Reports an unsupported key that would change what runs.
    pub(crate) fn unsupported(&mut self, path: &Path, entry: &MapEntry, why: &str, help: &str) {
        self.unsupported_at(
            &path.key(&entry.key),
            entry.key_location,
            &format!("`{}`", entry.key),
            why,
            help,
        );
    }

    /// Like [`Self::unsupported`], for something that is not a key.
    pub(crate) fn unsupported_at(&mut self, path: &Path, at: Location, what: &str, why: &str, help: &str) {
        let message = format!("{what} is not supported: {why}");
        let finding =
            Finding::error("gitlab-key-refused", FindingLocation::Position(path.clone(), at), message);
        self.findings.push(if help.is_empty() { finding } else { finding.help(help) });
    }

    /// Reports a key that is translated to something with a different meaning.
    pub(crate) fn changed(&mut self, path: &Path, at: Location, message: impl Into<String>) {
        self.findings.push(
            Finding::error("gitlab-changed", FindingLocation::Position(path.clone(), at), message).warning(),
        );
    }

    /// Reports a value that is invalid in GitLab too, or unknown to the translation.
    pub(crate) fn invalid(&mut self, path: &Path, at: Location, message: impl Into<String>) {
        self.findings.push(Finding::error(
            "gitlab-wrong-value",
            FindingLocation::Position(path.clone(), at),
            message,
        ));
    }

    /// Like [`Self::invalid`], with a suggestion.
    pub(crate) fn invalid_with_help(&mut self, path: &Path, at: Location, message: String, help: &str) {
        self.findings.push(
            Finding::error("gitlab-wrong-value", FindingLocation::Position(path.clone(), at), message)
                .help(help),
        );
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(&mut self, path: &Path, node: &Node, expected: &str) {
        let what = path.label();
        self.invalid(path, node.location, format!("{what} takes {expected}"));
    }

    /// Reports an unknown key.
    pub(crate) fn unknown_key(&mut self, path: &Path, entry: &MapEntry, known: &[&str]) {
        let message = format!("{} is not a GitLab key at this position", quoted(&entry.key));
        let advice = synonyms::advice(&entry.key, known);
        let near = || {
            let near = crate::text::suggest::nearest(&entry.key, known.iter().copied());
            near.map(|near| format!("did you mean `{near}`?"))
        };
        let finding = Finding::error(
            "gitlab-unknown-key",
            FindingLocation::Position(path.key(&entry.key), entry.key_location),
            message,
        );
        self.findings.push(finding.maybe_help(advice.or_else(near)));
    }
}
