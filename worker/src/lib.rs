//! Tidemill worker.
