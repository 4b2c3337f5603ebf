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

pub use delivery::{MAX_EVENTS, MOST_BYTES, json_of};
pub use event::{Change, Event, Headers, ParsedDelivery, Provider, PullRequestUpdate, Refusal};
pub use signature::sign;
