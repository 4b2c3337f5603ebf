//! Tidemill core.
