//! Holding a job for a user who works in its container: with a shell, or by copying files and forwarding connections.

mod copying;
mod forwarding;
mod hold;
mod port;
mod recording;
mod remote;

pub use hold::Holder;
pub use port::{Debugger, HeldJob};
pub use remote::RemoteShells;
