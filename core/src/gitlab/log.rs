//! What is to be said about a file: each with its place in it.

use crate::diagnostics::Location;
use crate::pipeline::finding::{Finding, Path, Spot, quoted};
use crate::pipeline::tree::{Entry, Node};

/// What was found, in the order of finding.
#[derive(Default)]
pub(super) struct Log {
    pub(super) findings: Vec<Finding>,
}

impl Log {
    /// A key that has no effect here, and what that means; the jobs run as they would with it.
    pub(super) fn ignored(&mut self, path: &Path, entry: &Entry, why: &str) {
        self.ignored_at(&path.key(&entry.key), entry.key_location, &format!("`{}`", entry.key), why);
    }

    /// The same of something that is no key.
    pub(super) fn ignored_at(&mut self, path: &Path, at: Location, what: &str, why: &str) {
        let message = format!("{what} is not honoured: {why}");
        self.findings
            .push(Finding::error("gitlab-key-ignored", Spot::Text(path.clone(), at), message).warning());
    }

    /// A key that would change what runs, and cannot be honoured.
    pub(super) fn refused(&mut self, path: &Path, entry: &Entry, why: &str, help: &str) {
        self.refused_at(&path.key(&entry.key), entry.key_location, &format!("`{}`", entry.key), why, help);
    }

    /// The same of something that is no key.
    pub(super) fn refused_at(&mut self, path: &Path, at: Location, what: &str, why: &str, help: &str) {
        let message = format!("{what} cannot be honoured: {why}");
        let finding = Finding::error("gitlab-key-refused", Spot::Text(path.clone(), at), message);
        self.findings.push(if help.is_empty() { finding } else { finding.help(help) });
    }

    /// What is carried over as something else.
    pub(super) fn changed(&mut self, path: &Path, at: Location, message: impl Into<String>) {
        self.findings.push(Finding::error("gitlab-changed", Spot::Text(path.clone(), at), message).warning());
    }

    /// What GitLab would not take either, or takes and this translation does not know.
    pub(super) fn wrong(&mut self, path: &Path, at: Location, message: impl Into<String>) {
        self.findings.push(Finding::error("gitlab-wrong-value", Spot::Text(path.clone(), at), message));
    }

    /// The same with advice.
    pub(super) fn wrong_with_help(&mut self, path: &Path, at: Location, message: String, help: &str) {
        self.findings
            .push(Finding::error("gitlab-wrong-value", Spot::Text(path.clone(), at), message).help(help));
    }

    /// A value that is not of the kind that its key takes.
    pub(super) fn wrong_type(&mut self, path: &Path, node: &Node, expected: &str) {
        let what = path.called();
        self.wrong(path, node.location, format!("{what} takes {expected}"));
    }

    /// A key that nobody knows.
    pub(super) fn unknown(&mut self, path: &Path, entry: &Entry, known: &[&str]) {
        let message = format!("{} is no key that GitLab documents here", quoted(&entry.key));
        let near = crate::pipeline::suggest::nearest(&entry.key, known.iter().copied());
        let finding = Finding::error(
            "gitlab-unknown-key",
            Spot::Text(path.key(&entry.key), entry.key_location),
            message,
        );
        self.findings.push(finding.maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
    }
}
