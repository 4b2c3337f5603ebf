//! Starts, shows, cancels and retries executions.

mod cancel;
mod child;
pub(crate) mod create;
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
