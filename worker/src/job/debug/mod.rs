//! Holding a job for a shell in its container.

mod hold;
mod port;

pub use hold::Holder;
pub use port::{Debugger, HeldJob};
