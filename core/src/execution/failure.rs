//! Why an attempt, and so perhaps its job, did not succeed.

use crate::execution::status::JobStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of a failure; stable, for programs and for retry rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A command of the script ended with a code other than 0.
    ScriptFailed,
    /// The job ran longer than its `timeout`.
    TimedOut,
    /// What the job needs before its script begins (sources, image, artifacts) did not come in its time.
    PreparationTimedOut,
    /// The kernel killed the job for using more memory than it may.
    OutOfMemory,
    /// The image does not exist, or may not be pulled.
    ImageUnavailable,
    /// The image could not be pulled this time: its registry did not answer, or not well.
    ImagePullFailed,
    /// The sources could not be had at that commit.
    SourceUnavailable,
    /// An artifact that the job needs could not be had, or its own could not be stored.
    ArtifactFailed,
    /// The container engine did not answer, or lost the container.
    EngineFailed,
    /// No space is left on the worker or the server.
    DiskFull,
    /// The worker lost what it had prepared for the job, such as its sources.
    WorkerFailed,
    /// The log is longer than the worker or the server takes.
    LogLimit,
    /// The artifacts have more bytes than the worker or the server takes.
    ArtifactLimit,
    /// The job has more on the worker's disk than one job may have there.
    WorkspaceLimit,
    /// The job's secrets could not be masked, so that it did not begin.
    MaskingFailed,
    /// The worker stopped reporting: its lease ran out.
    WorkerLost,
    /// The worker is stopping and gave the job back.
    GivenBack,
    /// No worker could take it: its message came back from the queue too often.
    Undeliverable,
    /// A need did not succeed, so this job never ran.
    NeedsFailed,
    /// It runs only when something fails, and nothing did.
    NotNeeded,
    /// Nobody approved it in time.
    NotApproved,
    /// A service of the job did not become ready, or ended.
    ServiceFailed,
    /// A secret that the job names is not there, or it may not have it.
    SecretUnavailable,
    /// Somebody canceled it.
    Canceled,
    /// A fault of Tidemill itself.
    Internal,
}

impl FailureKind {
    /// Whether the cause lies outside the job, so that trying again elsewhere may help without the
    /// pipeline asking for it.
    #[must_use]
    pub const fn is_infrastructure(self) -> bool {
        matches!(
            self,
            Self::EngineFailed
                | Self::WorkerLost
                | Self::GivenBack
                | Self::DiskFull
                | Self::WorkerFailed
                | Self::ImagePullFailed
                | Self::Internal
        )
    }

    /// Whether a job that ended for good so is a dead letter: it did not fail by its own doing, so that an operator
    /// should look at it.
    #[must_use]
    pub const fn is_dead_letter(self) -> bool {
        self.is_infrastructure() || matches!(self, Self::Undeliverable)
    }

    /// Whether this end of an attempt may be tried again under the job's own `retry`.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        !matches!(
            self,
            Self::Canceled
                | Self::NeedsFailed
                | Self::NotNeeded
                | Self::NotApproved
                | Self::SecretUnavailable
                | Self::MaskingFailed
                | Self::GivenBack
        )
    }
}

/// Whether a job of this status, with this reason, is a dead letter.
#[must_use]
pub fn is_dead_letter(status: JobStatus, reason: Option<&FailureReason>) -> bool {
    status == JobStatus::Failed && reason.is_some_and(|reason| reason.kind.is_dead_letter())
}

/// A failure with words that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureReason {
    /// Its kind.
    pub kind: FailureKind,
    /// What happened, to what, and what to do next.
    pub message: String,
}

impl FailureReason {
    /// A reason of this kind with these words.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
