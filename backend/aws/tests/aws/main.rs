//! Tests of the AWS adapters against an emulator; skipped without one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod lagging;
mod late_index;
mod ports;
mod queues;
mod secrets;
mod table;
