//! Webhooks of git providers: verified, and parsed into events.

mod bitbucket;
mod event;
mod gitea;
mod github;
mod gitlab;
mod read;
mod signature;
#[cfg(test)]
mod tests;

pub use event::{Change, Event, Headers, ParsedDelivery, Provider, PullRequestUpdate, Refusal};
pub use read::{MAX_EVENTS, MOST_BYTES, json_of};
pub use signature::sign;
