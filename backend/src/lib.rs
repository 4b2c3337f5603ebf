//! Tidemill's services over ports, the HTTP router, and the adapters.

#[cfg(feature = "aws")]
pub mod aws;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
pub mod http;
mod ids;
#[cfg(feature = "memory")]
pub mod memory;
pub mod ports;
pub mod services;
mod stores;

pub use clock::SystemClock;
pub use error::{Error, Result};
pub use ids::RandomIds;
pub use stores::Stores;
