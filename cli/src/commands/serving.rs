//! Long-running commands: `server` and `worker`.

mod isolation;
pub mod server;
pub mod worker;
