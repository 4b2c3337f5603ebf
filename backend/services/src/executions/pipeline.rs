//! Starts, shows, cancels and retries executions.

mod cancel;
pub(crate) mod child;
mod child_elsewhere;
pub(crate) mod create;
pub(crate) mod discovery_start;
pub(crate) mod events;
mod group;
mod hold;
mod identity;
mod listing;
mod overview;
pub(crate) mod planned;
mod retry;
pub(crate) mod service;
mod spec;
pub(crate) mod start;
