//! Webhooks, from what a provider posts to the executions that start: over the stores in memory and the embedded ones, with a worker
//! that only reports.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod deliveries;
mod examples;
mod keys;
mod outbox;
mod schedules;
mod server;
