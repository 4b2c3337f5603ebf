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
pub mod announcement;
pub mod api;
pub mod assignment;
pub mod attempt;
pub mod condition;
pub mod cost;
pub mod coverage;
pub mod cron;
pub mod diagnostics;
pub mod digest;
pub mod discovery;
pub mod facts;
pub mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gitlab;
pub mod guard;
pub mod hex;
pub mod ids;
pub mod labels;
pub mod pipeline;
pub mod plan;
pub mod predefined;
pub mod records;
pub mod repo;
pub mod report;
pub mod repository;
pub mod retry;
pub mod scheduler;
pub mod status;
mod substitution;
mod suggest;
pub mod test_report;
pub mod text;
pub mod time;
pub mod transition;
pub mod trigger;
pub mod upload;
pub mod webhook;
