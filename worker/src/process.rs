//! Jobs as plain processes of this machine: the second adapter of the executor's port, beside the container engine.
//!
//! A process of this program, the supervisor, has the role of a container's first process: everything that a job starts is below it
//! and ends with it. The worker speaks the same protocol with both.

mod cgroup;
mod directory;
mod environment;
mod executor;
mod host;
mod preparation;
mod processes;
mod sandbox;
mod sources;
mod supervisor;

pub use cgroup::CgroupSettings;
pub use executor::ProcessExecutor;
pub use host::{ProcessHost, ProcessSettings};
pub use supervisor::supervise;
