//! Holding a job for a shell in its container.

mod hold;
mod port;
mod recording;
mod remote;

pub use hold::Holder;
pub use port::{Debugger, HeldJob};
pub use remote::RemoteShells;
