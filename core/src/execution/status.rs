//! The statuses of executions and jobs, and the transitions between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Status of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// No job has started.
    Pending,
    /// At least one job has started.
    Running,
    /// Every job succeeded or its failure was tolerated.
    Success,
    /// A job failed, and the failure was not tolerated.
    Failed,
    /// Canceled before its end.
    Canceled,
}

/// Status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Waits for its needs.
    Pending,
    /// Its needs have ended; it waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Ended with exit code 0.
    Success,
    /// Ended with a failure.
    Failed,
    /// Canceled before its end.
    Canceled,
    /// Did not run: a need did not succeed, or it was not needed.
    Skipped,
}

impl ExecutionStatus {
    /// Whether the status is final.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }

    /// Whether the transition from `self` to `next` exists.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Pending => !matches!(next, Self::Pending),
            Self::Running => next.is_terminal(),
            Self::Success | Self::Failed | Self::Canceled => false,
        }
    }

    /// Returns the name in the API, in capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
    /// All statuses, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Queued,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Canceled,
        Self::Skipped,
    ];

    /// Whether the status is final.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::Skipped)
    }

    /// Whether the transition from `self` to `next` exists. `Running` to `Queued` is the only step back: the lease
    /// expired, or the worker gave the job back.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Queued | Self::Skipped | Self::Canceled),
            Self::Queued => matches!(next, Self::Running | Self::Canceled | Self::Failed),
            Self::Running => {
                matches!(next, Self::Queued | Self::Success | Self::Failed | Self::Canceled)
            }
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped => false,
        }
    }

    /// Returns the name in the API, in capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
        f.write_str(self.as_str())
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::JobStatus;

    #[test]
    fn terminal_status_never_changes() {
        for from in JobStatus::ALL.into_iter().filter(|s| s.is_terminal()) {
            for to in JobStatus::ALL {
                assert!(!from.can_become(to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn only_running_returns_to_queued() {
        let rank = |s| JobStatus::ALL.iter().position(|x| *x == s);
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                if from.can_become(to) && rank(to) < rank(from) {
                    assert_eq!((from, to), (JobStatus::Running, JobStatus::Queued));
                }
            }
        }
    }
}
