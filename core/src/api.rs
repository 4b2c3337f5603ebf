//! Requests and replies of the HTTP API. Every path below stands once, in [`path`].

use crate::{
    assignment::{ArtifactSource, Assignment, Preparation, Source},
    failure::FailureReason,
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken, WorkerId},
    labels::Labels,
    pipeline::Environment,
    status::{ExecutionStatus, JobStatus},
    time::Timestamp,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Paths of the API; `{...}` is a parameter.
pub mod path {
    /// POST [`super::ExecuteRequest`]: 201 [`super::ExecuteReply`], 200 when attached to a live one.
    pub const EXECUTE: &str = "/api/pipeline/execute";
    /// GET: [`super::ExecutionView`]. Query `wait_ms` with `If-None-Match` holds the reply until something
    /// changed or the time is over (then 304).
    pub const STATUS: &str = "/api/pipeline/status/{executionId}";
    /// GET: [`super::ExecutionList`]; query [`super::ListQuery`].
    pub const EXECUTIONS: &str = "/api/pipeline/executions";
    /// POST: cancels the execution; [`super::CancelReply`]. Query [`super::ExpectedQuery`].
    pub const CANCEL_EXECUTION: &str = "/api/pipeline/cancel/{executionId}";
    /// POST [`super::RetryRequest`]: 201 [`super::ExecuteReply`]. Query [`super::ExpectedQuery`].
    pub const RETRY: &str = "/api/pipeline/retry/{executionId}";
    /// POST [`super::JobExecuteRequest`]: [`super::JobExecuteReply`].
    pub const JOB_EXECUTE: &str = "/api/job/execute";
    /// POST [`super::JobReport`]: [`super::JobReportReply`]; 409 when the lease is not (or no longer) valid.
    pub const JOB_STATUS: &str = "/api/job/status";
    /// POST [`crate::discovery::DiscoveryReport`]: [`crate::discovery::DiscoveryReply`]; 409 with a lost lease.
    pub const DISCOVERED: &str = "/api/pipeline/discovered";
    /// POST: what a git provider tells of a repository, signed with the repository's secret and without a token;
    /// [`crate::repository::WebhookReply`]. Query `repo` names the repository where the body does not.
    pub const WEBHOOK: &str = "/api/webhook/{provider}";
    /// PUT [`crate::repository::RepositoryRequest`]: [`crate::repository::RepositoryReply`]. GET:
    /// [`crate::repository::RepositoryList`]. DELETE, query [`crate::repository::RepositoryName`]:
    /// [`crate::repository::RepositoryRemoved`].
    pub const REPOSITORIES: &str = "/api/repository";
    /// POST [`crate::repository::RepositoryName`]: reads the schedules of its default branch anew; [`super::ExecuteReply`].
    pub const SYNC: &str = "/api/repository/sync";
    /// POST [`crate::repository::RepositoryName`]: [`crate::repository::RedeliveryReply`].
    pub const REDELIVER: &str = "/api/repository/redeliver";
    /// POST: approves an execution that waits for that; [`super::ApproveReply`]. Query [`super::ExpectedQuery`].
    pub const APPROVE_EXECUTION: &str = "/api/pipeline/approve/{executionId}";
    /// POST: approves a job whose `when` is manual; [`super::ApproveReply`]. Query [`super::ExpectedQuery`].
    pub const APPROVE_JOB: &str = "/api/job/approve/{jobId}";
    /// POST [`super::CacheLookupRequest`]: [`super::CacheLookupReply`]. 409 with a lost lease.
    pub const CACHE_LOOKUP: &str = "/api/cache/lookup";
    /// GET: the bytes of a cache that was looked up, for servers that presign to themselves; query `lease`, `object`.
    pub const CACHE_CONTENT: &str = "/api/cache/content/{jobId}";
    /// GET: names of a repository's secrets, [`super::SecretList`]; query [`super::SecretQuery`]. POST
    /// [`super::SetSecretRequest`]: keeps one, [`super::SecretView`].
    pub const SECRETS: &str = "/api/secret";
    /// POST [`super::RemoveSecretRequest`]: [`super::RemoveSecretReply`].
    pub const REMOVE_SECRET: &str = "/api/secret/remove";
    /// POST: seals secrets under the newest key; [`super::RekeyReply`].
    pub const REKEY_SECRETS: &str = "/api/secret/rekey";
    /// POST: cancels one job; [`super::CancelReply`]. Query [`super::ExpectedQuery`].
    pub const CANCEL_JOB: &str = "/api/job/cancel/{jobId}";
    /// GET: raw log bytes from `offset` (query; also `attempt`, `limit`). Header `x-tidemill-log-end: true` when the
    /// reply reaches the end of a log that is over; `x-tidemill-log-next` is the next offset. `wait_ms` holds the
    /// reply until there are bytes.
    pub const JOB_LOGS: &str = "/api/job/logs/{jobId}";
    /// GET: jobs that ended for reasons not their own, [`super::DeadLetterList`]; query [`super::DeadLetterQuery`].
    pub const DEAD_LETTERS: &str = "/api/job/dead-letters";
    /// POST: forgets that a job is a dead letter; [`super::DismissReply`]. Query [`super::ExpectedQuery`].
    pub const DISMISS: &str = "/api/job/dismiss/{jobId}";
    /// POST [`super::ArtifactUploadRequest`]: [`super::ArtifactUploadReply`]. 409 with a lost lease.
    pub const ARTIFACT_UPLOAD: &str = "/api/artifact/upload";
    /// PUT: the bytes of an artifact, for servers that presign to themselves; query `lease`.
    pub const ARTIFACT_CONTENT: &str = "/api/artifact/content/{artifactId}";
    /// GET: artifacts of an execution, [`super::ArtifactList`].
    pub const ARTIFACTS: &str = "/api/artifact/list/{executionId}";
    /// GET: the stored bytes of one artifact (a tar, see [`super::ArtifactView::encoding`]); may redirect.
    pub const ARTIFACT_DOWNLOAD: &str = "/api/artifact/download/{artifactId}";
    /// POST [`super::SourceUploadRequest`]: [`super::SourceUploadReply`].
    pub const SOURCE_UPLOAD: &str = "/api/source/upload";
    /// PUT: the bytes of an upload, for servers that presign to themselves.
    pub const SOURCE_CONTENT: &str = "/api/source/content/{uploadId}";
    /// GET: the bytes of an upload; may redirect.
    pub const SOURCE_DOWNLOAD: &str = "/api/source/download/{uploadId}";
    /// GET: the `tidemill` program of this SHA-256 (hex), for workers that are just being set up; may redirect.
    pub const WORKER_PROGRAM: &str = "/api/worker/program/{sha256}";
    /// POST [`crate::test_report::TestsRequest`]: [`crate::test_report::TestsReply`]. 409 with a lost lease.
    pub const JOB_TESTS: &str = "/api/job/tests";
    /// GET: what the tests of an execution came to, [`crate::test_report::ExecutionTests`].
    pub const TESTS: &str = "/api/pipeline/tests/{executionId}";
    /// GET: what an execution used, [`crate::cost::Usage`].
    pub const USAGE: &str = "/api/pipeline/usage/{executionId}";
    /// POST [`crate::access::TokenRequest`]: 201 [`crate::access::TokenReply`], which has the token this once. GET:
    /// [`crate::access::TokenList`].
    pub const TOKENS: &str = "/api/token";
    /// DELETE: the token is not valid any more; [`crate::access::RevokeReply`].
    pub const TOKEN: &str = "/api/token/{tokenId}";
    /// GET: who did what, [`crate::access::AuditList`]; query [`crate::access::AuditQuery`].
    pub const AUDIT: &str = "/api/audit";
    /// GET: a page for people, which shows an execution live and asks for a token by itself; without a token.
    pub const VIEW: &str = "/api/view/{executionId}";
    /// GET: the same page, of the newest executions.
    pub const VIEWS: &str = "/api/view";
    /// GET: [`super::Health`], without a token.
    pub const HEALTH: &str = "/api/health";
    /// GET: the OpenAPI document, without a token.
    pub const OPENAPI: &str = "/api/openapi.json";
}

