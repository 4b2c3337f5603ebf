//! Jobs: views for users, and requests and replies of workers.

mod log;

pub use log::{LogMark, LogTimes, MAX_REPORT_MARKS};

use crate::access::protection::{ApprovalProgress, CallerApproval};
use crate::execution::{
    assignment::{Assignment, Preparation},
    attempt::{AttemptEnd, AttemptView, StepView},
    debug::ShellRequest,
    failure::FailureReason,
    status::{ExecutionStatus, JobStatus},
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

/// State of a required approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Not approved yet.
    Awaited,
    /// Approved.
    Given,
}

/// A job as shown to users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Its execution.
    pub pipeline_execution_id: ExecutionId,
    /// Stage.
    pub stage: String,
    /// Name with matrix values: `unit [features=all]`.
    pub job_name: String,
    /// Image.
    pub docker_image: String,
    /// Status.
    pub status: JobStatus,
    /// Names of the jobs that it waits for, with matrices expanded.
    pub needs: Vec<String>,
    /// Whether its failure is tolerated.
    pub allow_failure: bool,
    /// Whether it counts as successful although it did not succeed: its exit code is tolerated, it was not needed, or a
    /// condition on outputs did not hold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
    /// Whether it needs an approval, and has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs_on: Labels,
    /// While it is queued: the labels among these that no worker has, or all if no worker has them together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unserved_labels: Labels,
    /// The environment that it deploys to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Current or last attempt; 0 before the first.
    pub attempt: u32,
    /// Finished attempts before the current one, oldest first.
    pub attempts: Vec<AttemptView>,
    /// When its needs had ended.
    pub queued_at: Option<Timestamp>,
    /// When the next attempt starts, if it is delayed: the first by `start_in`, later ones after a failure that was not
    /// the job's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When the last attempt started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub failure_reason: Option<FailureReason>,
    /// Commands of the last attempt.
    pub steps: Vec<StepView>,
    /// Current activity of the worker: `pulling image`, `preparing`, `running`, `collecting artifacts`.
    pub phase: Option<String>,
    /// Number of stored bytes of the last attempt's log.
    pub log_bytes: u64,
    /// The same job of the retried execution, if it was carried over.
    #[serde(default)]
    pub carried_from: Option<JobId>,
    /// What it waits for, if it waits for a place in its concurrency group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for_place: Option<PlaceWait>,
    /// The condition on outputs that decides, when the job is due, whether it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The execution that it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<ChildView>,
    /// Whether it has no `needs`, and waits for all jobs of earlier stages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_stages: bool,
    /// Who approved it, and what is missing, if its environment is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<ApprovalProgress>,
    /// What an approval by the caller would be, if it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_approval: Option<CallerApproval>,
}

/// A job's wait for a place in its concurrency group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceWait {
    /// The group.
    pub group: String,
    /// How many jobs of the group run at the same time.
    pub limit: u32,
    /// Its position among the jobs that wait; 1 is the next one. Absent: the list is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// The first jobs that have a place, at most five.
    pub holders: Vec<GroupHolder>,
}

/// A job that has a place in a concurrency group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupHolder {
    /// Its execution.
    pub execution_id: ExecutionId,
    /// The number of that execution among those of its pipeline.
    pub run_number: u64,
    /// The pipeline.
    pub pipeline_name: String,
    /// Its name.
    pub job_name: String,
}

/// An execution that a job started, as shown with the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildView {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Status.
    pub status: ExecutionStatus,
    /// Whether the job's dependents and its execution wait for its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaited: bool,
}

/// The [`JobView::phase`] of a job whose image is pulled; the downloaded bytes and the image follow:
/// `pulling image (12.5 of 80.0 MiB): rust:1`.
pub const PULLING_IMAGE: &str = "pulling image";

/// The worker that requests work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// Its name, for display.
    pub name: String,
}

/// Requests an attempt of a given job (whose id came from a queue), or of any job that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExecuteRequest {
    /// The worker.
    pub worker: WorkerInfo,
    /// The job; absent: the next one.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// Only jobs of this execution.
    #[serde(default)]
    pub execution_id: Option<ExecutionId>,
    /// The worker's labels: it gets only jobs whose required labels it has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Only with `job_id`: a value that the worker creates for this request and from which the lease token is derived.
    /// If the reply is lost, the same request returns the same attempt.
    #[serde(default)]
    pub lease: Option<LeaseToken>,
    /// Milliseconds to wait for a job if none is ready; at most 20,000.
    #[serde(default)]
    pub wait_ms: u64,
    /// Maximum number of upcoming jobs in the reply.
    #[serde(default)]
    pub lookahead: u32,
    /// What a slot of the worker costs, in millionths of a dollar for an hour; 0 if it has no price. At most 10,000 dollars.
    #[serde(default)]
    pub slot_price: u64,
}

/// The reply to a request for work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobExecuteReply {
    /// Run this attempt.
    Assigned {
        /// The attempt.
        assignment: Box<Assignment>,
        /// Jobs of the same execution that will probably be ready next.
        #[serde(default)]
        upcoming: Vec<Preparation>,
    },
    /// There is nothing to run, or the requested job is taken, canceled or has ended: delete the message.
    Nothing {
        /// The reason, for logs.
        reason: String,
    },
}

/// The bytes of a section of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogContent {
    /// Compressed with zstd, then base64.
    #[serde(rename = "zstd_base64")]
    Zstd(String),
    /// Compressed with gzip, then base64.
    #[serde(rename = "gzip_base64")]
    Gzip(String),
    /// Base64.
    #[serde(rename = "base64")]
    Plain(String),
    /// Text, whose bytes are its UTF-8 form.
    #[serde(rename = "text")]
    Text(String),
}

/// A section of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogBytes {
    /// Offset of the first byte in this attempt's log. Bytes that are already stored are skipped; a gap is rejected
    /// with 409.
    pub offset: u64,
    /// Number of bytes before compression, at most 8 MiB.
    pub length: u32,
    /// The bytes, in one of these forms. Base64 has the standard alphabet and padding.
    #[serde(flatten)]
    pub content: LogContent,
    /// Times of positions in the log, in order. They may be of bytes that earlier reports had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<LogMark>,
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
    /// The worker's current activity, if it changed.
    #[serde(default)]
    pub phase: Option<String>,
    /// Commands whose state changed.
    #[serde(default)]
    pub steps: Vec<StepView>,
    /// The outcome, if the attempt has ended.
    #[serde(default)]
    pub end: Option<AttemptEnd>,
}

impl JobReport {
    /// Whether it is only a heartbeat.
    #[must_use]
    pub fn is_heartbeat(&self) -> bool {
        self.log.is_none() && !self.changes_state()
    }

    /// Whether it changes the job's record, beside its log.
    #[must_use]
    pub fn changes_state(&self) -> bool {
        self.phase.is_some() || !self.steps.is_empty() || self.end.is_some()
    }
}

/// The reply to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobReportReply {
    /// Whether to stop because the job was canceled. The worker then ends the container and reports the end.
    pub cancel: bool,
    /// Number of stored bytes of this attempt's log, in the reply to a report that has some.
    pub log_bytes: u64,
    /// Remaining duration of the lease in milliseconds.
    pub lease_ttl_ms: u64,
    /// Milliseconds for which the worker collects log bytes, phases and steps before it reports them. It changes when a user begins to
    /// read the log.
    pub report_interval_ms: u64,
    /// A shell in the job that a user asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<ShellRequest>,
}
