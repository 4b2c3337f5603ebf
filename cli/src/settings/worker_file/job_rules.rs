//! The settings of `worker.toml`.

use std::path::PathBuf;
use tidemill_worker::ExecutorKind;
use tidemill_worker::policy::{JobSettings, Limits, Permissions};

/// The settings of the file, with defaults for those that it does not set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerFile {
    /// What runs jobs.
    pub executor: ExecutorKind,
    /// Limits of one job.
    pub limits: Limits,
    /// What jobs may ask for.
    pub permissions: Permissions,
    /// What every job gets.
    pub jobs: JobSettings,
    /// The directory of templates, for `include: template` of GitLab files.
    pub templates: Option<PathBuf>,
    /// What the machine costs, in millionths of a dollar for an hour; 0 if it has no price.
    pub machine_price: u64,
}
