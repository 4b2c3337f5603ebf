//! The commands, grouped by what they work on.

pub mod administration;
#[cfg(feature = "deploy")]
pub mod deployment;
pub mod execution;
pub mod pipeline;
pub mod serving;
