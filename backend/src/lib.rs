//! Tidemill's services over ports, the HTTP router, and the adapters.

pub mod error;
pub mod ports;

pub use error::{Error, Result};
