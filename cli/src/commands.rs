//! The commands, grouped by topic.

pub mod administration;
#[cfg(feature = "aws")]
pub mod deployment;
pub mod execution;
pub mod maintenance;
pub mod pipeline;
pub mod serving;
pub mod version;
