//! The API over the embedded stores, with a simulated worker that runs no scripts.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
mod artifact_files;
mod attempts;
mod conditions;
mod events;
mod executions;
mod large;
mod logs;
mod planned_from;
mod requests;
mod scaling;
mod server;
mod uploads;
mod web_types;
