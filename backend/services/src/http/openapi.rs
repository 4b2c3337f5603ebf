//! The OpenAPI document, generated from the types and paths of the router.

mod descriptions;
mod document;
mod errors;
mod retention;
mod sessions;

use document::{Document, Kind, QueryParameters};
use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};
use tidemill_core::access::oidc::{OpenIdConfiguration, PublicKeySet};
use tidemill_core::access::protection::{
    EnvironmentProtection, ProtectEnvironmentRequest, ProtectionList, UnprotectEnvironmentReply,
    UnprotectEnvironmentRequest,
};
use tidemill_core::access::{AuditList, RevokeReply, TokenList, TokenReply, TokenRequest};
use tidemill_core::api::{
    ApproveReply, ArtifactAddress, ArtifactLink, ArtifactList, ArtifactUploadReply, ArtifactUploadRequest,
    BadgeReply, BadgeRequest, CacheLookupReply, CacheLookupRequest, CancelReply, DeadLetterList,
    DeliveryList, DismissReply, DrainWorkersReply, DrainWorkersRequest, EnvironmentList, ExcludedJobList,
    ExecuteReply, ExecuteRequest, ExecutionList, ExecutionView, ExportPage, ExternalVariables, Health,
    InputsReply, InputsRequest, Insights, JobExecuteReply, JobExecuteRequest, JobReport, JobReportReply,
    LogTimes, Overview, PipelineFileView, Problem, RedeliverRequest, RegistryList, RegistryView, RekeyReply,
    RemoveRegistryReply, RemoveRegistryRequest, RemoveSecretReply, RemoveSecretRequest, RemoveWorkersReply,
    RemoveWorkersRequest, RetryRequest, RevokeBadgeReply, RunPipelineRequest, RunScheduleRequest,
    ScheduleList, SecretList, SecretView, SetRegistryRequest, SetSecretRequest, SourceUploadReply,
    SourceUploadRequest, StopEnvironmentReply, StopEnvironmentRequest, WorkerList, WorkerReport,
    WorkerReportReply, path,
};
use tidemill_core::execution::discovery::{ChildReply, ChildReport, DiscoveryReply, DiscoveryReport};
use tidemill_core::execution::{
    cost::Usage,
    test_report::{ExecutionTests, TestsReply, TestsRequest},
};
use tidemill_core::repository::registration::{
    RedeliveryReply, RemoveRepositoryReply, RepositoryList, RepositoryQuery, RepositoryReply,
    RepositoryRequest, WebhookReply,
};
use tidemill_core::summary::view::{SummaryList, SummaryReply, SummaryRequest};

const ANY_NUMBER: Kind = Kind::Number(0, u64::MAX);
const PAGE_SIZE: Kind = Kind::Number(1, 200);
const STATUS_PARAMS: QueryParameters = &[
    ("wait_ms", ANY_NUMBER, "Hold the reply until something changes, for at most this time"),
    ("limit", Kind::Number(1, 1_000), "Maximum number of jobs; default 1,000"),
    ("cursor", Kind::Text, "`next_cursor` of the previous page of jobs"),
];
const LIST_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Repository, however its address is written"),
    ("pipeline", Kind::Text, "Exact pipeline name"),
    ("branch", Kind::Text, "Exact branch"),
    ("status", Kind::Status, "Status"),
    ("run_number", ANY_NUMBER, "Run number"),
    ("limit", PAGE_SIZE, "Page size; default 50"),
    ("cursor", Kind::Id, "`next_cursor` of the previous page"),
    ("event", Kind::Event, "What started it"),
    ("author", Kind::Text, "Part of the commit's author or of the user who requested it, in any case"),
    ("commit", Kind::Text, "Beginning of the commit"),
    ("text", Kind::Text, "Part of the commit's message, in any case"),
    ("kind", Kind::Task, "What it does; default anything"),
    ("failed_discoveries", Kind::Flag, "Whether to list failed discoveries beside those of `kind`"),
];
const INSIGHT_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Repository"),
    ("pipeline", Kind::Text, "Exact pipeline name; default all"),
    ("days", Kind::Number(1, 90), "Number of days up to today (UTC); default 30"),
];
const BADGE_PARAMS: QueryParameters =
    &[("pipeline", Kind::Text, "Exact pipeline name; default all pipelines of the default branch")];
