//! The adapters against an emulator of AWS; skipped where there is none.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod lagging;
mod late_index;
mod ports;
mod secrets;
