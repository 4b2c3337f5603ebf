//! What a worker must find out about a commit.

use crate::execution::facts::{ExternalVariables, Facts, Trigger};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to find out about the commit of the assignment's source. An empty commit stands for the one that `fetch_ref`
/// points to; an abbreviated one must be the one that `fetch_ref` points to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// A ref to fetch if the commit is not reachable from a branch: the head of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_ref: Option<String>,
    /// The commit that changes are computed from. Absent: the merge base with `target_branch`; without that, changes
    /// are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The target branch of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Whether the commit starts nothing if its message has `[skip ci]` or `[ci skip]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_skip: bool,
    /// Only these files; empty: all below `.pipelines/`, and `.gitlab-ci.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// The variables that are set outside of the files, which the translation of a GitLab file needs. Not recorded: the assignment
    /// has those of its time.
    #[serde(default, skip_serializing_if = "ExternalVariables::is_empty")]
    pub external: ExternalVariables,
    /// Only the pipelines in these files start, and others are read for what follows them; empty: all whose triggers match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_only: Vec<String>,
    /// The values of the inputs of a GitLab file.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
    /// Whether one pipeline starts, as the child of the discovery, which a job of another repository started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starts_child: bool,
    /// What is known of the event before the discovery, for GitLab files that are not the same for all events. Not recorded: the
    /// assignment has those of its execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub event: Option<Box<Facts>>,
}

/// The file of GitLab, whose inputs are given to its translation.
const GITLAB_FILE: &str = ".gitlab-ci.yml";

impl Discovery {
    /// Whether it starts the files that it names, whatever their triggers are: a user asked for them.
    #[must_use]
    pub fn starts_by_name(&self, trigger: Trigger) -> bool {
        trigger == Trigger::Manual && !self.starts_child && !self.start_only.is_empty()
    }

    /// Returns the given values of the inputs of a file that starts by its name; `None` if triggers decide whether it starts.
    #[must_use]
    pub fn given_inputs(&self, path: &str, trigger: Trigger) -> Option<IndexMap<String, String>> {
        let is_started = self.starts_by_name(trigger) && self.start_only.iter().any(|one| one == path);
        is_started.then(|| if path == GITLAB_FILE { IndexMap::new() } else { self.inputs.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Discovery, GITLAB_FILE, Trigger};

    #[test]
    fn only_a_named_file_of_a_manual_discovery_starts_whatever_its_triggers_are() {
        let start_only = vec!["a.yml".to_owned(), GITLAB_FILE.to_owned()];
        let inputs = [("level".to_owned(), "3".to_owned())].into();
        let named = Discovery { start_only, inputs, ..Discovery::default() };
        assert_eq!(named.given_inputs("a.yml", Trigger::Manual), Some(named.inputs.clone()));
        let of_gitlab = named.given_inputs(GITLAB_FILE, Trigger::Manual);
        assert!(of_gitlab.is_some_and(|inputs| inputs.is_empty()), "its translation gets them");
        assert_eq!(named.given_inputs("b.yml", Trigger::Manual), None);
        for trigger in [Trigger::Push, Trigger::Schedule, Trigger::Retry, Trigger::Pipeline] {
            assert_eq!(named.given_inputs("a.yml", trigger), None, "{trigger:?}");
        }
        let sync = Discovery::default();
        assert!(!sync.starts_by_name(Trigger::Manual), "reading schedules starts nothing");
        let child = Discovery { starts_child: true, ..named };
        assert_eq!(child.given_inputs("a.yml", Trigger::Manual), None);
    }
}
