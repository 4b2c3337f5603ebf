//! Fuzz targets: properties of every request and of every stored or reported log.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a panic reports a failure to the fuzzer"
)]

mod api;
mod log;

pub use api::api;
pub use log::log;
