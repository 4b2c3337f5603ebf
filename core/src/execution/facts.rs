//! Facts of an execution that are known before it is planned, which conditions read.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::status::ExecutionStatus;
use crate::ids::ExecutionId;
use crate::repository::includes::PinnedInclude;
use crate::repository::webhook::PullRequestAction;
use crate::text::is_control;

/// What started an execution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A user with the CLI or the API.
    #[default]
    Manual,
    /// A retry of an earlier execution.
    Retry,
    /// A push (webhook).
    Push,
    /// A pull request (webhook).
    PullRequest,
    /// A schedule.
    Schedule,
    /// A job of another execution of the same repository.
    ParentPipeline,
    /// A group of a merge queue (webhook).
    MergeGroup,
    /// A published release (webhook).
    Release,
    /// A comment on a pull request (webhook).
    Comment,
    /// The end of an execution of another pipeline.
    Pipeline,
}

/// The variables that an execution gets from its repository. Values that must not be recorded are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExternalVariables {
    /// Those whose values may be recorded.
    pub values: IndexMap<String, String>,
    /// The names of the others, whose values only jobs get: masked ones, secrets and files.
    pub hidden: BTreeSet<String>,
    /// The names of those that jobs of some environment get; a value of the file is that of the other jobs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub of_environments: BTreeSet<String>,
    /// The only registry of images for which the repository has a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
}

impl ExternalVariables {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether one of them has this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.hidden.contains(name) || self.of_environments.contains(name)
    }
}

/// Changed paths by the ref that they are compared with, as conditions name it. `None`: the repository has no such ref.
pub type ComparedPaths = BTreeMap<String, Option<Vec<String>>>;

/// Facts of an execution that are known before it is planned. They are recorded with the execution, so that a retry
/// computes the same plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Facts {
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// The address of its repository. Not recorded with the facts, as it is recorded with the execution.
    #[serde(skip)]
    pub repo: String,
    /// The only registry of images for which the repository has a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The description of the schedule that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Its branch; for a pull request, the head branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What is known of the commit besides its hash.
    #[serde(default, skip_serializing_if = "CommitDetails::is_unknown")]
    pub details: CommitDetails,
    /// The repository's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Its pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
    /// Changed paths; `None`: unknown, so that conditions on changes hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Paths that changed since the histories of the commit and of other refs parted; a ref that is not in it is unknown, so that
    /// conditions on changes since it hold.
    #[serde(default, skip_serializing_if = "ComparedPaths::is_empty")]
    pub compared: ComparedPaths,
    /// Paths of all files at the commit; `None`: unknown, so that conditions on files hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// Variables that override the file's.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, String>,
    /// Whether a user assumed the event: it did not happen, and nobody is notified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_assumed: bool,
    /// The jobs that a user asked for.
    #[serde(default, skip_serializing_if = "JobSelection::is_all")]
    pub jobs: JobSelection,
    /// The versions of the files from elsewhere that the pipeline includes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<PinnedInclude>,
    /// Whether `changed` has all changed paths, because the execution starts children, whose conditions may read others than
    /// its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_all_changes: bool,
    /// The execution whose job started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ExecutionId>,
    /// The branch that the group of a merge queue would be merged into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_target: Option<String>,
    /// The comment that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Box<Comment>>,
    /// The execution whose end started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Box<Upstream>>,
    /// The values of the pipeline's inputs; their variables are among `variables`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
    /// Whether only a request says that a webhook or a schedule started it, which nobody verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_claimed: bool,
    /// Whether a job made the file of the execution, or of one whose jobs led to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_artifact: bool,
    /// The names of those of `variables` that the repository has, and nobody named for the execution.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub external: BTreeSet<String>,
    /// The path of the pipeline file, if the request named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A comment on a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Its text, which its author chose freely.
    pub text: String,
    /// Its author, as the provider identifies them.
    #[serde(default)]
    pub author: String,
}

