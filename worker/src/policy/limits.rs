//! Limits of one job, which the operator of a worker sets in its `worker.toml`.

use std::io;
use tidemill_core::execution::{
    assignment::Resources,
    failure::{FailureKind, FailureReason},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Limits of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Memory; `None`: the machine's memory for jobs.
    pub memory_bytes: Option<u64>,
    /// Processors; `None`: those of the machine.
    pub cpus: Option<f64>,
    /// Memory of a job that requests none; `None`: as much as it may have.
    pub default_memory_bytes: Option<u64>,
    /// Processors of a job that requests none; `None`: as many as it may have.
    pub default_cpus: Option<f64>,
    /// Concurrent processes and threads in each of its containers.
    pub pids: u32,
    /// Open files of each process; 0: the engine's default.
    pub open_files: u32,
    /// Memory in `/dev/shm`.
    pub shm_bytes: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Bytes of its artifacts, packed.
    pub artifact_bytes: u64,
    /// Bytes of each of its caches, packed.
    pub cache_bytes: u64,
    /// Bytes on the disk, in its workspace and elsewhere in its container.
    pub workspace_bytes: u64,
    /// Whether no program gives a process more rights in its container than it has, as `sudo` does.
    pub no_new_privileges: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            cpus: None,
            default_memory_bytes: None,
            default_cpus: None,
            pids: 4096,
            open_files: 0,
            shm_bytes: 64 * MIB,
            log_bytes: 512 * MIB,
            artifact_bytes: 5 * GIB,
            cache_bytes: 5 * GIB,
            workspace_bytes: 50 * GIB,
            no_new_privileges: true,
        }
    }
}

impl Limits {
    /// Returns what a job requests, with the defaults for what it does not.
    pub(crate) fn with_defaults(&self, resources: Resources) -> Resources {
        Resources {
            memory_bytes: resources.memory_bytes.or(self.default_memory_bytes),
            cpus: resources.cpus.or(self.default_cpus),
        }
    }

    /// Returns the limits of a container of a job that requests `resources`; the maximum for those that it does not request.
    /// Jobs that request more are not admitted.
    pub(crate) fn apply(&self, resources: Resources) -> Resources {
        let resources = self.with_defaults(resources);
        Resources {
            memory_bytes: match (resources.memory_bytes, self.memory_bytes) {
                (Some(requested), Some(max)) => Some(requested.min(max)),
                (requested, max) => requested.or(max),
            },
            cpus: match (resources.cpus, self.cpus) {
                (Some(requested), Some(max)) => Some(requested.min(max)),
                (requested, max) => requested.or(max),
            },
        }
    }

    /// Returns the last line of a log that exceeds the limit.
    pub(crate) fn log_limit_message(&self) -> String {
        format!(
            "[tidemill] the log ends here: it exceeds this worker's limit of {}. The job continues, and its further output is \
             not kept; write long output into a file and store it as an artifact",
            format_size(self.log_bytes)
        )
    }

    /// Returns the failure of a job whose disk usage exceeds the limit.
    pub(crate) fn workspace_limit_failure(&self) -> FailureReason {
        let message = format!(
            "the job's disk usage exceeds this worker's limit of {}; reduce it, or use a worker with a larger `workspace` limit",
            format_size(self.workspace_bytes)
        );
        FailureReason::new(FailureKind::WorkspaceLimit, message)
    }
}

/// Formats `bytes` in the largest unit that divides it.
pub(crate) fn format_size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(GIB) => format!("{} GiB", bytes / GIB),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Something exceeds its size limit. Passed through I/O code as the cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it exceeds the limit of {}", format_size(*max))]
pub(crate) struct SizeLimitExceeded {
    pub max: u64,
}

impl From<SizeLimitExceeded> for io::Error {
    fn from(error: SizeLimitExceeded) -> Self {
        Self::new(io::ErrorKind::FileTooLarge, error)
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, format_size};
    use tidemill_core::execution::assignment::Resources;

    #[test]
    fn requested_resources_are_granted_within_limits() {
        let limits = Limits { memory_bytes: Some(100), cpus: Some(2.0), ..Limits::default() };
        let resources = |cpus, memory_bytes| Resources { cpus, memory_bytes };
        assert_eq!(limits.apply(resources(None, None)), resources(Some(2.0), Some(100)));
        assert_eq!(limits.apply(resources(Some(0.5), Some(60))), resources(Some(0.5), Some(60)));
        assert_eq!(Limits::default().apply(resources(None, Some(60))), resources(None, Some(60)));
        let defaults = Limits { default_memory_bytes: Some(50), default_cpus: Some(1.0), ..limits };
        assert_eq!(defaults.apply(resources(None, None)), resources(Some(1.0), Some(50)));
        assert_eq!(defaults.apply(resources(Some(2.0), Some(60))), resources(Some(2.0), Some(60)));
        assert_eq!(format_size(3 << 30), "3 GiB");
        assert_eq!(format_size(1536 << 10), "1536 KiB");
    }
}
