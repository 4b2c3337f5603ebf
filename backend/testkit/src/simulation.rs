//! Deterministic simulation: the real services over stores in memory, with a simulated clock, a seeded scheduler, and faults.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    missing_docs,
    reason = "a panic fails a simulated run"
)]

pub mod auditor;
pub mod clients;
pub mod cluster;
pub mod fault_injection;
pub mod faults;
pub mod git_server;
pub mod output;
pub mod pipelines;
pub mod pushes;
pub mod run;
pub mod stores;
pub mod time;
pub mod worker;
pub mod world;