/// Header whose value makes a POST to execute happen once, however often it is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header that carries a trace from the CLI to the server (W3C Trace Context); the queue's messages carry it on.
pub const TRACEPARENT: &str = "traceparent";
/// Header of a log reply: the offset after its last byte.
pub const LOG_NEXT: &str = "x-tidemill-log-next";
/// Header of a log reply: `true` when no more bytes will come.
pub const LOG_END: &str = "x-tidemill-log-end";

/// What started an execution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person with the CLI or the API.
    #[default]
    Manual,
    /// A retry of an earlier execution.
    Retry,
    /// A push (webhook).
    Push,
    /// A pull request (webhook).
    PullRequest,
    /// A schedule.
    Schedule,
}

/// Start an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteRequest {
    /// The pipeline file's text.
    pub pipeline: String,
    /// Its name, for messages.
    #[serde(default)]
    pub file: Option<String>,
    /// Repository as a person knows it: a URL or a path.
    pub repo: String,
    /// Branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// Commit hash.
    #[serde(default)]
    pub commit: Option<String>,
    /// Where workers get the sources.
    pub source: Source,
    /// Variables that override the file's.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// What started it.
    #[serde(default)]
    pub trigger: Trigger,
    /// Who, as the caller says. It counts only with the deployment's own token: a token that was made is known by its name.
    #[serde(default)]
    pub requested_by: Option<String>,
    /// The tag that the commit was found by; then there is no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The repository's default branch, for conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// Paths that changed, for conditions; absent: not known, and such conditions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Paths of the files of the sources, for conditions; absent: not known, and such conditions hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// Make another execution even if the same one is live.
    #[serde(default)]
    pub force: bool,
}

