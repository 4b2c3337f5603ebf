//! What a delivery says, whoever posts it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, str::FromStr};

/// The longest title that is kept, in characters.
const MAX_TITLE_LEN: usize = 250;
/// Who posts webhooks, and takes commit statuses.
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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Gitea, Self::Bitbucket];

    /// Its word in paths and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
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
        f.write_str(self.word())
    }
}

impl FromStr for Provider {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // Forgejo speaks as Gitea does.
        let text = if text == "forgejo" { "gitea" } else { text };
        Self::ALL
            .into_iter()
            .find(|provider| provider.word() == text)
            .ok_or_else(|| format!("`{text}` is no provider; there are github, gitlab, gitea and bitbucket"))
    }
}

/// Gives a header's value, by its name in lower-case letters.
pub type Headers<'a> = &'a (dyn Fn(&str) -> Option<&'a str> + Sync);

/// Why a webhook is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no signature where the provider puts it.
    #[error("there is no header {0}; set the webhook's secret at the provider")]
    Unsigned(&'static str),
    /// It was made with another secret, or of other bytes.
    #[error(
        "the signature in {0} does not fit; the secret at the provider must be the one of `tidemill repo add`"
    )]
    WrongSignature(&'static str),
    /// It is not what the provider posts.
    #[error("this is not what {provider} posts: {why}")]
    Malformed {
        /// Who was to post it.
        provider: Provider,
        /// What is wrong.
        why: String,
    },
}

/// What happened to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Commits came to a branch.
    Push(Change),
    /// A tag was made or moved.
    Tag(Change),
    /// A pull request, or merge request, was opened or has new commits.
    PullRequest(Box<PullRequestUpdate>),
    /// A branch or tag was deleted.
    Deleted(String),
    /// The provider tries the address.
    Ping,
    /// Something that starts nothing, and why.
    Ignored(String),
}

/// A branch or tag that is at a commit now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Name of the branch or tag.
    pub name: String,
    /// The commit; of a tag perhaps the tag's own object.
    pub commit: String,
    /// The commit that the branch was at before; `None`: it is new.
    pub before: Option<String>,
    /// Who did it.
    pub by: Option<String>,
}

/// A pull request at a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequestUpdate {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// The branch that it is to go into.
    pub target_branch: String,
    /// Its own branch; of a fork `owner:branch`, which no branch of the repository can be called.
    pub branch: String,
    /// Its commit. Bitbucket shortens it.
    pub commit: String,
    /// The ref of the repository that shows it.
    pub fetch_ref: String,
    /// Whether its commits come from another repository.
    pub from_fork: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// Who did it.
    pub by: Option<String>,
}

/// What one delivery says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedDelivery {
    /// The repository's default branch, where that is told.
    pub default_branch: Option<String>,
    /// What happened; Bitbucket tells several pushes at once.
    pub events: Vec<Event>,
}

/// Reads what is needed of a body; all else is passed over.
pub(super) fn body_of<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// A change of the ref `name`, by its full name.
pub(super) fn change(full: &str, change: Change) -> Event {
    if is_nothing(&change.commit) {
        return Event::Deleted(full.to_owned());
    }
    let before = change.before.filter(|before| !is_nothing(before));
    let named = |name: &str| Change { name: name.to_owned(), commit: change.commit, before, by: change.by };
    if let Some(branch) = full.strip_prefix("refs/heads/") {
        Event::Push(named(branch))
    } else if let Some(tag) = full.strip_prefix("refs/tags/") {
        Event::Tag(Change { before: None, ..named(tag) })
    } else {
        Event::Ignored(format!("`{full}` is neither a branch nor a tag"))
    }
}

/// Whether a hash stands for no commit.
pub(super) fn is_nothing(hash: &str) -> bool {
    hash.bytes().all(|byte| byte == b'0')
}

/// A title as it is kept.
pub(super) fn title(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(MAX_TITLE_LEN).collect()
}
