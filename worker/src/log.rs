//! What a job prints: found in a container's output, masked, and handed to reports.

pub mod markers;
pub mod mask;
pub mod pump;
