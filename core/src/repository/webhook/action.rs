//! What can happen to a pull request, under one name for all providers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to a pull request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestAction {
    /// It was opened.
    #[default]
    Opened,
    /// It was opened again.
    Reopened,
    /// It has new commits.
    Synchronized,
    /// It is no draft any more.
    ReadyForReview,
    /// It has a new label.
    Labeled,
    /// A label was removed.
    Unlabeled,
    /// It was closed without a merge.
    Closed,
    /// It was merged.
    Merged,
}

impl PullRequestAction {
    /// All actions by their names in pipeline files and conditions.
    pub const ALL: [(&str, Self); 8] = [
        ("opened", Self::Opened),
        ("reopened", Self::Reopened),
        ("synchronized", Self::Synchronized),
        ("ready_for_review", Self::ReadyForReview),
        ("labeled", Self::Labeled),
        ("unlabeled", Self::Unlabeled),
        ("closed", Self::Closed),
        ("merged", Self::Merged),
    ];
    /// The actions that start a pipeline whose file names none.
    pub const DEFAULT: [Self; 4] = [Self::Opened, Self::Reopened, Self::Synchronized, Self::ReadyForReview];

    /// Returns the name in pipeline files and conditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }

    /// Whether a list of actions includes this one: a merge also closes a pull request.
    #[must_use]
    pub fn is_among(self, actions: &[Self]) -> bool {
        actions.contains(&self) || self == Self::Merged && actions.contains(&Self::Closed)
    }
}
