//! For tests: stores in memory, the suite that every adapter must pass, the simulation, and what the fuzzers call.

#![allow(
    clippy::nonminimal_bool,
    reason = "`guarded!` leaves the bare condition, which `!` may stand before"
)]

#[cfg(feature = "aws")]
pub mod cloud;
pub mod conformance;
#[doc(hidden)]
pub mod fuzzing;
pub mod memory;
pub mod simulation;
