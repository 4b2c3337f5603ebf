//! Tidemill backend.
