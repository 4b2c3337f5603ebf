//! Tidemill core.

pub mod pipeline;
