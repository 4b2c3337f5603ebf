//! Tidemill's services over ports, the HTTP router, and the adapters.

#[cfg(feature = "aws")]
pub mod aws;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod ids;
#[cfg(feature = "memory")]
pub mod memory;
mod messenger;
#[cfg_attr(
    not(any(feature = "aws", feature = "embedded")),
    allow(dead_code, reason = "stores pack what they keep")
)]
pub(crate) mod pack;
pub mod ports;
pub mod seal;
pub mod services;
mod stores;

pub use clock::SystemClock;
pub use error::{Error, ErrorReport, Result};
pub use ids::RandomIds;
pub use messenger::NetworkMessenger;
pub use stores::Stores;
