//! Bodies of webhooks, signed and not.

use tidemill_core::webhook::{Event, MOST_BYTES, Provider, json_of, sign};

const SECRET: &[u8] = b"the secret of a repository";
const EVENTS: [&str; 6] = ["push", "pull_request", "Push Hook", "Merge Request Hook", "repo:push", "ping"];
const TYPES: [&str; 2] = ["application/json", "application/x-www-form-urlencoded"];

/// Reads a body as a provider's, and panics when it is believed without its signature, or says more than it holds.
///
/// The first byte names provider, event and content type.
pub fn webhook(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let choice = usize::from(*choice);
    let provider = Provider::ALL[choice % Provider::ALL.len()];
    let event = EVENTS[choice / 4 % EVENTS.len()];
    let content_type = TYPES[choice / 24 % TYPES.len()];
    let signature = sign(SECRET, body);
    let prefixed = format!("sha256={signature}");
    let headers = |name: &str| match name {
        "x-github-event" | "x-gitea-event" | "x-gitlab-event" | "x-event-key" => Some(event),
        "content-type" => Some(content_type),
        "x-hub-signature-256" | "x-hub-signature" => Some(prefixed.as_str()),
        "x-gitea-signature" => Some(signature.as_str()),
        "x-gitlab-token" => std::str::from_utf8(SECRET).ok(),
        _ => None,
    };
    assert!(provider.is_signed(&headers).is_ok() && provider.is_signed(&|_| None).is_err());
    assert!(provider.verify(SECRET, &headers, body).is_ok());
    assert!(provider.verify(b"another", &headers, body).is_err());
    assert!(provider.verify(b"", &headers, body).is_err(), "no secret proves nothing");
    let json = json_of(Some(content_type), body);
    assert!(json.len() <= MOST_BYTES.max(body.len()));
    for name in provider.repositories(&json) {
        assert!(!name.is_empty() && name.len() <= json.len() * 4 + 16, "{name}");
    }
    let Ok(delivered) = provider.read(&headers, &json) else { return };
    for event in delivered.events {
        match event {
            Event::Push(change) | Event::Tag(change) => {
                assert!(change.name.len() <= 250 && !change.name.is_empty());
            }
            Event::PullRequest(request) => assert!(request.title.chars().count() <= 251),
            Event::Deleted(_) | Event::Ping | Event::Ignored(_) => {}
        }
    }
}
