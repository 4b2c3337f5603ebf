//! What git providers post when something happens to a repository: checked, and read into what Tidemill does about it.

mod bitbucket;
mod gitea;
mod github;
mod gitlab;
mod signature;

pub use signature::sign;

use crate::repo::{RepositoryAddress, RepositoryName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{borrow::Cow, fmt, str::FromStr};

/// The largest body of a webhook: GitHub's limit.
pub const MOST_BYTES: usize = 25 << 20;
/// The longest name of a branch or tag that is taken, in bytes.
const LONGEST_NAME: usize = 250;
/// The longest title that is kept, in characters.
const LONGEST_TITLE: usize = 250;
/// Changes that one delivery may tell of. Bitbucket, the only provider that tells of several, sends at most five.
pub const MAX_EVENTS: usize = 50;

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
    PullRequest(Box<PullRequestChange>),
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
pub struct PullRequestChange {
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
pub struct Delivered {
    /// The repository's default branch, where that is told.
    pub default_branch: Option<String>,
    /// What happened; Bitbucket tells several pushes at once.
    pub events: Vec<Event>,
}

impl Provider {
    /// Checks the signature over the body as it came, before anything of it is believed. The time that this takes does not depend on
    /// where a wrong signature differs.
    pub fn verify(self, secret: &[u8], headers: Headers<'_>, body: &[u8]) -> Result<(), Refusal> {
        signature::verify(self, secret, headers, body)
    }

    /// Whether there is a signature at all, right or wrong: without one no body need be read.
    pub fn is_signed(self, headers: Headers<'_>) -> Result<(), Refusal> {
        signature::given(self, headers).map(drop)
    }

    /// The delivery's id: the same when the provider sends it again.
    #[must_use]
    pub fn delivery_id(self, headers: Headers<'_>) -> Option<&str> {
        let names: &[&str] = match self {
            Self::Github => &["x-github-delivery"],
            Self::Gitlab => &["idempotency-key", "x-gitlab-event-uuid"],
            Self::Gitea => &["x-gitea-delivery", "x-forgejo-delivery"],
            Self::Bitbucket => &["x-request-uuid"],
        };
        names.iter().find_map(|name| headers(name)).filter(|id| !id.is_empty())
    }

    /// The names ([`canonical`]) that the body has for its repository. Nothing else of it is read, as nobody knows yet who wrote it.
    #[must_use]
    pub fn repositories(self, body: &[u8]) -> Vec<String> {
        let addresses = match self {
            Self::Github | Self::Gitea => github::addresses(body),
            Self::Gitlab => gitlab::addresses(body),
            Self::Bitbucket => bitbucket::addresses(body),
        };
        // Some providers put the user's name into addresses.
        let name = |address: &str| match RepositoryAddress::parse_with_credentials(address) {
            Ok((address, _)) => Some(address.canonical()),
            Err(_) => RepositoryName::parse(address).ok().map(|name| name.to_string()),
        };
        let mut names: Vec<String> = addresses.iter().filter_map(|address| name(address)).collect();
        names.dedup();
        names
    }

    /// What a body says that was verified.
    pub fn read(self, headers: Headers<'_>, body: &[u8]) -> Result<Delivered, Refusal> {
        let delivered = match self {
            Self::Github => github::read(headers, body),
            Self::Gitlab => gitlab::read(headers, body),
            Self::Gitea => gitea::read(headers, body),
            Self::Bitbucket => bitbucket::read(headers, body),
        };
        let malformed = |why| Refusal::Malformed { provider: self, why };
        let mut delivered = delivered.map_err(malformed)?;
        if delivered.events.len() > MAX_EVENTS {
            let told = delivered.events.len();
            return Err(malformed(format!("it has {told} changes; at most {MAX_EVENTS} are taken at once")));
        }
        for event in &mut delivered.events {
            check(event).map_err(malformed)?;
            bound(event);
        }
        if let Some(branch) = &delivered.default_branch {
            name(branch).map_err(malformed)?;
        }
        Ok(delivered)
    }
}

/// The JSON of a body: itself, or the field `payload` of a form, which GitHub can be set to send.
#[must_use]
pub fn json_of<'a>(content_type: Option<&str>, body: &'a [u8]) -> Cow<'a, [u8]> {
    let is_form = content_type.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Cow::Borrowed(body);
    }
    let field = body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"payload="));
    let mut json = Vec::new();
    let mut bytes = field.unwrap_or_default().iter().copied();
    while let Some(byte) = bytes.next() {
        json.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                    _ => b'?',
                }
            }
            other => other,
        });
    }
    Cow::Owned(json)
}

/// Reads what is needed of a body; all else is passed over.
fn body_of<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// A change of the ref `name`, by its full name.
fn change(full: &str, change: Change) -> Event {
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
fn is_nothing(hash: &str) -> bool {
    hash.bytes().all(|byte| byte == b'0')
}

/// A title as it is kept.
fn title(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(LONGEST_TITLE).collect()
}

/// What is handed to git must look like what it is.
fn check(event: &Event) -> Result<(), String> {
    match event {
        Event::Push(change) | Event::Tag(change) => {
            name(&change.name)?;
            commit(&change.commit)?;
            change.before.as_deref().map_or(Ok(()), commit)
        }
        Event::PullRequest(request) => {
            name(&request.target_branch)?;
            name(&request.branch)?;
            commit(&request.commit)
        }
        Event::Deleted(_) | Event::Ping | Event::Ignored(_) => Ok(()),
    }
}

/// Cuts the texts that are only shown, and takes control characters out of them.
fn bound(event: &mut Event) {
    let shorten = |by: &mut Option<String>| *by = by.take().map(|by| title(&by));
    match event {
        Event::Push(change) | Event::Tag(change) => shorten(&mut change.by),
        Event::PullRequest(request) => shorten(&mut request.by),
        Event::Deleted(text) | Event::Ignored(text) => *text = title(text),
        Event::Ping => {}
    }
}

fn name(text: &str) -> Result<(), String> {
    let wrong = text.is_empty()
        || text.len() > LONGEST_NAME
        || text.starts_with('-')
        || text.contains("..")
        || text.chars().any(|one| crate::text::is_control(one) || " ~^?*[\\".contains(one));
    if wrong { Err(format!("`{}` is no name of a branch or tag", title(text))) } else { Ok(()) }
}

fn commit(text: &str) -> Result<(), String> {
    let fits = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(()) } else { Err(format!("`{}` is no commit", title(text))) }
}

#[cfg(test)]
mod tests;
