//! Deterministic simulation: the real services over stores in memory, with a simulated clock, a seeded scheduler, and faults.

pub mod auditor;
pub mod clients;
pub mod cluster;
pub mod fate;
pub mod faults;
pub mod forge;
pub mod pipelines;
pub mod run;
pub mod stores;
pub mod worker;
pub mod world;
