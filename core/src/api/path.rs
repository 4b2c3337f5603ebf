//! Paths of the API; `{...}` is a parameter.

/// POST [`super::ExecuteRequest`]: 201 [`super::ExecuteReply`]; 200 if an equal one is running.
pub const EXECUTE: &str = "/api/pipeline/execute";
/// POST [`super::InputsRequest`]: the inputs of a pipeline file, [`super::InputsReply`].
pub const INPUTS: &str = "/api/pipeline/inputs";
/// GET: [`super::ExecutionView`]. Query `wait_ms` with `If-None-Match` holds the reply until a change or until the time
/// has passed (then 304).
pub const STATUS: &str = "/api/pipeline/status/{executionId}";
/// GET: a stream of server-sent events: `changed` at each change of the execution or of a log of it, `end` when it has ended. Its data
/// is an [`super::ExecutionEvent`]. 501 of the type `tidemill:no-event-stream` where replies are not streamed.
pub const EVENTS: &str = "/api/pipeline/events/{executionId}";
/// GET: a stream of server-sent events: `changed`, at most once in two seconds, when something of any execution may have changed, so
/// that lists are read again. For callers that see all repositories. 501 as for [`EVENTS`].
pub const LIST_EVENTS: &str = "/api/pipeline/changes";
/// GET: [`super::ExecutionList`]; query [`super::ListQuery`].
pub const EXECUTIONS: &str = "/api/pipeline/executions";
/// POST: cancels the execution; [`super::CancelReply`]. Query [`super::ExpectedQuery`].
pub const CANCEL_EXECUTION: &str = "/api/pipeline/cancel/{executionId}";
/// POST [`super::RetryRequest`]: 201 [`super::ExecuteReply`]. Query [`super::ExpectedQuery`].
pub const RETRY: &str = "/api/pipeline/retry/{executionId}";
/// POST [`super::JobExecuteRequest`]: [`super::JobExecuteReply`].
pub const JOB_EXECUTE: &str = "/api/job/execute";
/// POST [`super::JobReport`]: [`super::JobReportReply`]; 409 if the lease is not valid.
pub const JOB_STATUS: &str = "/api/job/status";
/// POST [`crate::execution::discovery::DiscoveryReport`]: [`crate::execution::discovery::DiscoveryReply`]; 409 if the lease is lost.
pub const DISCOVERY_REPORT: &str = "/api/pipeline/discovered";
/// POST [`crate::execution::discovery::ChildReport`]: [`crate::execution::discovery::ChildReply`]; 409 if the lease is lost.
pub const CHILD_REPORT: &str = "/api/job/child";
/// POST: a webhook of a git provider, signed with the repository's secret, without a token;
/// [`crate::repository::registration::WebhookReply`]. Query `repo` names the repository if the body does not.
pub const WEBHOOK: &str = "/api/webhook/{provider}";
/// PUT [`crate::repository::registration::RepositoryRequest`]: [`crate::repository::registration::RepositoryReply`]. GET:
/// [`crate::repository::registration::RepositoryList`]. DELETE, query [`crate::repository::registration::RepositoryQuery`]:
/// [`crate::repository::registration::RemoveRepositoryReply`].
pub const REPOSITORIES: &str = "/api/repository";
/// POST [`crate::repository::registration::RepositoryQuery`]: reloads the schedules of the default branch;
/// [`super::ExecuteReply`].
pub const SYNC: &str = "/api/repository/sync";
/// POST [`crate::repository::registration::RepositoryQuery`]: [`crate::repository::registration::RedeliveryReply`].
pub const REDELIVER: &str = "/api/repository/redeliver";
/// POST: approves a held execution; [`super::ApproveReply`]. Query [`super::ExpectedQuery`].
pub const APPROVE_EXECUTION: &str = "/api/pipeline/approve/{executionId}";
/// POST: approves a manual job; [`super::ApproveReply`]. Query [`super::ExpectedQuery`].
pub const APPROVE_JOB: &str = "/api/job/approve/{jobId}";
/// POST [`super::CacheLookupRequest`]: [`super::CacheLookupReply`]. 409 if the lease is lost.
pub const CACHE_LOOKUP: &str = "/api/cache/lookup";
/// GET: the bytes of a cache, for servers that presign addresses of their own; query `lease`, `object`.
pub const CACHE_CONTENT: &str = "/api/cache/content/{jobId}";
/// GET: names of a repository's secrets, [`super::SecretList`]; query [`super::SecretQuery`]. POST
/// [`super::SetSecretRequest`]: stores one, [`super::SecretView`].
pub const SECRETS: &str = "/api/secret";
/// GET: the variables that an execution of a repository gets, [`super::ExternalVariables`]; query [`super::VariableQuery`].
pub const VARIABLES: &str = "/api/pipeline/variables";
/// POST [`super::RemoveSecretRequest`]: [`super::RemoveSecretReply`].
pub const REMOVE_SECRET: &str = "/api/secret/remove";
/// GET: a repository's logins at registries, [`super::RegistryList`]; query [`super::RegistryQuery`]. POST
/// [`super::SetRegistryRequest`]: stores one, [`super::RegistryView`].
pub const REGISTRIES: &str = "/api/registry";
/// POST [`super::RemoveRegistryRequest`]: [`super::RemoveRegistryReply`].
pub const REMOVE_REGISTRY: &str = "/api/registry/remove";
/// POST: seals secrets with the newest key; [`super::RekeyReply`].
pub const REKEY_SECRETS: &str = "/api/secret/rekey";
/// GET: the environments of a repository, [`super::EnvironmentList`]; query [`super::EnvironmentQuery`].
pub const ENVIRONMENTS: &str = "/api/environment";
/// POST [`super::StopEnvironmentRequest`]: [`super::StopEnvironmentReply`].
pub const STOP_ENVIRONMENT: &str = "/api/environment/stop";
/// GET: the rules of protected environments, [`ProtectionList`]; query [`ProtectionQuery`]. POST [`ProtectEnvironmentRequest`]:
/// [`EnvironmentProtection`].
///
/// [`ProtectionList`]: crate::access::protection::ProtectionList
/// [`ProtectionQuery`]: crate::access::protection::ProtectionQuery
/// [`ProtectEnvironmentRequest`]: crate::access::protection::ProtectEnvironmentRequest
/// [`EnvironmentProtection`]: crate::access::protection::EnvironmentProtection
pub const PROTECTIONS: &str = "/api/environment/protection";
/// POST [`UnprotectEnvironmentRequest`](crate::access::protection::UnprotectEnvironmentRequest):
/// [`UnprotectEnvironmentReply`](crate::access::protection::UnprotectEnvironmentReply).
pub const UNPROTECT_ENVIRONMENT: &str = "/api/environment/unprotect";
/// POST: cancels one job; [`super::CancelReply`]. Query [`super::ExpectedQuery`].
pub const CANCEL_JOB: &str = "/api/job/cancel/{jobId}";
/// GET: raw log bytes from `offset` (query; also `attempt`, `limit`). Header `x-tidemill-log-end: true` if the reply
/// reaches the end of a finished log; `x-tidemill-log-next` is the next offset. `wait_ms` holds the reply until there
/// are bytes. `x-tidemill-log-size` is the number of stored bytes, and `x-tidemill-log-complete: true` says that no more follow.
pub const JOB_LOGS: &str = "/api/job/logs/{jobId}";
/// GET: opens a WebSocket to a shell in the job; query `on_failure` and [`super::ExpectedQuery`]. Messages of text are
/// [`crate::execution::debug::ShellMessage`].
pub const JOB_SHELL: &str = "/api/job/shell/{jobId}";
/// GET: opens the worker's end of that WebSocket. The session is that of [`crate::execution::debug::ShellRequest`].
pub const SHELL_SESSION: &str = "/api/job/shell-session/{sessionId}";
/// GET: times of the lines of a log, [`super::LogTimes`]; query `attempt`.
pub const JOB_LOG_TIMES: &str = "/api/job/log-times/{jobId}";
/// GET: dead letters, [`super::DeadLetterList`]; query [`super::DeadLetterQuery`].
pub const DEAD_LETTERS: &str = "/api/job/dead-letters";
/// POST: dismisses a dead letter; [`super::DismissReply`]. Query [`super::ExpectedQuery`].
pub const DISMISS: &str = "/api/job/dismiss/{jobId}";
/// POST [`super::ArtifactUploadRequest`]: [`super::ArtifactUploadReply`]. 409 if the lease is lost.
pub const ARTIFACT_UPLOAD: &str = "/api/artifact/upload";
/// PUT: the bytes of an artifact, for servers that presign addresses of their own; query `lease`.
pub const ARTIFACT_CONTENT: &str = "/api/artifact/content/{artifactId}";
/// GET: artifacts of an execution, [`super::ArtifactList`].
pub const ARTIFACTS: &str = "/api/artifact/list/{executionId}";
/// GET: the stored bytes of one artifact (a tar, see [`super::ArtifactView::encoding`]); may redirect,
/// or with the query `redirect=false` reply with [`super::ArtifactAddress`].
pub const ARTIFACT_DOWNLOAD: &str = "/api/artifact/download/{artifactId}";
/// GET: the bytes of one file of an artifact; query `path`, and `download=true` to save it. The types of a report are shown in a browser,
/// in a sandbox; others are always saved.
pub const ARTIFACT_FILE: &str = "/api/artifact/file/{artifactId}";
/// POST: an address of the files of an artifact that needs no token for some minutes, [`super::ArtifactLink`].
pub const ARTIFACT_LINK: &str = "/api/artifact/link/{artifactId}";
/// GET: all artifacts of an execution as one tar, with a directory for each. 501 of the type `tidemill:no-archive` where replies are
/// limited: download each artifact.
pub const ARTIFACT_ARCHIVE: &str = "/api/artifact/archive/{executionId}";
/// POST [`super::SourceUploadRequest`]: [`super::SourceUploadReply`].
pub const SOURCE_UPLOAD: &str = "/api/source/upload";
/// PUT: the bytes of an upload, for servers that presign addresses of their own.
pub const SOURCE_CONTENT: &str = "/api/source/content/{uploadId}";
/// GET: the bytes of an upload; may redirect.
pub const SOURCE_DOWNLOAD: &str = "/api/source/download/{uploadId}";
/// GET: the `tidemill` program with this SHA-256 (hex), for workers that are being installed; may redirect.
pub const WORKER_PROGRAM: &str = "/api/worker/program/{sha256}";
/// POST [`crate::execution::test_report::TestsRequest`]: [`crate::execution::test_report::TestsReply`]. 409 if the lease is lost.
pub const JOB_TESTS: &str = "/api/job/tests";
/// GET: test results of an execution, [`crate::execution::test_report::ExecutionTests`].
pub const TESTS: &str = "/api/pipeline/tests/{executionId}";
/// POST [`crate::summary::view::SummaryRequest`]: [`crate::summary::view::SummaryReply`]. 409 if the lease is lost.
pub const JOB_SUMMARY: &str = "/api/job/summary-report";
/// GET: the summary of a job in Markdown; query `attempt`. 404 if the attempt has none.
pub const SUMMARY_TEXT: &str = "/api/job/summary/{jobId}";
/// GET: the jobs of an execution that have a summary, and their annotations, [`crate::summary::view::SummaryList`].
pub const SUMMARIES: &str = "/api/pipeline/summary/{executionId}";
/// GET: usage of an execution, [`crate::execution::cost::Usage`].
pub const USAGE: &str = "/api/pipeline/usage/{executionId}";
/// POST [`crate::access::TokenRequest`]: 201 [`crate::access::TokenReply`], the only reply that contains the token.
/// GET: [`crate::access::TokenList`].
pub const TOKENS: &str = "/api/token";
/// DELETE: revokes the token; [`crate::access::RevokeReply`].
pub const TOKEN: &str = "/api/token/{tokenId}";
/// GET: who the caller is and how to sign in, [`crate::access::sessions::SessionInfo`], without a token. DELETE: signs out,
/// [`crate::access::sessions::EndSessionReply`].
pub const SESSION: &str = "/api/session";
/// GET: redirects a browser to a provider; query `provider`, `return_to`.
pub const SIGN_IN: &str = "/api/session/login";
/// GET: where the provider sends the browser back to.
pub const SIGN_IN_REPLY: &str = "/api/session/callback";
/// GET: sessions, [`crate::access::sessions::SessionList`]; query [`crate::access::sessions::SessionQuery`].
pub const SESSIONS: &str = "/api/session/list";
/// DELETE: ends one of them, [`crate::access::sessions::EndSessionReply`]; query `person` for one of another person.
pub const OWN_SESSION: &str = "/api/session/end/{sessionId}";
/// POST [`crate::access::sessions::CodeRequest`]: 201 [`crate::access::sessions::CodeReply`].
pub const SESSION_CODE: &str = "/api/session/code";
/// POST [`crate::access::sessions::CodeExchange`], without a token: 201 [`crate::access::TokenReply`].
pub const SESSION_TOKEN: &str = "/api/session/token";
/// GET: the rules that give roles, [`crate::access::roles::RoleList`]. POST [`crate::access::roles::RoleRequest`]: adds or changes
/// one, [`crate::access::roles::RoleRule`].
pub const ROLES: &str = "/api/role";
/// POST [`crate::access::roles::RoleTarget`]: [`crate::access::roles::RemoveRoleReply`].
pub const REMOVE_ROLE: &str = "/api/role/remove";
/// GET: the audit log, [`crate::access::AuditList`]; query [`crate::access::AuditQuery`].
pub const AUDIT: &str = "/api/audit";
/// GET: a page of executions, jobs and artifacts for other programs, [`super::ExportPage`]; query [`super::ExportQuery`].
pub const EXPORT: &str = "/api/export";
/// GET: [`super::Overview`]: the repositories with their latest executions, and what runs and waits.
pub const OVERVIEW: &str = "/api/overview";
/// GET: [`super::Insights`]; query [`super::InsightQuery`].
pub const INSIGHTS: &str = "/api/insights";
/// POST [`super::BadgeRequest`]: [`super::BadgeReply`].
pub const BADGES: &str = "/api/badge";
/// POST [`super::BadgeRequest`]: [`super::RevokeBadgeReply`].
pub const REVOKE_BADGE: &str = "/api/badge/revoke";
/// GET: an SVG image, without a token; the key may be followed by `.svg`. Query `pipeline`.
pub const BADGE: &str = "/api/badge/{badgeKey}";
/// GET: [`super::WorkerList`].
pub const WORKERS: &str = "/api/workers";
/// POST [`super::WorkerReport`]: [`super::WorkerReportReply`].
pub const WORKER_REPORT: &str = "/api/worker/report";
/// POST [`super::DrainWorkersRequest`]: [`super::DrainWorkersReply`].
pub const WORKER_DRAIN: &str = "/api/worker/drain";
/// POST [`super::RemoveWorkersRequest`]: [`super::RemoveWorkersReply`].
pub const WORKER_REMOVE: &str = "/api/worker/remove";
/// GET, query [`RetentionQuery`](crate::retention::api::RetentionQuery), and POST
/// [`RetentionRequest`](crate::retention::api::RetentionRequest): [`RetentionView`](crate::retention::api::RetentionView).
pub const RETENTION: &str = "/api/retention";
/// POST [`GcRequest`](crate::retention::api::GcRequest): [`GcReport`](crate::retention::api::GcReport).
pub const GC: &str = "/api/retention/run";
/// GET: [`DiskUsage`](crate::retention::api::DiskUsage).
pub const DISK_USAGE: &str = "/api/retention/usage";
/// POST [`PinRequest`](crate::retention::api::PinRequest): [`PinReply`](crate::retention::api::PinReply). Query
/// [`super::ExpectedQuery`].
pub const PIN: &str = "/api/pipeline/pin/{executionId}";
/// GET: [`super::Health`], without a token.
pub const HEALTH: &str = "/api/health";
/// GET: the OpenAPI document, without a token.
pub const OPENAPI: &str = "/api/openapi.json";
/// GET: how others verify the ID tokens of jobs, [`crate::access::oidc::OpenIdConfiguration`], without a token. It is below the issuer
/// ([`crate::access::oidc::ISSUER_PATH`]), as OpenID Connect Discovery demands.
pub const OIDC_CONFIGURATION: &str = "/api/oidc/.well-known/openid-configuration";
/// GET: the keys that verify them, [`crate::access::oidc::PublicKeySet`], without a token.
pub const OIDC_KEYS: &str = "/api/oidc/jwks";
/// GET: the pipeline file of an execution as it was planned, [`super::PipelineFileView`].
pub const PIPELINE_FILE: &str = "/api/pipeline/file/{executionId}";
/// GET: the jobs that take no part in an execution, [`super::ExcludedJobList`].
pub const EXCLUDED_JOBS: &str = "/api/pipeline/excluded/{executionId}";
/// GET: the last deliveries of a repository's webhook, [`super::DeliveryList`]; query
/// [`crate::repository::registration::RepositoryQuery`].
pub const DELIVERIES: &str = "/api/repository/deliveries";
/// POST [`super::RedeliverRequest`]: processes a kept delivery again; [`crate::repository::registration::WebhookReply`].
pub const REDELIVER_DELIVERY: &str = "/api/repository/deliveries/redeliver";
/// GET: schedules, [`super::ScheduleList`]; query [`super::ScheduleQuery`].
pub const SCHEDULES: &str = "/api/schedule";
/// POST [`super::RunScheduleRequest`]: starts a schedule now; 201 [`super::ExecuteReply`].
pub const RUN_SCHEDULE: &str = "/api/schedule/run";
/// POST [`super::RunPipelineRequest`]: starts a pipeline at the head of a branch; 201 [`super::ExecuteReply`] of the discovery, 200
/// for a repetition with the same `Idempotency-Key`.
pub const RUN_PIPELINE: &str = "/api/repository/run";
