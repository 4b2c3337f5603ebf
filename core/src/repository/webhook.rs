//! Webhooks of git providers: verified, and parsed into events.

mod action;
mod bitbucket;
mod body_error;
mod delivery;
mod event;
mod gitea;
mod github;
mod gitlab;
mod signature;
#[cfg(test)]
mod tests;

pub use action::PullRequestAction;
pub use body_error::{BodyError, RefNameError};
pub use delivery::{MAX_BODY_BYTES, MAX_EVENTS, check_ref_name, json_body};
pub use event::{
    Change, Event, Headers, MAX_COMMENT_LEN, MergeGroup, ParsedDelivery, Provider, PullRequestComment,
    PullRequestUpdate, Release, RerunRequest, UnknownProvider, WebhookError,
};
pub use signature::sign;