const EXPECTED_REPO_PARAMS: QueryParameters =
    &[("repo", Kind::Text, "The expected repository; if it is another one, the reply is 409")];
const SHELL_PARAMS: QueryParameters = &[
    ("on_failure", Kind::Flag, "Whether to hold the job when it fails; default as soon as it runs"),
    ("repo", Kind::Text, "The expected repository; if it is another one, the reply is 409"),
];
const DEAD_LETTER_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Only those of this repository, however its address is written"),
    ("limit", PAGE_SIZE, "Page size; default 50"),
    ("cursor", Kind::Text, "`next_cursor` of the previous page"),
];
const CACHE_PARAMS: QueryParameters = &[
    ("lease", Kind::Id, "The lease of the job"),
    ("object", Kind::Id, "Object of the cache, from the lookup"),
    ("key", Kind::Text, "Key of the cache, as in the URL of the lookup"),
];
const REPO_HINT_PARAMS: QueryParameters =
    &[("repo", Kind::Text, "The repository, if the body does not name it")];
const VARIABLE_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Repository"),
    ("protected", Kind::Flag, "Whether the execution is of a protected branch; default false"),
];
const ENVIRONMENT_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Repository"),
    ("name", Kind::Text, "Exact name; the reply then has its deployments"),
    ("limit", PAGE_SIZE, "Page size; default 50"),
    ("cursor", Kind::Text, "`next_cursor` of the previous page"),
];
const REPO_PARAMS: QueryParameters = &[("repo", Kind::Text, "Repository")];
const SUMMARY_PARAMS: QueryParameters =
    &[("attempt", Kind::Number(0, u32::MAX as u64), "Attempt; default the current one")];
const LOG_PARAMS: QueryParameters = &[
    ("offset", ANY_NUMBER, "First byte; default 0"),
    ("attempt", Kind::Number(0, u32::MAX as u64), "Attempt; default the current one"),
    ("limit", ANY_NUMBER, "Maximum size of the reply in bytes; default 1 MiB"),
    ("wait_ms", ANY_NUMBER, "Hold the reply until there are bytes, for at most this time"),
];
const LOG_TIME_PARAMS: QueryParameters =
    &[("attempt", Kind::Number(0, u32::MAX as u64), "Attempt; default the current one")];
const EVENT_PARAMS: QueryParameters =
    &[("wait_ms", ANY_NUMBER, "End the stream after this time; default and maximum an hour")];
const FILE_PARAMS: QueryParameters = &[
    ("path", Kind::Text, "Path of the file in the artifact"),
    ("download", Kind::Flag, "Whether a browser saves the file instead of showing it; default false"),
];
const DOWNLOAD_PARAMS: QueryParameters = &[
    ("job", Kind::Id, "For workers: the job that needs the artifact"),
    ("lease", Kind::Id, "For workers: the lease of that job"),
    ("redirect", Kind::Flag, "False: replies with the address of bytes that are elsewhere"),
];
const AUDIT_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Repository, however its address is written"),
    ("who", Kind::Text, "Name or id of the token"),
    ("action", Kind::Text, "Exact action"),
    ("limit", PAGE_SIZE, "Page size; default 50"),
    ("cursor", Kind::Text, "`next_cursor` of the previous page"),
];
const EXPORT_PARAMS: QueryParameters = &[
    ("repo", Kind::Text, "Repository, however its address is written; absent: all"),
    ("since", Kind::Text, "RFC 3339 time: only executions created then or later"),
    ("until", Kind::Text, "RFC 3339 time: only executions created before it"),
    ("limit", Kind::Number(1, 2_000), "Number of rows from which on a page ends; default 1,000"),
    ("cursor", Kind::Text, "`next_cursor` of the previous page"),
];
const UPLOAD_PARAMS: QueryParameters = &[
    ("job", Kind::Id, "The job"),
    ("lease", Kind::Id, "Its lease"),
    ("cache", Kind::Text, "For a cache: its key, as in the upload URL"),
];

