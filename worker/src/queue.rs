//! Jobs on their way to a slot: where they come from, and whether this machine has room for them.

pub mod admission;
pub mod capacity;
pub mod job_source;
