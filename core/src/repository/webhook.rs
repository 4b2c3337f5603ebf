//! Webhooks of git providers: verified, and parsed into events.

mod bitbucket;
mod delivery;
mod event;
mod gitea;
mod github;
mod gitlab;
mod signature;
#[cfg(test)]
mod tests;

pub use delivery::{MAX_BODY_BYTES, MAX_EVENTS, json_body};
pub use event::{Change, Event, Headers, ParsedDelivery, Provider, PullRequestUpdate, WebhookError};
pub use signature::sign;
