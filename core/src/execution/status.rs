//! The statuses of executions and jobs, and which steps between them exist.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// Recorded; no job has started.
    Pending,
    /// At least one job has started.
    Running,
    /// Every job succeeded or was allowed to fail.
    Success,
    /// A job failed that was not allowed to.
    Failed,
    /// Canceled by a user before its end.
    Canceled,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Waits for its needs.
    Pending,
    /// Its needs hold; it waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Ended with exit code 0.
    Success,
    /// Ended otherwise.
    Failed,
    /// Canceled before its end.
    Canceled,
    /// Never ran: a need of it did not succeed, or the execution was canceled first.
    Skipped,
}

impl ExecutionStatus {
    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }

    /// Whether the step from `self` to `next` exists.
    #[must_use]
    pub const fn allows(self, next: Self) -> bool {
        match self {
            Self::Pending => !matches!(next, Self::Pending),
            Self::Running => next.is_terminal(),
            Self::Success | Self::Failed | Self::Canceled => false,
        }
    }

    /// The word of the API, in capitals.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }
}

impl JobStatus {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Queued,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Canceled,
        Self::Skipped,
    ];

    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::Skipped)
    }

    /// Whether the step from `self` to `next` exists. `Running` to `Queued` is the one step back: the lease ran
    /// out, or the worker gave the job back.
    #[must_use]
    pub const fn allows(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Queued | Self::Skipped | Self::Canceled),
            Self::Queued => matches!(next, Self::Running | Self::Canceled | Self::Failed),
            Self::Running => {
                matches!(next, Self::Queued | Self::Success | Self::Failed | Self::Canceled)
            }
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped => false,
        }
    }

    /// The word of the API, in capitals.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Skipped => "SKIPPED",
        }
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::JobStatus;

    #[test]
    fn terminal_status_never_changes() {
        for from in JobStatus::ALL.into_iter().filter(|s| s.is_terminal()) {
            for to in JobStatus::ALL {
                assert!(!from.allows(to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn only_running_returns_to_queued() {
        let rank = |s| JobStatus::ALL.iter().position(|x| *x == s);
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                if from.allows(to) && rank(to) < rank(from) {
                    assert_eq!((from, to), (JobStatus::Running, JobStatus::Queued));
                }
            }
        }
    }
}