/// An execution was made, or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteReply {
    /// Its id.
    pub execution_id: ExecutionId,
    /// Its repository.
    pub repo: String,
    /// Its number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Whether it was there already: same repository, pipeline, commit, content and variables, and live; or the
    /// same idempotency key.
    pub attached: bool,
}

/// An execution without its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionSummary {
    /// Its id.
    pub id: ExecutionId,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// Repository.
    pub repo: String,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// Status.
    pub status: ExecutionStatus,
    /// What started it.
    pub trigger: Trigger,
    /// Who.
    pub requested_by: Option<String>,
    /// The execution that this one retries.
    #[serde(default)]
    pub retry_of: Option<ExecutionId>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its first job started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Whether a cancel was asked for.
    #[serde(default)]
    pub cancel_requested: bool,
    /// The newer execution of its concurrency group for which it was canceled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
    /// Whether it lasted longer than its pipeline's `timeout`, for which it was canceled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// An execution with its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionView {
    /// The execution.
    pub execution: ExecutionSummary,
    /// Stages in order.
    pub stages: Vec<String>,
    /// Whether somebody must approve the execution as a whole before anything of it runs, and has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The execution of its group that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<ExecutionId>,
    /// Jobs in the plan's order.
    pub jobs: Vec<JobView>,
}

/// One command of a script, as it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Its place in the script, from 0.
    pub index: u32,
    /// Exit code; absent while it runs or when it never ended by itself.
    pub exit_code: Option<i32>,
    /// Milliseconds it took.
    pub duration_ms: Option<u64>,
}

/// One finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// From 1.
    pub attempt: u32,
    /// When the lease was given.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Exit code, if the script ended.
    pub exit_code: Option<i32>,
    /// Why it did not succeed.
    pub failure: Option<FailureReason>,
    /// Worker's name.
    pub worker: Option<String>,
}

/// Whether somebody has approved what must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Nobody has.
    Awaited,
    /// Somebody has.
    Given,
}

/// Keep a secret. The reply, and everything else of the API but an assignment, is without its value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSecretRequest {
    /// The repository, however its address is written.
    pub repo: String,
    /// Only for jobs of this environment, for which it wins over the repository's own.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// The value, 1 byte to 64 KiB.
    pub value: String,
}

impl fmt::Debug for SetSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSecretRequest")
            .field("repo", &self.repo)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretView {
    /// The repository.
    pub repo: String,
    /// Only for jobs of this environment.
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
    /// When it was set last.
    pub updated_at: Timestamp,
    /// The name of the token that it was set with.
    #[serde(default)]
    pub updated_by: String,
}

/// The secrets of a repository, by environment and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretList {
    /// All of them.
    pub secrets: Vec<SecretView>,
}

