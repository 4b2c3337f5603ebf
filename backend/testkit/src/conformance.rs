//! The conformance suite for adapters. Each function is a check of the ports' contract, and panics if it is broken.
//!
//! [`crate::conformance_suite`] creates a test of each check. Each check uses new ids, so that checks can share a store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "test code")]

mod claims;
mod clock;
mod ports;
pub mod samples;
pub mod scheduling;
mod services;
mod stores;
mod suite;

pub use clock::ManualClock;
pub use ports::{documents, exact_queue, listing, logs, objects, queue, queue_with_labels, records, removal};
pub use services::{
    access, caches, events, executions, id_tokens, insights, outside_worker, registries, reports,
    repositories, secrets, sources, summaries, sweep, test_reports, variables, workers,
};
pub use stores::StoresUnderTest;
