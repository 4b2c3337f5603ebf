//! Findings about a GitLab file, each with its place.

use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// The findings so far.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) findings: Vec<Finding>,
}

impl Log {
    /// Reports a key that has no effect; the jobs run as they would with it.
    pub(crate) fn ignored(&mut self, path: &Path, entry: &MapEntry, why: &str) {
        self.ignored_at(&path.key(&entry.key), entry.key_location, &format!("`{}`", entry.key), why);
    }

    /// The same for something that is no key.
    pub(crate) fn ignored_at(&mut self, path: &Path, at: Location, what: &str, why: &str) {
        let message = format!("{what} is not supported: {why}");
        self.findings.push(
            Finding::error("gitlab-key-ignored", FindingLocation::Text(path.clone(), at), message).warning(),
        );
    }

    /// Reports a key that would change what runs, and is not supported.
    pub(crate) fn refused(&mut self, path: &Path, entry: &MapEntry, why: &str, help: &str) {
        self.refused_at(&path.key(&entry.key), entry.key_location, &format!("`{}`", entry.key), why, help);
    }

    /// The same for something that is no key.
    pub(crate) fn refused_at(&mut self, path: &Path, at: Location, what: &str, why: &str, help: &str) {
        let message = format!("{what} is not supported: {why}");
        let finding = Finding::error("gitlab-key-refused", FindingLocation::Text(path.clone(), at), message);
        self.findings.push(if help.is_empty() { finding } else { finding.help(help) });
    }

    /// Reports a key that is translated into something with another meaning.
    pub(crate) fn changed(&mut self, path: &Path, at: Location, message: impl Into<String>) {
        self.findings.push(
            Finding::error("gitlab-changed", FindingLocation::Text(path.clone(), at), message).warning(),
        );
    }

    /// Reports a value that is invalid in GitLab too, or that this translation does not know.
    pub(crate) fn wrong(&mut self, path: &Path, at: Location, message: impl Into<String>) {
        self.findings.push(Finding::error(
            "gitlab-wrong-value",
            FindingLocation::Text(path.clone(), at),
            message,
        ));
    }

    /// The same with advice.
    pub(crate) fn wrong_with_help(&mut self, path: &Path, at: Location, message: String, help: &str) {
        self.findings.push(
            Finding::error("gitlab-wrong-value", FindingLocation::Text(path.clone(), at), message).help(help),
        );
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(&mut self, path: &Path, node: &Node, expected: &str) {
        let what = path.label();
        self.wrong(path, node.location, format!("{what} takes {expected}"));
    }

    /// Reports an unknown key.
    pub(crate) fn unknown(&mut self, path: &Path, entry: &MapEntry, known: &[&str]) {
        let message = format!("{} is not a key that GitLab documents here", quoted(&entry.key));
        let near = crate::text::suggest::nearest(&entry.key, known.iter().copied());
        let finding = Finding::error(
            "gitlab-unknown-key",
            FindingLocation::Text(path.key(&entry.key), entry.key_location),
            message,
        );
        self.findings.push(finding.maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
    }
}