/// Whose secrets to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretQuery {
    /// The repository.
    pub repo: String,
}

/// Forget a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretRequest {
    /// The repository.
    pub repo: String,
    /// The one of this environment; absent: the repository's own.
    #[serde(default)]
    pub environment: Option<String>,
    /// Its name.
    pub name: String,
}

/// A secret was forgotten, or was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveSecretReply {
    /// Whether there was one.
    pub removed: bool,
}

/// Secrets were sealed under the newest key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RekeyReply {
    /// How many were under an older one.
    pub renewed: usize,
    /// Whether there may be more: call again.
    pub more: bool,
    /// What no key of the deployment opens, in words; it must be set again. All that there is once `more` is false.
    #[serde(default)]
    pub unreadable: Vec<String>,
}

/// The reply to an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApproveReply {
    /// Whether this call changed anything (false: it was approved before).
    pub approved: bool,
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
    pub excused: bool,
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

/// A page of executions, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionList {
    /// The page.
    pub executions: Vec<ExecutionSummary>,
    /// Give it back as `cursor` for the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Filters of a listing; all given ones must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListQuery {
    /// The repository, however its address is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Exact pipeline name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Exact branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecutionStatus>,
    /// Run number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_number: Option<u64>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a call that changes something was meant for. It is refused with 409 when the execution or job is of another repository, so that
/// a mistake in choosing it changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedQuery {
    /// The repository that it must be of, however its address is written; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// Retry an execution that is over: a new one, in which jobs that succeeded are carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryRequest {
    /// Run every job again.
    #[serde(default)]
    pub all: bool,
    /// Names of manual jobs that are approved with this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// Who, as [`ExecuteRequest::requested_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// A cancel was recorded, or came too late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelReply {
    /// Whether this call changed anything (false: it was over, or already canceled).
    pub canceled: bool,
    /// The status word at the time of the reply.
    pub status: String,
}

/// A job that ended for a reason that was not its own: workers were lost under it too often, or none could take it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// The job as it ended, with its attempts.
    pub job: JobView,
    /// Its execution.
    pub execution: ExecutionSummary,
}

/// A page of dead letters, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterList {
    /// The page.
    pub dead_letters: Vec<DeadLetterView>,
    /// Give it back as `cursor` for the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterQuery {
    /// Only those of this repository, however its address is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A dead letter was dismissed, or was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DismissReply {
    /// Whether the job was among the dead letters.
    pub dismissed: bool,
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

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptEnd {
    /// `None`: success.
    pub failure: Option<FailureReason>,
    /// Exit code of the script, if it ended.
    pub exit_code: Option<i32>,
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

/// Announce an artifact; the reply says where to put it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactUploadRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// A name for it: the declared paths, comma separated.
    pub file_path: String,
    /// Files in it, with their sizes; at most 10,000 are listed.
    pub files: Vec<ArtifactFile>,
    /// Seconds after which it may be removed.
    #[serde(default)]
    pub expire_in_s: Option<u64>,
    /// It is no artifact but a cache, to be kept under this key for later jobs of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
    /// What the bytes will come to, where that is known before they are sent. A server whose store takes no other bytes than those
    /// that were announced asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<ContentSum>,
    /// Absent in the first call. In the second, after the bytes were put: what was put. Only then is the artifact
    /// recorded.
    #[serde(default)]
    pub complete: Option<ArtifactComplete>,
}

/// What bytes come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentSum {
    /// Their number.
    pub size: u64,
    /// Their SHA-256: 64 hex digits in lower case.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

impl ContentSum {
    /// Whether the hash has its form.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        is_sha256(&self.sha256)
    }
}

/// Whether `text` is a SHA-256 as the API has it: 64 hex digits in lower case.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactComplete {
    /// From the first reply.
    pub artifact_id: ArtifactId,
    /// Bytes put.
    pub size: u64,
    /// Their hash, hex.
    pub sha256: String,
}

/// Ask for a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheLookupRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// Keys; the first under which something is kept counts.
    pub keys: Vec<String>,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheLookupReply {
    /// The cache; absent: nothing is kept under any of the keys.
    pub found: Option<CacheFound>,
}

