//! Jobs as users see them, and what workers and the API say to each other about one.

use crate::execution::{
    assignment::{Assignment, Preparation},
    attempt::{AttemptEnd, AttemptView, StepView},
    failure::FailureReason,
    status::JobStatus,
};
use crate::pipeline::labels::Labels;
use crate::{
    ids::{ExecutionId, JobId, LeaseToken, WorkerId},
    pipeline::Environment,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether somebody has approved what must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Nobody has.
    Awaited,
    /// Somebody has.
    Given,
}

/// A job as a user sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Its execution.
    pub pipeline_execution_id: ExecutionId,
    /// Stage.
    pub stage: String,
    /// Name, with matrix values: `unit [features=all]`.
    pub job_name: String,
    /// Image.
    pub docker_image: String,
    /// Status.
    pub status: JobStatus,
    /// Names of the jobs that it waits for (expanded).
    pub needs: Vec<String>,
    /// Whether its failure lets the execution succeed.
    pub allow_failure: bool,
    /// Whether it ended in a way that counts as well though it did not succeed: an exit code that is allowed, or it was not
    /// needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
    /// Whether somebody must approve it, and has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: Labels,
    /// Where it deploys to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Current or last attempt; 0 before the first.
    pub attempt: u32,
    /// Finished attempts before the current one, oldest first.
    pub attempts: Vec<AttemptView>,
    /// When its needs held.
    pub queued_at: Option<Timestamp>,
    /// When the next attempt begins, while the job waits after one that was not its fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When the last attempt's lease was given.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub failure_reason: Option<FailureReason>,
    /// Commands of the last attempt.
    pub steps: Vec<StepView>,
    /// What the worker is doing: `pulling image`, `preparing`, `running`, `collecting artifacts`.
    pub phase: Option<String>,
    /// Bytes of the last attempt's log that are stored.
    pub log_bytes: u64,
    /// The same job of the retried execution, when this one was carried over without running again.
    #[serde(default)]
    pub carried_from: Option<JobId>,
}

/// Who asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// Its name, for people.
    pub name: String,
}

/// Ask for an attempt: of this job (its id came from a queue), or of any that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExecuteRequest {
    /// Who.
    pub worker: WorkerInfo,
    /// The job; absent: whatever is next.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// Only jobs of this execution.
    #[serde(default)]
    pub execution_id: Option<ExecutionId>,
    /// The worker's labels: it gets no job that demands others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// With `job_id`: made by the worker for this request, so that the lease's token is made from it. Should the reply be
    /// lost, the same request gives the same attempt again instead of leaving it to nobody.
    #[serde(default)]
    pub lease: Option<LeaseToken>,
    /// Milliseconds to wait for a job when none is ready; at most 20,000.
    #[serde(default)]
    pub wait_ms: u64,
    /// How many likely next jobs to name in the reply.
    #[serde(default)]
    pub lookahead: u32,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobExecuteReply {
    /// Run this.
    Assigned {
        /// The attempt.
        assignment: Box<Assignment>,
        /// Jobs of the same execution that will likely be ready next.
        #[serde(default)]
        upcoming: Vec<Preparation>,
    },
    /// Nothing to run (or that job is taken, canceled or over): forget the message.
    Nothing {
        /// Why, for logs.
        reason: String,
    },
}

/// Log bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogBytes {
    /// Offset of the first byte in this attempt's log. Bytes below what is stored are a repeat and are skipped;
    /// a gap is refused with 409.
    pub offset: u64,
    /// Number of bytes before compression.
    pub length: u32,
    /// The bytes: zstd, then base64 (standard alphabet, padded).
    pub zstd_base64: String,
}

/// A worker's report: heartbeat, log bytes and status in one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobReport {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// New log bytes.
    #[serde(default)]
    pub log: Option<LogBytes>,
    /// What the worker is doing, if it changed.
    #[serde(default)]
    pub phase: Option<String>,
    /// Commands whose state changed.
    #[serde(default)]
    pub steps: Vec<StepView>,
    /// The end of the attempt.
    #[serde(default)]
    pub end: Option<AttemptEnd>,
}

impl JobReport {
    /// Whether it says nothing but that its sender is alive.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.log.is_none() && self.phase.is_none() && self.steps.is_empty() && self.end.is_none()
    }
}

/// The reply to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobReportReply {
    /// Stop: somebody canceled the job. The worker ends the container and reports the end.
    pub cancel: bool,
    /// Bytes of this attempt's log that are stored.
    pub log_bytes: u64,
    /// The lease now lasts this many milliseconds more.
    pub lease_ttl_ms: u64,
}
