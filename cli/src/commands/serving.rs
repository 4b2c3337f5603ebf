//! Long-running commands: `server` and `worker`.

mod isolation;
mod observability;
pub mod server;
pub mod worker;
