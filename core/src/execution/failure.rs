//! Why an attempt did not succeed.

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
    /// What the job needs before its script starts (sources, image, artifacts) did not arrive in time.
    PreparationTimedOut,
    /// The kernel killed the job for exceeding its memory limit.
    OutOfMemory,
    /// The image does not exist or must not be pulled.
    ImageUnavailable,
    /// The image's registry denied access to it: it requires other credentials, or any.
    RegistryAccessDenied,
    /// The image could not be pulled this time: its registry did not answer or returned an error.
    ImagePullFailed,
    /// The sources could not be fetched at that commit.
    SourceUnavailable,
    /// An artifact that the job needs could not be fetched, or its own could not be stored.
    ArtifactFailed,
    /// The container engine did not answer, or lost the container.
    EngineFailed,
    /// No space is left on the worker or the server.
    DiskFull,
    /// The worker lost what it had prepared for the job, such as its sources.
    WorkerFailed,
    /// The log exceeds the limit of the worker or the server.
    LogLimit,
    /// The artifacts exceed the limit of the worker or the server.
    ArtifactLimit,
    /// The job exceeds the limit of disk space on the worker.
    WorkspaceLimit,
    /// The job's secrets could not be masked, so it did not start.
    MaskingFailed,
    /// The worker stopped reporting, and its lease expired.
    WorkerLost,
    /// The worker is stopping and gave the job back.
    GivenBack,
    /// No worker could take it: the queue delivered its message too many times.
    Undeliverable,
    /// A need did not succeed, so the job did not run.
    NeedsFailed,
    /// The job runs only if something fails, and nothing did.
    NotNeeded,
    /// It was not approved in time.
    NotApproved,
    /// A service of the job did not become ready, or ended.
    ServiceFailed,
    /// The job asks for something that its worker does not allow.
    NotAllowed,
    /// A secret that the job names does not exist, or the job may not use it.
    SecretUnavailable,
    /// A user canceled it.
    Canceled,
    /// An internal error of Tidemill.
    Internal,
    /// A condition on outputs of jobs did not hold, for this job or for one that it needs.
    ConditionNotMet,
}

impl FailureKind {
    /// Whether the cause lies outside the job, so that it is retried on another worker even if the pipeline does not
    /// ask for it.
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

    /// Whether a job that finally ended with this kind is a dead letter: the failure is not its own, so an operator
    /// should check it.
    #[must_use]
    pub const fn is_dead_letter(self) -> bool {
        self.is_infrastructure() || matches!(self, Self::Undeliverable)
    }

    /// Whether the job's own `retry` applies to this kind.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        !matches!(
            self,
            Self::Canceled
                | Self::NeedsFailed
                | Self::NotNeeded
                | Self::NotApproved
                | Self::ConditionNotMet
                | Self::NotAllowed
                | Self::RegistryAccessDenied
                | Self::SecretUnavailable
                | Self::MaskingFailed
                | Self::GivenBack
        )
    }

    /// Whether a job that was skipped for this reason counts as successful.
    #[must_use]
    pub const fn is_tolerated_skip(self) -> bool {
        matches!(self, Self::NotNeeded | Self::NotApproved | Self::ConditionNotMet)
    }
}

/// Whether a job with this status and failure was skipped because a condition on outputs did not hold. Jobs that need it are
/// skipped too; later stages run.
#[must_use]
pub fn is_left_out(status: JobStatus, reason: Option<&FailureReason>) -> bool {
    status == JobStatus::Skipped && reason.is_some_and(|reason| reason.kind == FailureKind::ConditionNotMet)
}

/// Whether a job with this status and failure is a dead letter.
#[must_use]
pub fn is_dead_letter(status: JobStatus, reason: Option<&FailureReason>) -> bool {
    status == JobStatus::Failed && reason.is_some_and(|reason| reason.kind.is_dead_letter())
}

/// A failure with a message that a user can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureReason {
    /// Its kind.
    pub kind: FailureKind,
    /// What failed, and what to do next.
    pub message: String,
}

impl FailureReason {
    /// Creates a failure of this kind with this message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
