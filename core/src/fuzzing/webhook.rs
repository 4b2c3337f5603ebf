//! Properties of the webhook parser for arbitrary bodies.

use crate::repository::webhook::{
    Event, MAX_COMMENT_LEN, MAX_EVENTS, ParsedDelivery, Provider, PullRequestUpdate, json_body, sign,
};

/// Upper bound of the length of any text in an event, in characters.
const MAX_TEXT: usize = 300;

/// Parses `bytes` as a delivery: a first line with the provider, the event and the content type, separated by tabs,
/// then the body. Panics if a body without a valid signature is accepted, if parsing is not deterministic, or if an
/// event contains a text that is not bounded, or a name or commit that git could interpret differently.
pub fn webhook(bytes: &[u8]) {
    let split = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut fields = head.split('\t');
    let Some(Ok(provider)) = fields.next().map(str::parse::<Provider>) else { return };
    let event = fields.next().unwrap_or_default();
    let kind = fields.next();

    check_signature_is_required(provider, body);
    let json = json_body(kind, body);
    assert!(json.len() <= body.len(), "decoding a form does not enlarge the body");
    let names = provider.repository_names(&json);
    assert!(names.len() <= 3 && names.iter().all(|name| !name.is_empty()), "{names:?}");

    let headers =
        |name: &str| name.ends_with("-event").then_some(event).or((name == "x-event-key").then_some(event));
    let read = provider.parse(&headers, &json);
    assert_eq!(read, provider.parse(&headers, &json), "parsing is deterministic");
    if let Ok(delivery) = read {
        check_bounds(&delivery);
    }
}

fn check_signature_is_required(provider: Provider, body: &[u8]) {
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

fn check_bounds(delivery: &ParsedDelivery) {
    assert!(delivery.events.len() <= MAX_EVENTS);
    if let Some(branch) = &delivery.default_branch {
        check_name(branch);
    }
    for event in &delivery.events {
        match event {
            Event::Push(change) | Event::Tag(change) => {
                check_name(&change.name);
                check_commit(&change.commit);
                change.before.iter().for_each(|before| check_commit(before));
                change.by.iter().for_each(|by| check_text(by));
            }
            Event::PullRequest(request) => check_request(request),
            Event::MergeGroup(group) => {
                check_name(&group.branch);
                check_name(&group.target_branch);
                check_commit(&group.commit);
                group.before.iter().for_each(|before| check_commit(before));
                group.by.iter().for_each(|by| check_text(by));
            }
            Event::Release(release) => {
                check_name(&release.tag);
                release.commit.iter().for_each(|commit| check_commit(commit));
                release.by.iter().for_each(|by| check_text(by));
            }
            Event::Comment(comment) => {
                comment.request.iter().for_each(check_request);
                assert!(comment.text.len() <= MAX_COMMENT_LEN, "{}", comment.text.len());
                comment.by.iter().chain([&comment.author]).for_each(|by| check_text(by));
            }
            Event::Rerun(rerun) => {
                check_commit(&rerun.commit);
                rerun.check_run.iter().chain([&rerun.author]).for_each(|text| check_text(text));
            }
            Event::Deleted(text) | Event::Ignored(text) => check_text(text),
            Event::Ping => {}
        }
    }
}

fn check_request(request: &PullRequestUpdate) {
    check_name(&request.branch);
    check_name(&request.target_branch);
    check_commit(&request.commit);
    check_text(&request.title);
    request.by.iter().for_each(|by| check_text(by));
    assert!(request.fetch_ref.starts_with("refs/"), "{}", request.fetch_ref);
}

/// Checks a branch or tag name: it is no option of a command, no range, no refspec.
fn check_name(name: &str) {
    assert!(!name.is_empty() && name.len() <= MAX_TEXT && !name.starts_with('-'), "{name:?}");
    assert!(!name.contains("..") && !name.contains([':', ' ', '\\', '*']) || is_of_fork(name), "{name:?}");
    assert!(!name.contains(char::is_control), "{name:?}");
}

/// Whether the name is the branch of a fork: `owner:branch`, which no branch of the repository can have.
fn is_of_fork(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(owner, branch)| !owner.is_empty() && !branch.contains([' ', '\\', '*']))
}

fn check_commit(hash: &str) {
    assert!((7..=64).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash:?}");
}

fn check_text(text: &str) {
    assert!(text.chars().count() <= MAX_TEXT && !text.contains(char::is_control), "{text:?}");
}