/// A cache that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheFound {
    /// Its key.
    pub key: String,
    /// Where its bytes are: a tar, as artifacts are.
    pub source: ArtifactSource,
}

/// One file in an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactFile {
    /// Path below the workspace.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// Where to put an artifact's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactUploadReply {
    /// Its id.
    pub artifact_id: ArtifactId,
    /// PUT here: absolute, or a path on the API's own server (then with the API's token). Absent of an artifact that is complete, and
    /// where `sum` must be said first: call again with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers that the PUT must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How the tar may be encoded: `identity` or `zstd`.
    pub encoding: String,
}

/// An artifact as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// Its id.
    pub id: ArtifactId,
    /// The job that left it.
    pub job_execution_id: JobId,
    /// That job's name.
    pub job_name: String,
    /// Declared paths.
    pub file_path: String,
    /// When it was stored.
    pub uploaded_at: Timestamp,
    /// Bytes of the stored object.
    pub size: u64,
    /// Hash of the stored object, hex.
    pub sha256: String,
    /// `identity` (a tar) or `zstd` (a tar, compressed).
    pub encoding: String,
    /// Files in it.
    pub files: Vec<ArtifactFile>,
    /// When it may be removed.
    pub expires_at: Option<Timestamp>,
}

/// Artifacts of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactList {
    /// In the order of the jobs.
    pub artifacts: Vec<ArtifactView>,
}

/// Announce sources that workers cannot fetch by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUploadRequest {
    /// Names the upload ([`crate::upload::UploadId`]): its repository, and the SHA-256 of its bytes.
    pub upload: String,
    /// Its bytes' number; absent when it is only asked whether it is there.
    #[serde(default)]
    pub size: Option<u64>,
}

/// Where to put sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUploadReply {
    /// PUT here: absolute, or a path on the API's own server (then with the API's token). Absent: it is there already.
    pub url: Option<String>,
    /// Headers that the PUT must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// In a word.
    pub status: HealthStatus,
    /// Version of the server.
    pub version: String,
    /// What is wrong.
    #[serde(default)]
    pub problems: Vec<HealthProblem>,
    /// More of it, for callers with a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<HealthDetails>,
}

/// How a server is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It takes work and carries it on.
    Ok,
    /// It does, but somebody should look.
    Degraded,
    /// It cannot take work: 503.
    Failing,
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthProblem {
    /// The store answers slowly.
    StoreSlow,
    /// The store cannot be written or read.
    StoreFailed,
    /// Soon there is too little space for new work.
    DiskLow,
    /// There is too little space for new work.
    DiskFull,
    /// What is late has not been looked at for a while.
    SweepLate,
    /// The records are damaged.
    RecordsDamaged,
}

impl HealthProblem {
    /// How bad it is.
    #[must_use]
    pub const fn status(self) -> HealthStatus {
        match self {
            Self::StoreSlow | Self::DiskLow | Self::SweepLate => HealthStatus::Degraded,
            Self::StoreFailed | Self::DiskFull | Self::RecordsDamaged => HealthStatus::Failing,
        }
    }
}

/// How a server is, in numbers. What it does not know of itself is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthDetails {
    /// Milliseconds that it took to write to the store and read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ms: Option<u64>,
    /// Free bytes where the data is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Free bytes below which no new work is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_low_bytes: Option<u64>,
    /// Bytes that are kept for the records, and whether they are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_bytes: Option<u64>,
    /// Whether they are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_spent: Option<bool>,
    /// When what is late was last looked at with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sweep_at: Option<Timestamp>,
    /// How far the check of all records is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordsCheck>,
}

/// How far the check of all records is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordsCheck {
    /// It is under way.
    Running,
    /// They are whole.
    Whole,
    /// They are not.
    Damaged,
    /// It was given up: there are too many for the time that it may take.
    Unfinished,
}

/// RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable: `tidemill:not-found`, `tidemill:lease-lost`, `tidemill:invalid-pipeline`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Short, the same for each type.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, to what, and what to do next.
    pub detail: String,
    /// Of a failure of the server: the id under which its log says more, as `urn:uuid:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of an invalid pipeline: its mistakes, as the CLI's `check --format json` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<serde_json::Value>,
}
