//! The OpenAPI document, made from the same types and paths that the router serves.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use tidemill_core::api::{
    ArtifactList, ArtifactUploadReply, ArtifactUploadRequest, CancelReply, DeadLetterList, DismissReply,
    ExecuteReply, ExecuteRequest, ExecutionList, ExecutionView, Health, JobExecuteReply, JobExecuteRequest,
    JobReport, JobReportReply, Problem, RetryRequest, SourceUploadReply, SourceUploadRequest, path,
};
use tidemill_core::cost::Usage;

struct Document {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

/// Query parameters: name, JSON type, meaning.
type Query = &'static [(&'static str, &'static str, &'static str)];

const WAIT: Query = &[("wait_ms", "integer", "Hold the reply until something changed, at most so long")];
const LIST: Query = &[
    ("repo", "string", "Exact repository"),
    ("pipeline", "string", "Exact pipeline name"),
    ("branch", "string", "Exact branch"),
    ("status", "string", "Status"),
    ("run_number", "integer", "Run number"),
    ("limit", "integer", "Page size, 1 to 200; default 50"),
    ("cursor", "string", "`next_cursor` of the page before"),
];
const PAGE: Query = &[
    ("limit", "integer", "Page size, 1 to 200; default 50"),
    ("cursor", "string", "`next_cursor` of the page before"),
];
const LOG: Query = &[
    ("offset", "integer", "First byte; default 0"),
    ("attempt", "integer", "Attempt; default the current one"),
    ("limit", "integer", "The most bytes of the reply; default 1 MiB"),
    ("wait_ms", "integer", "Hold the reply until there are bytes, at most so long"),
];
const PUT: Query = &[("job", "string", "The job"), ("lease", "string", "Its lease")];

impl Document {
    fn reference<T: JsonSchema>(&mut self) -> Value {
        json!({ "content": { "application/json": { "schema": self.schemas.subschema_for::<T>() } } })
    }

    fn add(
        &mut self,
        path: &str,
        method: &str,
        summary: &str,
        query: Query,
        body: Option<Value>,
        reply: Value,
    ) {
        let problem = self.schemas.subschema_for::<Problem>();
        let mut reply = reply;
        reply["description"] = json!("Done");
        let in_path = path.split(['{', '}']).skip(1).step_by(2).map(|name| {
            let schema = match name {
                "uploadId" | "sha256" => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
                _ => json!({ "type": "string", "format": "uuid" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
        let in_query = query.iter().map(|(name, kind, meaning)| {
            json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": kind } })
        });
        let mut operation = json!({
            "summary": summary,
            "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
            "responses": {
                "2XX": reply,
                "default": {
                    "description": "Refused",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        });
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        if path == path::HEALTH || path == path::OPENAPI {
            operation["security"] = json!([]);
        }
        self.paths.insert(path.to_owned(), json!({ method: operation }));
    }
}

/// The whole document (OpenAPI 3.1).
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut of = Document { schemas: settings.into_generator(), paths: Map::new() };
    let bytes = || json!({ "content": { "application/octet-stream": {} } });

    let (body, reply) = (of.reference::<ExecuteRequest>(), of.reference::<ExecuteReply>());
    of.add(path::EXECUTE, "post", "Start an execution", &[], Some(body), reply);
    let reply = of.reference::<ExecutionView>();
    of.add(path::STATUS, "get", "An execution with its jobs", WAIT, None, reply);
    let reply = of.reference::<ExecutionList>();
    of.add(path::EXECUTIONS, "get", "Executions, newest first", LIST, None, reply);
    of.add(path::WORKER_PROGRAM, "get", "The program that workers run", &[], None, bytes());
    let reply = of.reference::<Usage>();
    of.add(path::USAGE, "get", "What an execution used of a cloud", &[], None, reply);
    let reply = of.reference::<CancelReply>();
    of.add(path::CANCEL_EXECUTION, "post", "Cancel an execution", &[], None, reply);
    let (body, reply) = (of.reference::<RetryRequest>(), of.reference::<ExecuteReply>());
    of.add(path::RETRY, "post", "Retry an execution that is over", &[], Some(body), reply);
    let (body, reply) = (of.reference::<JobExecuteRequest>(), of.reference::<JobExecuteReply>());
    of.add(path::JOB_EXECUTE, "post", "Take an attempt at a job", &[], Some(body), reply);
    let (body, reply) = (of.reference::<JobReport>(), of.reference::<JobReportReply>());
    of.add(path::JOB_STATUS, "post", "Report on an attempt", &[], Some(body), reply);
    let reply = of.reference::<CancelReply>();
    of.add(path::CANCEL_JOB, "post", "Cancel one job", &[], None, reply);
    let reply = of.reference::<DeadLetterList>();
    of.add(path::DEAD_LETTERS, "get", "Jobs that ended for reasons not their own", PAGE, None, reply);
    let reply = of.reference::<DismissReply>();
    of.add(path::DISMISS, "post", "Forget that a job is a dead letter", &[], None, reply);
    of.add(path::JOB_LOGS, "get", "Log bytes from an offset", LOG, None, bytes());
    let (body, reply) = (of.reference::<ArtifactUploadRequest>(), of.reference::<ArtifactUploadReply>());
    of.add(path::ARTIFACT_UPLOAD, "post", "Announce or complete an artifact", &[], Some(body), reply);
    of.add(path::ARTIFACT_CONTENT, "put", "The bytes of an artifact", PUT, Some(bytes()), json!({}));
    let reply = of.reference::<ArtifactList>();
    of.add(path::ARTIFACTS, "get", "Artifacts of an execution", &[], None, reply);
    of.add(path::ARTIFACT_DOWNLOAD, "get", "The stored bytes of an artifact", &[], None, bytes());
    let (body, reply) = (of.reference::<SourceUploadRequest>(), of.reference::<SourceUploadReply>());
    of.add(
        path::SOURCE_UPLOAD,
        "post",
        "Announce sources, or ask whether they are there",
        &[],
        Some(body),
        reply,
    );
    of.add(path::SOURCE_CONTENT, "put", "The bytes of uploaded sources", &[], Some(bytes()), json!({}));
    of.add(path::SOURCE_DOWNLOAD, "get", "The stored bytes of uploaded sources", &[], None, bytes());
    let reply = of.reference::<Health>();
    of.add(path::HEALTH, "get", "Whether the server is well", &[], None, reply);
    of.add(path::OPENAPI, "get", "This document", &[], None, json!({}));

    let schemas = of.schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Tidemill", "version": env!("CARGO_PKG_VERSION") },
        "security": [{ "token": [] }],
        "paths": of.paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}
