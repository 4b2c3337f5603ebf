//! What one job may use at most, as the operator of a worker says in its `worker.toml`, and the watch over what no kernel limits.

use std::io;
use tidemill_core::execution::{
    assignment::Resources,
    failure::{FailureKind, FailureReason},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What one job may use at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Memory; `None`: what the machine has for jobs.
    pub memory_bytes: Option<u64>,
    /// Processors; `None`: those of the machine.
    pub cpus: Option<f64>,
    /// Processes and threads at the same time, in each of its containers.
    pub pids: u32,
    /// Open files of each process; 0: as the engine has it.
    pub open_files: u32,
    /// Memory in `/dev/shm`.
    pub shm_bytes: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Bytes of its artifacts, packed.
    pub artifact_bytes: u64,
    /// Bytes of each of its caches, packed.
    pub cache_bytes: u64,
    /// Bytes on the disk: in its workspace, and elsewhere in its container.
    pub workspace_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            cpus: None,
            pids: 4096,
            open_files: 0,
            shm_bytes: 64 * MIB,
            log_bytes: 512 * MIB,
            artifact_bytes: 5 * GIB,
            cache_bytes: 5 * GIB,
            workspace_bytes: 50 * GIB,
        }
    }
}

impl Limits {
    /// What a container gets of a job that asks for `resources`: the most where it asks for nothing. Jobs that ask for more are
    /// not let in.
    pub(crate) fn of(&self, resources: Resources) -> Resources {
        let smaller = |asked: u64, most: u64| asked.min(most);
        Resources {
            memory_bytes: match (resources.memory_bytes, self.memory_bytes) {
                (Some(asked), Some(most)) => Some(smaller(asked, most)),
                (asked, most) => asked.or(most),
            },
            cpus: match (resources.cpus, self.cpus) {
                (Some(asked), Some(most)) => Some(asked.min(most)),
                (asked, most) => asked.or(most),
            },
        }
    }

    pub(crate) fn log_reason(&self) -> FailureReason {
        let words = format!(
            "the log is longer than {}, the most that this worker takes; write what is long into a file and keep it as an artifact",
            size(self.log_bytes)
        );
        FailureReason::new(FailureKind::LogLimit, words)
    }

    pub(crate) fn workspace_reason(&self) -> FailureReason {
        let words = format!(
            "the job has more than {} on the disk, the most that this worker gives to one; make it leave less there, or use a worker \
             with a larger `workspace`",
            size(self.workspace_bytes)
        );
        FailureReason::new(FailureKind::WorkspaceLimit, words)
    }
}

/// `bytes` in the largest unit that divides it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(GIB) => format!("{} GiB", bytes / GIB),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Says that something has more bytes than it may; carried through I/O code as an error's cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {}, the most that is taken", size(*max))]
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
    use super::{Limits, size};
    use tidemill_core::execution::assignment::Resources;

    #[test]
    fn requested_resources_win_within_limits() {
        let limits = Limits { memory_bytes: Some(100), cpus: Some(2.0), ..Limits::default() };
        let resources = |cpus, memory_bytes| Resources { cpus, memory_bytes };
        assert_eq!(limits.of(resources(None, None)), resources(Some(2.0), Some(100)));
        assert_eq!(limits.of(resources(Some(0.5), Some(60))), resources(Some(0.5), Some(60)));
        assert_eq!(Limits::default().of(resources(None, Some(60))), resources(None, Some(60)));
        assert_eq!(size(3 << 30), "3 GiB");
        assert_eq!(size(1536 << 10), "1536 KiB");
    }
}
