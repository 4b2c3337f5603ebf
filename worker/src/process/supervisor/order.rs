//! What a supervisor gets to know of its job: the first line of its stdin.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a supervisor runs a script with. The script follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorOrder {
    /// The directory of the job's scripts, secrets and summary.
    pub run: PathBuf,
    /// The environment; nothing else is in it.
    pub environment: IndexMap<String, String>,
    /// The user and group of the job's processes; absent: those of the supervisor.
    pub user: Option<(u32, u32)>,
    /// The control group of the job's processes.
    pub cgroup: Option<PathBuf>,
    /// Whether no program gives a process more rights than it has.
    pub no_new_privileges: bool,
    /// The number of files that each process may have open; 0: as many as the supervisor.
    pub open_files: u32,
    /// The number of processes that the user may have, in all jobs together; absent: no limit, or that of the control group.
    pub max_processes: Option<u32>,
}
