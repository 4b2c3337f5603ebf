//! The events of a delivery, independent of the provider.

use super::{action::PullRequestAction, body_error::BodyError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, str::FromStr};

/// Maximum length of a stored title, in characters.
const MAX_TITLE_LEN: usize = 250;
/// Maximum number of stored labels of a pull request.
const MAX_LABELS: usize = 100;
/// Maximum length of a comment that can start something, in bytes.
pub const MAX_COMMENT_LEN: usize = 4 << 10;

/// A git provider, which sends webhooks and receives commit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub, and GitHub Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
    /// Bitbucket Cloud.
    Bitbucket,
}

impl Provider {
    /// All providers.
    pub const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Gitea, Self::Bitbucket];

    /// Returns the name in paths and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Bitbucket => "bitbucket",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not that of a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown provider `{0}`: use github, gitlab, gitea or bitbucket")]
pub struct UnknownProvider(String);

impl FromStr for Provider {
    type Err = UnknownProvider;
    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        // Forgejo uses the format of Gitea.
        let text = if text == "forgejo" { "gitea" } else { text };
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

/// Returns the value of a header, given its name in lowercase.
pub type Headers<'a> = &'a (dyn Fn(&str) -> Option<&'a str> + Sync);

/// Why a webhook is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The provider's signature header is missing.
    #[error("the header {0} is missing: set the webhook's secret at the provider")]
    MissingSignature(&'static str),
    /// The signature was made with another secret, or for another body.
    #[error(
        "the signature in the header {0} is wrong: the secret at the provider must be the one of `tidemill repo add`"
    )]
    WrongSignature(&'static str),
    /// The body is not in the provider's format.
    #[error("the body is not a valid {provider} webhook: {error}")]
    Malformed {
        /// The provider.
        provider: Provider,
        /// The reason.
        error: BodyError,
    },
}

/// An event of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A branch has new commits.
    Push(Change),
    /// A tag was created or moved.
    Tag(Change),
    /// A pull request (merge request) was opened, has new commits, or changed in another way.
    PullRequest(Box<PullRequestUpdate>),
    /// A merge queue asks whether a group of pull requests may be merged.
    MergeGroup(MergeGroup),
    /// A release was published.
    Release(Release),
    /// A pull request has a new comment.
    Comment(Box<PullRequestComment>),
    /// A user asks to run again what was reported as checks.
    Rerun(RerunRequest),
    /// A branch or tag was deleted.
    Deleted(String),
    /// The provider tests the webhook.
    Ping,
    /// An event that starts nothing, and the reason.
    Ignored(String),
}

/// A branch or tag and its new commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Name of the branch or tag.
    pub name: String,
    /// The commit; for a tag, possibly the tag object.
    pub commit: String,
    /// The previous commit of the branch; `None`: the branch is new.
    pub before: Option<String>,
    /// The user who caused it.
    pub by: Option<String>,
}

/// A pull request at a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequestUpdate {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// The branch that it targets.
    pub target_branch: String,
    /// Its head branch; for a fork `owner:branch`, which cannot be the name of a branch.
    pub branch: String,
    /// Its commit. Bitbucket abbreviates it.
    pub commit: String,
    /// A ref of the repository that points to the commit.
    pub fetch_ref: String,
    /// Whether its commits come from another repository.
    pub from_fork: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// The names of its labels, if the provider reports them.
    pub labels: Vec<String>,
    /// The user who caused it.
    pub by: Option<String>,
    /// What happened to it.
    pub action: PullRequestAction,
}

/// A group of pull requests in a merge queue, at the commit that merges them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergeGroup {
    /// The temporary branch of the queue.
    pub branch: String,
    /// The branch that the group would be merged into.
    pub target_branch: String,
    /// Its commit.
    pub commit: String,
    /// The commit that it is based on.
    pub before: Option<String>,
    /// The user who caused it.
    pub by: Option<String>,
}

/// A published release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// Its tag.
    pub tag: String,
    /// The commit of the tag, if the provider reports it.
    pub commit: Option<String>,
    /// The user who caused it.
    pub by: Option<String>,
}

/// A new comment on a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequestComment {
    /// The number of the pull request.
    pub number: u64,
    /// The pull request, if the provider describes it.
    pub request: Option<PullRequestUpdate>,
    /// Its text, which anybody may have written: bounded, and without control characters other than line breaks and tabs.
    pub text: String,
    /// What identifies its author at the provider: a name that cannot be taken by others, or an id.
    pub author: String,
    /// Whether its author has rights at the repository, if the provider says so. At GitHub these are owners, members of the
    /// organization and collaborators; the last two include people who may only read.
    pub may_write: Option<bool>,
    /// The user who caused it.
    pub by: Option<String>,
}

/// A request to run again what was reported as checks of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RerunRequest {
    /// The id of the App whose checks they are.
    pub app_id: u64,
    /// The commit.
    pub commit: String,
    /// The external id of the check run; `None`: all of the commit.
    pub check_run: Option<String>,
    /// The account of the user.
    pub author: String,
}

/// The content of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedDelivery {
    /// The repository's default branch, if reported.
    pub default_branch: Option<String>,
    /// The events; Bitbucket can report several pushes at once.
    pub events: Vec<Event>,
}

/// Parses the required fields of a body; others are ignored.
pub(super) fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    Ok(serde_json::from_slice(body)?)
}

/// Creates the event of a changed ref, given its full name.
pub(super) fn change(full_ref: &str, change: Change) -> Event {
    if is_zero_hash(&change.commit) {
        return Event::Deleted(full_ref.to_owned());
    }
    let before = change.before.filter(|before| !is_zero_hash(before));
    let named = |name: &str| Change { name: name.to_owned(), commit: change.commit, before, by: change.by };
    if let Some(branch) = full_ref.strip_prefix("refs/heads/") {
        Event::Push(named(branch))
    } else if let Some(tag) = full_ref.strip_prefix("refs/tags/") {
        Event::Tag(Change { before: None, ..named(tag) })
    } else {
        Event::Ignored(format!("`{full_ref}` is neither a branch nor a tag"))
    }
}

/// Whether a hash is all zeros, which stands for no commit.
pub(super) fn is_zero_hash(hash: &str) -> bool {
    hash.bytes().all(|byte| byte == b'0')
}

/// Returns the names of labels, without control characters and commas, which separate them in a list.
pub(super) fn labels(names: impl Iterator<Item = String>) -> Vec<String> {
    names
        .take(MAX_LABELS)
        .map(|name| sanitize(&name).replace(',', " "))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Removes control characters and limits the length.
pub(super) fn sanitize(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(MAX_TITLE_LEN).collect()
}

/// Returns the text of a comment, without control characters except line breaks and tabs. `None`: it is too long.
pub(super) fn comment_text(text: &str) -> Option<String> {
    let is_kept = |one: &char| matches!(one, '\n' | '\t') || !crate::text::is_control(*one);
    (text.len() <= MAX_COMMENT_LEN).then(|| text.trim().chars().filter(is_kept).collect())
}

/// Returns the event of a comment that is too long.
pub(super) fn long_comment() -> String {
    format!("a comment that starts something has at most {MAX_COMMENT_LEN} bytes")
}