/// Links from a new execution to operations on it.
fn links() -> Value {
    let of_it = ["pipeline-status", "pipeline-usage", "pipeline-cancel", "pipeline-retry", "artifact-list"]
        .map(|id| {
            let parameters = json!({ "executionId": "$response.body#/execution_id" });
            (id.to_owned(), json!({ "operationId": id, "parameters": parameters }))
        });
    Value::Object(Map::from_iter(of_it))
}

/// Adds the bounds of the integer type to a schema.
fn add_integer_bounds(schema: &mut Schema) {
    let range = match schema.get("format").and_then(Value::as_str) {
        Some("uint16") => (json!(0), json!(u16::MAX)),
        Some("uint32") => (json!(0), json!(u32::MAX)),
        Some("uint64" | "uint") => (json!(0), json!(u64::MAX)),
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
        _ => return,
    };
    schema.insert("minimum".into(), range.0);
    schema.insert("maximum".into(), range.1);
}

/// Returns the OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let settings = settings.with_transform(RecursiveTransform(add_integer_bounds));
    let mut of = Document { schemas: settings.into_generator(), paths: Map::new() };
    let bytes = || json!({ "content": { "application/octet-stream": {} } });

    let (mut body, mut reply) = (of.reference::<ExecuteRequest>(), of.reference::<ExecuteReply>());
    body["content"]["application/json"]["example"] = json!({
        "pipeline": "name: hello\njobs:\n  greet: { image: \"busybox:1.37\", script: [echo hello] }\n",
        "repo": "https://example.com/hello.git",
        "source": { "kind": "none" },
    });
    reply["links"] = links();
    of.add(path::EXECUTE, "post", "Start an execution", &[], Some(body), reply);
    let (body, reply) = (of.reference::<InputsRequest>(), of.reference::<InputsReply>());
    of.add(path::INPUTS, "post", "The inputs of a pipeline file", &[], Some(body), reply);
    let reply = of.reference::<ExecutionView>();
    of.add(path::STATUS, "get", "An execution with its jobs", STATUS_PARAMS, None, reply);
    let events = json!({ "content": { "text/event-stream": { "schema": { "type": "string" } } } });
    of.add(path::EVENTS, "get", "Server-sent events of an execution", EVENT_PARAMS, None, events.clone());
    of.add(path::LIST_EVENTS, "get", "Server-sent events of all executions", EVENT_PARAMS, None, events);
    let reply = of.reference::<ExecutionList>();
    of.add(path::EXECUTIONS, "get", "Executions, newest first", LIST_PARAMS, None, reply);
    of.add(path::WORKER_PROGRAM, "get", "The program that workers run", &[], None, bytes());
    let reply = of.reference::<Usage>();
    of.add(path::USAGE, "get", "Cloud resources that an execution used", &[], None, reply);
    let reply = of.reference::<ExecutionTests>();
    of.add(path::TESTS, "get", "Test results of an execution", &[], None, reply);
    let reply = of.reference::<SummaryList>();
    of.add(path::SUMMARIES, "get", "Summaries and annotations of an execution", &[], None, reply);
    let reply = of.reference::<CancelReply>();
    of.add(path::CANCEL_EXECUTION, "post", "Cancel an execution", EXPECTED_REPO_PARAMS, None, reply);
    let (body, mut reply) = (of.reference::<RetryRequest>(), of.reference::<ExecuteReply>());
    reply["links"] = links();
    of.add(path::RETRY, "post", "Retry an ended execution", EXPECTED_REPO_PARAMS, Some(body), reply);
    let (body, reply) = (of.reference::<JobExecuteRequest>(), of.reference::<JobExecuteReply>());
    of.add(path::JOB_EXECUTE, "post", "Claim a job", &[], Some(body), reply);
    let (body, reply) = (of.reference::<JobReport>(), of.reference::<JobReportReply>());
    of.add(path::JOB_STATUS, "post", "Report on an attempt", &[], Some(body), reply);
    let (body, reply) = (of.reference::<ChildReport>(), of.reference::<ChildReply>());
    of.add(path::CHILD_REPORT, "post", "Start the pipeline of a job", &[], Some(body), reply);
    let (body, reply) = (of.reference::<TestsRequest>(), of.reference::<TestsReply>());
    of.add(path::JOB_TESTS, "post", "Report the test results of an attempt", &[], Some(body), reply);
    let (body, reply) = (of.reference::<SummaryRequest>(), of.reference::<SummaryReply>());
    of.add(
        path::JOB_SUMMARY,
        "post",
        "Report the summary and annotations of an attempt",
        &[],
        Some(body),
        reply,
    );
    let markdown = json!({ "content": { "text/markdown": { "schema": { "type": "string" } } } });
    of.add(path::SUMMARY_TEXT, "get", "The summary of a job in Markdown", SUMMARY_PARAMS, None, markdown);
    let reply = of.reference::<CancelReply>();
    of.add(path::CANCEL_JOB, "post", "Cancel one job", EXPECTED_REPO_PARAMS, None, reply);
    let (body, reply) = (of.reference::<CacheLookupRequest>(), of.reference::<CacheLookupReply>());
    of.add(path::CACHE_LOOKUP, "post", "Look up a cache", &[], Some(body), reply);
    of.add(path::CACHE_CONTENT, "get", "The bytes of a cache", CACHE_PARAMS, None, bytes());
    let reply = of.reference::<ExternalVariables>();
    of.add(path::VARIABLES, "get", "The variables that an execution gets", VARIABLE_PARAMS, None, reply);
    let reply = of.reference::<EnvironmentList>();
    of.add(path::ENVIRONMENTS, "get", "A repository's environments", ENVIRONMENT_PARAMS, None, reply);
    let (body, reply) = (of.reference::<StopEnvironmentRequest>(), of.reference::<StopEnvironmentReply>());
    of.add(path::STOP_ENVIRONMENT, "post", "Stop an environment", &[], Some(body), reply);
    let reply = of.reference::<ProtectionList>();
    of.add(path::PROTECTIONS, "get", "The rules of protected environments", REPO_PARAMS, None, reply);
    let (body, reply) =
        (of.reference::<ProtectEnvironmentRequest>(), of.reference::<EnvironmentProtection>());
    of.add(path::PROTECTIONS, "post", "Protect an environment", &[], Some(body), reply);
    let (body, reply) =
        (of.reference::<UnprotectEnvironmentRequest>(), of.reference::<UnprotectEnvironmentReply>());
    of.add(path::UNPROTECT_ENVIRONMENT, "post", "Stop protecting an environment", &[], Some(body), reply);
    let reply = of.reference::<SecretList>();
    of.add(
        path::SECRETS,
        "get",
        "A repository's secrets, without values, and variables",
        REPO_PARAMS,
        None,
        reply,
    );
    let (body, reply) = (of.reference::<SetSecretRequest>(), of.reference::<SecretView>());
    of.add(path::SECRETS, "post", "Set a secret or a variable", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RemoveSecretRequest>(), of.reference::<RemoveSecretReply>());
    of.add(path::REMOVE_SECRET, "post", "Remove a secret or a variable", &[], Some(body), reply);
    let reply = of.reference::<RegistryList>();
    of.add(path::REGISTRIES, "get", "A repository's logins at registries", REPO_PARAMS, None, reply);
    let (body, reply) = (of.reference::<SetRegistryRequest>(), of.reference::<RegistryView>());
    of.add(path::REGISTRIES, "post", "Set a login at a registry", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RemoveRegistryRequest>(), of.reference::<RemoveRegistryReply>());
    of.add(path::REMOVE_REGISTRY, "post", "Remove a login at a registry", &[], Some(body), reply);
    let reply = of.reference::<RekeyReply>();
    of.add(path::REKEY_SECRETS, "post", "Seal secrets under the newest key", &[], None, reply);
    let reply = of.reference::<ApproveReply>();
    of.add(
        path::APPROVE_EXECUTION,
        "post",
        "Approve an execution",
        EXPECTED_REPO_PARAMS,
        None,
        reply.clone(),
    );
    of.add(path::APPROVE_JOB, "post", "Approve a job", EXPECTED_REPO_PARAMS, None, reply);
    let reply = of.reference::<DeadLetterList>();
    of.add(path::DEAD_LETTERS, "get", "Dead letters", DEAD_LETTER_PARAMS, None, reply);
    let reply = of.reference::<DismissReply>();
    of.add(path::DISMISS, "post", "Dismiss a dead letter", EXPECTED_REPO_PARAMS, None, reply);
    of.add(path::JOB_LOGS, "get", "Log bytes from an offset", LOG_PARAMS, None, bytes());
    of.add(path::JOB_SHELL, "get", "Open a shell in a job by WebSocket", SHELL_PARAMS, None, bytes());
    of.add(path::SHELL_SESSION, "get", "Open the worker's end of a shell by WebSocket", &[], None, bytes());
    let reply = of.reference::<LogTimes>();
    of.add(path::JOB_LOG_TIMES, "get", "Times of the lines of a log", LOG_TIME_PARAMS, None, reply);
    let (body, reply) = (of.reference::<ArtifactUploadRequest>(), of.reference::<ArtifactUploadReply>());
    of.add(path::ARTIFACT_UPLOAD, "post", "Announce or complete an artifact", &[], Some(body), reply);
    of.add(
        path::ARTIFACT_CONTENT,
        "put",
        "The bytes of an artifact",
        UPLOAD_PARAMS,
        Some(bytes()),
        json!({}),
    );
    let reply = of.reference::<ArtifactList>();
    of.add(path::ARTIFACTS, "get", "Artifacts of an execution", &[], None, reply);
    let mut reply = of.reference::<ArtifactAddress>();
    reply["content"]["application/octet-stream"] = json!({});
    of.add(path::ARTIFACT_DOWNLOAD, "get", "The stored bytes of an artifact", DOWNLOAD_PARAMS, None, reply);
    of.add(path::ARTIFACT_FILE, "get", "One file of an artifact", FILE_PARAMS, None, bytes());
    let reply = of.reference::<ArtifactLink>();
    of.add(path::ARTIFACT_LINK, "post", "A link to the files of an artifact", &[], None, reply);
    let tar = json!({ "content": { "application/x-tar": {} } });
    of.add(path::ARTIFACT_ARCHIVE, "get", "All artifacts of an execution in a tar", &[], None, tar);
    let (body, reply) = (of.reference::<SourceUploadRequest>(), of.reference::<SourceUploadReply>());
    of.add(
        path::SOURCE_UPLOAD,
        "post",
        "Announce sources, or check whether they exist",
        &[],
        Some(body),
        reply,
    );
    of.add(path::SOURCE_CONTENT, "put", "The bytes of uploaded sources", &[], Some(bytes()), json!({}));
    of.add(path::SOURCE_DOWNLOAD, "get", "The stored bytes of uploaded sources", &[], None, bytes());
    let body = json!({ "content": { "application/json": { "schema": { "type": "object" } } } });
    let reply = of.reference::<WebhookReply>();
    of.add(
        path::WEBHOOK,
        "post",
        "Receive a signed webhook of a git provider",
        REPO_HINT_PARAMS,
        Some(body),
        reply,
    );
    let (body, reply) = (of.reference::<DiscoveryReport>(), of.reference::<DiscoveryReply>());
    of.add(path::DISCOVERY_REPORT, "post", "Report the pipeline files of a commit", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RepositoryRequest>(), of.reference::<RepositoryReply>());
    of.add(path::REPOSITORIES, "put", "Register or change a repository", &[], Some(body), reply);
    let reply = of.reference::<RepositoryList>();
    of.add(path::REPOSITORIES, "get", "Registered repositories", &[], None, reply);
    let reply = of.reference::<RemoveRepositoryReply>();
    of.add(path::REPOSITORIES, "delete", "Remove a repository", REPO_PARAMS, None, reply);
    let (body, reply) = (of.reference::<RepositoryQuery>(), of.reference::<ExecuteReply>());
    of.add(path::SYNC, "post", "Read a repository's schedules again", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RepositoryQuery>(), of.reference::<RedeliveryReply>());
    of.add(path::REDELIVER, "post", "Allow webhooks to be delivered again", &[], Some(body), reply);
    let (body, reply) = (of.reference::<TokenRequest>(), of.reference::<TokenReply>());
    of.add(path::TOKENS, "post", "Create a token", &[], Some(body), reply);
    let reply = of.reference::<TokenList>();
    of.add(path::TOKENS, "get", "Tokens", &[], None, reply);
    let reply = of.reference::<RevokeReply>();
    of.add(path::TOKEN, "delete", "Revoke a token", &[], None, reply);
    let reply = of.reference::<AuditList>();
    of.add(path::AUDIT, "get", "Audit log, newest first", AUDIT_PARAMS, None, reply);
    let reply = of.reference::<ExportPage>();
    of.add(path::EXPORT, "get", "Executions, jobs and artifacts as rows", EXPORT_PARAMS, None, reply);
    let reply = of.reference::<Overview>();
    of.add(path::OVERVIEW, "get", "Repositories, and what runs and waits", &[], None, reply);
    let reply = of.reference::<Insights>();
    of.add(path::INSIGHTS, "get", "Statistics of the pipelines of a repository", INSIGHT_PARAMS, None, reply);
    let (body, reply) = (of.reference::<BadgeRequest>(), of.reference::<BadgeReply>());
    of.add(path::BADGES, "post", "The key of a repository's badges", &[], Some(body), reply);
    let (body, reply) = (of.reference::<BadgeRequest>(), of.reference::<RevokeBadgeReply>());
    of.add(path::REVOKE_BADGE, "post", "Revoke the key of a repository's badges", &[], Some(body), reply);
    let image = json!({ "content": { "image/svg+xml": { "schema": { "type": "string" } } } });
    of.add(path::BADGE, "get", "Image of the state of a default branch", BADGE_PARAMS, None, image);
    let reply = of.reference::<WorkerList>();
    of.add(path::WORKERS, "get", "Workers", &[], None, reply);
    let (body, reply) = (of.reference::<WorkerReport>(), of.reference::<WorkerReportReply>());
    of.add(path::WORKER_REPORT, "post", "Report that a worker is there", &[], Some(body), reply);
    let (body, reply) = (of.reference::<DrainWorkersRequest>(), of.reference::<DrainWorkersReply>());
    of.add(path::WORKER_DRAIN, "post", "Drain workers", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RemoveWorkersRequest>(), of.reference::<RemoveWorkersReply>());
    of.add(path::WORKER_REMOVE, "post", "Remove workers from the list", &[], Some(body), reply);
    retention::add(&mut of);
    let reply = of.reference::<Health>();
    of.add(path::HEALTH, "get", "Health of the server", &[], None, reply);
    let reply = json!({ "content": { "application/json": { "schema": { "type": "object" } } } });
    of.add(path::OPENAPI, "get", "This document", &[], None, reply);
    let reply = of.reference::<OpenIdConfiguration>();
    of.add(path::OIDC_CONFIGURATION, "get", "How others verify ID tokens of jobs", &[], None, reply);
    let reply = of.reference::<PublicKeySet>();
    of.add(path::OIDC_KEYS, "get", "The keys that verify ID tokens of jobs", &[], None, reply);
    sessions::add(&mut of);

    let reply = of.reference::<PipelineFileView>();
    of.add(path::PIPELINE_FILE, "get", "The pipeline file of an execution", &[], None, reply);
    let reply = of.reference::<ExcludedJobList>();
    of.add(path::EXCLUDED_JOBS, "get", "The jobs that take no part in an execution", &[], None, reply);
    let reply = of.reference::<DeliveryList>();
    of.add(path::DELIVERIES, "get", "The last deliveries of a webhook", REPO_PARAMS, None, reply);
    let (body, reply) = (of.reference::<RedeliverRequest>(), of.reference::<WebhookReply>());
    of.add(path::REDELIVER_DELIVERY, "post", "Process a delivery again", &[], Some(body), reply);
    let reply = of.reference::<ScheduleList>();
    of.add(path::SCHEDULES, "get", "Schedules", REPO_PARAMS, None, reply);
    let (body, reply) = (of.reference::<RunScheduleRequest>(), of.reference::<ExecuteReply>());
    of.add(path::RUN_SCHEDULE, "post", "Start a schedule now", &[], Some(body), reply);
    let (body, reply) = (of.reference::<RunPipelineRequest>(), of.reference::<ExecuteReply>());
    of.add(path::RUN_PIPELINE, "post", "Start a pipeline of a branch", &[], Some(body), reply);

    let problem = json!(of.schemas.subschema_for::<Problem>());
    let schemas = of.schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": descriptions::API,
        },
        "servers": [{ "url": "/", "description": "The server that this document comes from" }],
        "security": [{ "token": [] }],
        "paths": of.paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": errors::components(&problem),
            "schemas": schemas,
        },
    })
}
