//! What the operator of a worker sets for its jobs in `worker.toml`: limits, what jobs may ask for, and what every job gets.

mod allowance;
mod job_settings;
mod limits;
mod permissions;
mod seccomp;
mod sidecar;

pub use allowance::{Allowance, MAX_OPEN_FILES};
pub use job_settings::{HostMount, ImageSettings, JobSettings, Proxies};
pub use limits::Limits;
pub(crate) use limits::SizeLimitExceeded;
pub use permissions::{Permissions, TrustedRepositories, check_glob};
pub use seccomp::SeccompProfile;
pub(crate) use sidecar::missing_engine;
