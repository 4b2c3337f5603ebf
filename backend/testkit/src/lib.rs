//! Test support: stores in memory, the conformance suite for adapters, the simulation, and the fuzz targets.

#![allow(clippy::nonminimal_bool, reason = "`guarded!` expands to the bare condition, which may follow `!`")]

#[cfg(feature = "aws")]
pub mod cloud;
pub mod conformance;
#[doc(hidden)]
pub mod fuzzing;
pub mod intercepted;
pub mod memory;
pub mod simulation;
