//! Verifies and parses deliveries.

use super::{
    bitbucket,
    body_error::{BodyError, RefNameError},
    event::{Event, Headers, ParsedDelivery, Provider, PullRequestUpdate, WebhookError, sanitize},
    gitea, github, gitlab, signature,
};
use crate::repository::{RepositoryAddress, RepositoryName};
use serde::Deserialize;
use std::borrow::Cow;

/// Maximum size of a webhook's body: GitHub's limit.
pub const MAX_BODY_BYTES: usize = 25 << 20;
/// Maximum length of a branch or tag name in bytes.
const MAX_NAME_LEN: usize = 250;
/// Maximum number of changes in one delivery. Bitbucket, the only provider that reports several, sends at most five.
pub const MAX_EVENTS: usize = 50;

/// What happened, where the providers have it.
#[derive(Deserialize)]
struct ActionBody {
    action: Option<String>,
    object_attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    action: Option<String>,
}

impl Provider {
    /// Verifies the signature of the received body, before anything of it is trusted. The duration does not depend on
    /// the position at which a wrong signature differs.
    pub fn verify(self, secret: &[u8], headers: Headers<'_>, body: &[u8]) -> Result<(), WebhookError> {
        signature::verify(self, secret, headers, body)
    }

    /// Checks that a signature is present, valid or not; otherwise the body need not be read.
    pub fn check_signature_present(self, headers: Headers<'_>) -> Result<(), WebhookError> {
        signature::header_value(self, headers).map(drop)
    }

    /// Returns the delivery's id, which is the same for repeated deliveries.
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

    /// Returns the names of the headers that name the event, which [`Self::parse`] reads.
    #[must_use]
    pub const fn event_headers(self) -> &'static [&'static str] {
        match self {
            Self::Github => &["x-github-event"],
            Self::Gitlab => &["x-gitlab-event"],
            Self::Gitea => &["x-gitea-event", "x-forgejo-event"],
            Self::Bitbucket => &["x-event-key"],
        }
    }

    /// Returns the event as the provider names it, such as `pull_request`, for display.
    #[must_use]
    pub fn event_name(self, headers: Headers<'_>) -> Option<String> {
        self.event_headers().iter().find_map(|name| headers(name)).map(sanitize)
    }

    /// Returns what happened as the provider names it, such as `opened`, for display.
    #[must_use]
    pub fn action_name(self, body: &[u8]) -> Option<String> {
        let body: ActionBody = serde_json::from_slice(body).ok()?;
        let attributes = body.object_attributes.and_then(|attributes| attributes.action);
        body.action.or(attributes).map(|action| sanitize(&action))
    }

    /// Returns the names ([`canonical`]) of the repository in the body. Nothing else is parsed, because the sender is
    /// not yet verified.
    #[must_use]
    pub fn repository_names(self, body: &[u8]) -> Vec<String> {
        let addresses = match self {
            Self::Github | Self::Gitea => github::addresses(body),
            Self::Gitlab => gitlab::addresses(body),
            Self::Bitbucket => bitbucket::addresses(body),
        };
        // Some providers include the user name in addresses.
        let name = |address: &str| match RepositoryAddress::parse_with_credentials(address) {
            Ok((address, _)) => Some(address.canonical()),
            Err(_) => RepositoryName::parse(address).ok().map(|name| name.to_string()),
        };
        let addresses = addresses.iter().filter(|address| !address.is_empty());
        let mut names: Vec<String> = addresses.filter_map(|address| name(address)).collect();
        names.dedup();
        names
    }

    /// Parses a verified body.
    pub fn parse(self, headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, WebhookError> {
        let delivery = match self {
            Self::Github => github::parse(headers, body),
            Self::Gitlab => gitlab::parse(headers, body),
            Self::Gitea => gitea::parse(headers, body),
            Self::Bitbucket => bitbucket::parse(headers, body),
        };
        let malformed = |error| WebhookError::Malformed { provider: self, error };
        let mut delivery = delivery.map_err(malformed)?;
        if delivery.events.len() > MAX_EVENTS {
            return Err(malformed(BodyError::TooManyChanges {
                count: delivery.events.len(),
                limit: MAX_EVENTS,
            }));
        }
        for event in &mut delivery.events {
            validate(event).map_err(malformed)?;
            sanitize_event(event);
        }
        if let Some(branch) = &delivery.default_branch {
            check_ref_name(branch).map_err(|error| malformed(error.into()))?;
        }
        Ok(delivery)
    }
}

/// Returns the JSON of a body: the body itself, or the field `payload` of a form, which GitHub can be configured to
/// send.
#[must_use]
pub fn json_body<'a>(content_type: Option<&str>, body: &'a [u8]) -> Cow<'a, [u8]> {
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

/// Checks that values that are passed to git have the expected form.
fn validate(event: &Event) -> Result<(), BodyError> {
    match event {
        Event::Push(change) | Event::Tag(change) => {
            check_ref_name(&change.name)?;
            validate_commit(&change.commit)?;
            change.before.as_deref().map_or(Ok(()), validate_commit)
        }
        Event::PullRequest(request) => validate_request(request),
        Event::MergeGroup(group) => {
            check_ref_name(&group.target_branch)?;
            check_ref_name(&group.branch)?;
            validate_commit(&group.commit)?;
            group.before.as_deref().map_or(Ok(()), validate_commit)
        }
        Event::Release(release) => {
            check_ref_name(&release.tag)?;
            release.commit.as_deref().map_or(Ok(()), validate_commit)
        }
        Event::Comment(comment) => comment.request.as_ref().map_or(Ok(()), validate_request),
        Event::Rerun(rerun) => validate_commit(&rerun.commit),
        Event::Deleted(_) | Event::Ping | Event::Ignored(_) => Ok(()),
    }
}

fn validate_request(request: &PullRequestUpdate) -> Result<(), BodyError> {
    check_ref_name(&request.target_branch)?;
    check_ref_name(&request.branch)?;
    validate_commit(&request.commit)
}

/// Truncates texts that are only displayed, and removes control characters from them.
fn sanitize_event(event: &mut Event) {
    let shorten = |by: &mut Option<String>| *by = by.take().map(|by| sanitize(&by));
    match event {
        Event::Push(change) | Event::Tag(change) => shorten(&mut change.by),
        Event::PullRequest(request) => shorten(&mut request.by),
        Event::MergeGroup(group) => shorten(&mut group.by),
        Event::Release(release) => shorten(&mut release.by),
        Event::Comment(comment) => {
            shorten(&mut comment.by);
            comment.author = sanitize(&comment.author);
        }
        Event::Rerun(rerun) => {
            shorten(&mut rerun.check_run);
            rerun.author = sanitize(&rerun.author);
        }
        Event::Deleted(text) | Event::Ignored(text) => *text = sanitize(text),
        Event::Ping => {}
    }
}

/// Checks the name of a branch or tag.
pub fn check_ref_name(text: &str) -> Result<(), RefNameError> {
    let is_invalid = text.is_empty()
        || text.len() > MAX_NAME_LEN
        || text.starts_with('-')
        || text.contains("..")
        || text.chars().any(|one| crate::text::is_control(one) || " ~^?*[\\".contains(one));
    if is_invalid { Err(RefNameError(sanitize(text))) } else { Ok(()) }
}

fn validate_commit(text: &str) -> Result<(), BodyError> {
    let is_valid = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_valid { Ok(()) } else { Err(BodyError::Commit(sanitize(text))) }
}
