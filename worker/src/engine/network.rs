//! Networks of jobs, and the packet filter rules that isolate them.

mod bridge;
mod guard_error;
mod holder;
mod host_guard;
mod iptables;
mod isolation;
pub mod metadata_guard;

pub use bridge::BridgeNetwork;
pub(super) use bridge::Isolation;
pub use guard_error::GuardError;
pub use holder::{NetworkHolder, SharedHolder};
pub use isolation::JobNetwork;
