//! What must hold of any request and of any stored or reported log; the fuzzers look for one of which it does not.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a panic is how a fuzzer learns of a failure"
)]

mod api;
mod log;

pub use api::api;
pub use log::log;
