//! `worker.toml`: what the operator sets for the jobs on the workers of this machine.

mod file;
mod job_rules;
mod proxies;
mod quantities;
mod tables;

pub use file::WorkerConfigArg;
pub use job_rules::WorkerFile;
pub use proxies::user_proxies;
