//! Properties of any body that is posted as a webhook.

use crate::repository::webhook::{Event, MAX_EVENTS, ParsedDelivery, Provider, json_of, sign};

/// More characters than any text of an event may have, whatever the body says.
const MAX_TEXT: usize = 300;

/// Reads `bytes` as a delivery: a first line with the provider, the event and the content type, separated by tabs,
/// then the body. Panics when a body without a valid signature is accepted, when the same body is read in two ways, or
/// when an event holds a text that is unbounded or that git could take for something else than a name or a commit.
pub fn webhook(bytes: &[u8]) {
    let split = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut words = head.split('\t');
    let Some(Ok(provider)) = words.next().map(str::parse::<Provider>) else { return };
    let event = words.next().unwrap_or_default();
    let kind = words.next();

    verified_only_with_the_secret(provider, body);
    let json = json_of(kind, body);
    assert!(json.len() <= body.len(), "decoding a form makes no body larger");
    let names = provider.repositories(&json);
    assert!(names.len() <= 3 && names.iter().all(|name| !name.is_empty()), "{names:?}");

    let headers =
        |name: &str| name.ends_with("-event").then_some(event).or((name == "x-event-key").then_some(event));
    let read = provider.read(&headers, &json);
    assert_eq!(read, provider.read(&headers, &json), "the same body is read in the same way");
    if let Ok(delivered) = read {
        bounded(&delivered);
    }
}

fn verified_only_with_the_secret(provider: Provider, body: &[u8]) {
    let none = |_: &str| None;
    assert!(provider.verify(b"secret", &none, body).is_err(), "a body without a signature was accepted");
    let forged = sign(b"another secret", body);
    let prefixed = format!("sha256={forged}");
    for value in [forged.as_str(), prefixed.as_str(), ""] {
        let headers = |_: &str| Some(value);
        assert!(provider.verify(b"secret", &headers, body).is_err(), "a forged signature was accepted");
        assert!(provider.verify(b"", &headers, body).is_err(), "an empty secret verifies nothing");
    }
}

fn bounded(delivered: &ParsedDelivery) {
    assert!(delivered.events.len() <= MAX_EVENTS);
    if let Some(branch) = &delivered.default_branch {
        named(branch);
    }
    for event in &delivered.events {
        match event {
            Event::Push(change) | Event::Tag(change) => {
                named(&change.name);
                commit(&change.commit);
                change.before.iter().for_each(|before| commit(before));
                change.by.iter().for_each(|by| shown(by));
            }
            Event::PullRequest(request) => {
                named(&request.branch);
                named(&request.target_branch);
                commit(&request.commit);
                shown(&request.title);
                request.by.iter().for_each(|by| shown(by));
                assert!(request.fetch_ref.starts_with("refs/"), "{}", request.fetch_ref);
            }
            Event::Deleted(text) | Event::Ignored(text) => shown(text),
            Event::Ping => {}
        }
    }
}

/// A branch or tag: no option of a command, no range, no refspec.
fn named(name: &str) {
    assert!(!name.is_empty() && name.len() <= MAX_TEXT && !name.starts_with('-'), "{name:?}");
    assert!(!name.contains("..") && !name.contains([':', ' ', '\\', '*']) || is_of_fork(name), "{name:?}");
    assert!(!name.contains(char::is_control), "{name:?}");
}

/// A fork's branch is `owner:branch`, so that no branch of the repository can have its name.
fn is_of_fork(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(owner, branch)| !owner.is_empty() && !branch.contains([' ', '\\', '*']))
}

fn commit(hash: &str) {
    assert!((7..=64).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash:?}");
}

fn shown(text: &str) {
    assert!(text.chars().count() <= MAX_TEXT && !text.contains(char::is_control), "{text:?}");
}
