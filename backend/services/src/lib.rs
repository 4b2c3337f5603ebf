//! Tidemill's services over ports, and the HTTP router.

mod clock;
pub mod error;
pub mod http;
mod ids;
mod messenger;
pub mod pack;
pub mod ports;
pub mod seal;
pub mod services;
mod stores;

pub use clock::SystemClock;
pub use error::{Error, ErrorReport, Result};
pub use ids::RandomIds;
pub use messenger::HttpMessenger;
pub use stores::Stores;
