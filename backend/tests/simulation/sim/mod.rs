//! Deterministic simulation: the real services over stores in memory, with a simulated clock, a seeded scheduler, and faults.

pub mod actors;
pub mod auditor;
pub mod cluster;
pub mod faults;
pub mod pipelines;
pub mod run;
pub mod stores;
pub mod world;
