//! A job's output: parsed from the container's output, masked, and passed to reports.

pub mod commands;
pub mod markers;
pub mod marks;
pub mod mask;
pub mod output_pipe;
