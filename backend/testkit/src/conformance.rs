//! One suite for every set of adapters: each function is a check of the ports' contract and panics when it is broken.
//!
//! [`crate::conformance_suite`] makes a test of each. Ids are made anew in each check, so that a store may be shared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "these are tests")]

mod claims;
mod clock;
mod ports;
pub mod samples;
pub mod scheduling;
mod services;
mod stores;
mod suite;

pub use clock::ManualClock;
pub use ports::{documents, exact_queue, listing, logs, objects, queue, queue_with_labels, records};
pub use services::{access, caches, executions, secrets, sources, sweep, test_reports};
pub use stores::StoresUnderTest;