/// An ended execution that started another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its id.
    pub execution: ExecutionId,
    /// The name of its pipeline.
    pub pipeline: String,
    /// How it ended.
    pub status: ExecutionStatus,
    /// Number of executions before this one that started each other by their ends.
    pub depth: u32,
    /// Maximum number of executions that are this far from the first one: the product of the numbers of followed executions
    /// that each discovery on the way started.
    pub breadth: u32,
}

/// The jobs that a user asked for, by their names in the file or those of their variants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSelection {
    /// Only these jobs, with what they need; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Of those, only these jobs and the jobs that depend on them, with what all of them need; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Of those, none of these jobs or variants, although others may need them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

impl JobSelection {
    /// Whether it selects all jobs.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.only.is_empty() && self.from.is_empty() && self.without.is_empty()
    }
}

/// Maximum length of a recorded commit message in bytes; the rest is cut off.
pub const MAX_MESSAGE_LEN: usize = 16 << 10;

/// Maximum length of an author in bytes.
pub const MAX_AUTHOR_LEN: usize = 500;

/// What is known of a commit besides its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CommitDetails {
    /// Its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its author, as `Name <address>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Whether the sources have uncommitted changes on top of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dirty: bool,
}

impl CommitDetails {
    /// Creates the details of a commit; long texts are cut off, and control characters except line breaks are removed.
    #[must_use]
    pub fn new(message: &str, author: &str) -> Self {
        let clean = |text: &str, max: usize| {
            let mut kept = String::new();
            for c in text.trim_end().chars().filter(|c| matches!(c, '\n' | '\t') || !is_control(*c)) {
                if kept.len() + c.len_utf8() > max {
                    break;
                }
                kept.push(c);
            }
            Some(kept).filter(|kept| !kept.is_empty())
        };
        let author = author.replace(['\n', '\t'], " ");
        Self {
            message: clean(message, MAX_MESSAGE_LEN),
            author: clean(&author, MAX_AUTHOR_LEN),
            dirty: false,
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the details from a mapping. What serde derives would also take a list of the fields' values, which the schema forbids.
    pub(crate) fn from_mapping<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = serde_json::Map::deserialize(deserializer)?;
        serde_json::from_value(fields.into()).map_err(D::Error::custom)
    }

    /// Returns the first line of the message.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.message.as_deref().and_then(|message| message.lines().next())
    }

    /// Whether the message asks that a push of the commit starts nothing.
    #[must_use]
    pub fn skips_ci(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["[skip ci]", "[ci skip]"].iter().any(|marker| message.contains(marker))
    }
}

/// A pull request (merge request).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// The branch that it targets.
    pub target_branch: String,
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// Whether its commits come from another repository, and so may not be trusted.
    #[serde(default)]
    pub from_fork: bool,
    /// Whether it is a draft.
    #[serde(default)]
    pub draft: bool,
    /// The names of its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What happened to it, if that started the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<PullRequestAction>,
}

impl Facts {
    /// Creates facts with only these variables.
    #[must_use]
    pub fn with_variables(variables: IndexMap<String, String>) -> Self {
        Self { variables, ..Self::default() }
    }

    /// Adds the variables of the repository; those of the execution take precedence.
    pub fn add_external(&mut self, external: ExternalVariables) {
        let mut variables = external.values;
        let is_added = |name: &&String| !self.variables.contains_key(*name);
        self.external = variables.keys().filter(is_added).cloned().collect();
        variables.extend(std::mem::take(&mut self.variables));
        self.variables = variables;
        self.registry = external.registry;
    }

    /// Whether the execution is of a protected branch: the default branch. Tags and pull requests are not protected.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.pull_request.is_none()
            && self.tag.is_none()
            && self.branch.is_some()
            && self.branch == self.default_branch
    }

    /// Whether the commit comes from another repository.
    #[must_use]
    pub fn is_from_fork(&self) -> bool {
        self.pull_request.as_ref().is_some_and(|request| request.from_fork)
    }
}
