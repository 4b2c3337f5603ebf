//! Commands that run until they are stopped.

mod isolation;
pub mod server;
pub mod worker;
