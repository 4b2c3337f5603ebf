//! Webhooks, from the posted event to the executions that start, over the in-memory and the embedded stores, with a simulated
//! worker.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod checks;
mod deliveries;
mod events;
mod examples;
mod kept;
mod keys;
mod notes;
mod notices;
mod outbox;
mod overview;
mod report_provider;
mod reported;
mod schedules;
mod server;
