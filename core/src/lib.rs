//! What Tidemill decides: the pipeline model, the plan, the state machine, and the types of the API.
//!
//! Nothing here does I/O, is async, or reads a clock: time and randomness come as arguments.

#![cfg_attr(
    not(feature = "mutations"),
    allow(
        clippy::nonminimal_bool,
        clippy::redundant_field_names,
        reason = "`guarded!` leaves the bare condition, which `!` may stand before"
    )
)]

pub mod access;
pub mod api;
pub mod condition;
pub mod execution;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gitlab;
pub mod ids;
pub mod pipeline;
pub mod plan;
pub mod records;
pub mod repository;
pub mod scheduler;
pub mod text;
pub mod time;
