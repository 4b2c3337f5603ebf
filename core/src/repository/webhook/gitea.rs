//! Webhooks of Gitea and Forgejo, whose bodies resemble GitHub's.

use super::{
    body_error::BodyError,
    event::{Event, Headers, ParsedDelivery, parse_body, sanitize},
    github::{comment_delivery, ignored, pull_request_delivery, push_delivery, release_delivery},
};

pub(super) fn parse(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, BodyError> {
    let event = headers("x-gitea-event").or_else(|| headers("x-forgejo-event"));
    match event.ok_or(BodyError::NoEvent("X-Gitea-Event"))? {
        "ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "push" => Ok(push_delivery(parse_body(body)?)),
        "pull_request" | "pull_request_sync" | "pull_request_label" => {
            Ok(pull_request_delivery(parse_body(body)?))
        }
        "release" => Ok(release_delivery(parse_body(body)?)),
        "issue_comment" | "pull_request_comment" => Ok(comment_delivery(parse_body(body)?)),
        other => {
            parse_body::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", sanitize(other))))
        }
    }
}
