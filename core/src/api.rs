//! Requests and replies of the HTTP API, by resource. Every path is defined once, in [`path`], and those of the web UI in
//! [`page`].

mod artifact;
mod cache;
mod dead_letter;
mod environment;
mod execution;
mod header;
mod health;
mod insight;
mod job;
pub mod page;
pub mod path;
mod problem;
mod registry;
mod secret;
mod source;
mod worker;

pub use artifact::{
    ArtifactAddress, ArtifactComplete, ArtifactFile, ArtifactLink, ArtifactList, ArtifactUploadReply,
    ArtifactUploadRequest, ArtifactView, ContentChecksum, is_image_id, is_sha256,
};
pub use cache::{CacheHit, CacheLookupReply, CacheLookupRequest};
pub use dead_letter::{DeadLetterList, DeadLetterQuery, DeadLetterView, DismissReply};
pub use environment::{
    Deployment, EnvironmentList, EnvironmentQuery, EnvironmentState, EnvironmentView, StopEnvironmentReply,
    StopEnvironmentRequest,
};
pub use execution::{
    ApproveReply, CancelReply, ExcludedJobList, ExcludedJobView, ExecuteReply, ExecuteRequest,
    ExecutionEvent, ExecutionKind, ExecutionList, ExecutionSummary, ExecutionView, ExpectedQuery, ExportPage,
    ExportQuery, ExportedArtifact, ExportedExecution, ExportedJob, InputValue, InputsReply, InputsRequest,
    ListQuery, MAX_JOBS_PER_REPLY, ParentView, PipelineFileView, PlannedVariable, RetryRequest,
    RunPipelineError, RunPipelineRequest, VariableSource,
};
pub use header::{IDEMPOTENCY_KEY, LOG_COMPLETE, LOG_END, LOG_NEXT, LOG_POLL, LOG_SIZE, TRACEPARENT};
pub use health::{Health, HealthDetails, HealthProblem, HealthStatus, RecordsCheck};
pub use insight::{
    AwaitedApproval, AwaitedJob, BadgeReply, BadgeRequest, CountsView, DayCoverage, DayInsight, FlakyTest,
    InsightQuery, Insights, JobInsight, Overview, PipelineInsight, RecentExecution, RepositoryOverview,
    RevokeBadgeReply,
};
pub use job::{
    Approval, ChildView, GroupHolder, JobExecuteReply, JobExecuteRequest, JobReport, JobReportReply, JobView,
    LogBytes, LogContent, LogMark, LogTimes, MAX_REPORT_MARKS, PULLING_IMAGE, PlaceWait, WorkerInfo,
};
pub use problem::Problem;
pub use registry::{
    RegistryList, RegistryQuery, RegistryView, RemoveRegistryReply, RemoveRegistryRequest, SetRegistryRequest,
};
pub use secret::{
    RekeyReply, RemoveSecretReply, RemoveSecretRequest, SecretList, SecretQuery, SecretView,
    SetSecretRequest, VariableOptions, VariableQuery,
};
pub use source::{SourceUploadReply, SourceUploadRequest};
pub use worker::{
    DrainWorkersReply, DrainWorkersRequest, FleetView, MIN_WORKER_PROTOCOL, RemoveWorkersReply,
    RemoveWorkersRequest, UnstartedMachine, WORKER_PROTOCOL, WORKER_PROTOCOL_HEADER,
    WORKER_REPORT_INTERVAL_MS, WorkerDisk, WorkerJob, WorkerList, WorkerReport, WorkerReportReply,
    WorkerView,
};

pub use crate::execution::{
    assignment::ArtifactEncoding,
    attempt::{AttemptEnd, AttemptView, StepView},
    facts::{ExternalVariables, Trigger},
};
pub use crate::repository::{
    deliveries::{DeliveryList, DeliveryOutcome, DeliveryView, RedeliverRequest, RejectedDeliveries},
    schedules::{RunScheduleRequest, ScheduleList, ScheduleQuery, ScheduleView},
};
