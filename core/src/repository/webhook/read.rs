//! Checks a delivery and reads it.

use super::{
    bitbucket,
    event::{Event, Headers, ParsedDelivery, Provider, Refusal, title},
    gitea, github, gitlab, signature,
};
use crate::repository::{RepositoryAddress, RepositoryName};
use std::borrow::Cow;

/// The largest body of a webhook: GitHub's limit.
pub const MOST_BYTES: usize = 25 << 20;
/// The longest name of a branch or tag that is taken, in bytes.
const MAX_NAME_LEN: usize = 250;
/// Changes that one delivery may tell of. Bitbucket, the only provider that tells of several, sends at most five.
pub const MAX_EVENTS: usize = 50;

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
    pub fn read(self, headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, Refusal> {
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
        || text.len() > MAX_NAME_LEN
        || text.starts_with('-')
        || text.contains("..")
        || text.chars().any(|one| crate::text::is_control(one) || " ~^?*[\\".contains(one));
    if wrong { Err(format!("`{}` is no name of a branch or tag", title(text))) } else { Ok(()) }
}

fn commit(text: &str) -> Result<(), String> {
    let fits = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(()) } else { Err(format!("`{}` is no commit", title(text))) }
}
