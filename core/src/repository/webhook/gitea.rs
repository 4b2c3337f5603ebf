//! Webhooks of Gitea and Forgejo, whose bodies are much as GitHub's.

use super::{
    event::{Event, Headers, ParsedDelivery, body_of, title},
    github::{ignored, pushed, requested},
};

pub(super) fn read(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, String> {
    let event = headers("x-gitea-event").or_else(|| headers("x-forgejo-event"));
    match event.ok_or("there is no header X-Gitea-Event")? {
        "ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "push" => Ok(pushed(body_of(body)?)),
        "pull_request" | "pull_request_sync" => {
            Ok(requested(body_of(body)?, &["opened", "synchronized", "reopened"]))
        }
        other => {
            body_of::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", title(other))))
        }
    }
}
