//! The parts of an OpenAPI document.

use super::{descriptions, errors};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tidemill_core::access::provider::ProviderKind;
use tidemill_core::api::{ExecutionKind, Problem, Trigger, path};
use tidemill_core::execution::status::ExecutionStatus;

/// The operations that anyone may call.
const PUBLIC: [&str; 13] = [
    path::HEALTH,
    path::OPENAPI,
    path::WEBHOOK,
    path::BADGE,
    path::OIDC_CONFIGURATION,
    path::OIDC_KEYS,
    path::SESSION,
    path::SIGN_IN,
    path::SIGN_IN_REPLY,
    path::SESSIONS,
    path::OWN_SESSION,
    path::SESSION_CODE,
    path::SESSION_TOKEN,
];

/// A document that is being written.
pub(super) struct Document {
    /// The schemas of the types so far.
    pub schemas: SchemaGenerator,
    /// The operations by path.
    pub paths: Map<String, Value>,
}

/// Type of a query parameter.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Id,
    Status,
    /// What started an execution.
    Event,
    /// What an execution does.
    Task,
    /// A provider of sign-ins.
    Provider,
    /// `true` or `false`.
    Flag,
    /// An integer between two bounds, inclusive.
    Number(u64, u64),
}

/// Query parameters: name, type, description.
pub(super) type QueryParameters = &'static [(&'static str, Kind, &'static str)];

impl Document {
    /// Returns a reply with JSON of a type.
    pub fn reference<T: JsonSchema>(&mut self) -> Value {
        json!({ "content": { "application/json": { "schema": self.schemas.subschema_for::<T>() } } })
    }

    /// Adds an operation.
    pub fn add(
        &mut self,
        path: &str,
        method: &str,
        summary: &str,
        query: QueryParameters,
        body: Option<Value>,
        reply: Value,
    ) {
        let problem = self.schemas.subschema_for::<Problem>();
        let mut reply = reply;
        reply["description"] = json!("Done");
        let in_path = path.split(['{', '}']).skip(1).step_by(2).map(|name| {
            let schema = match name {
                "badgeKey" => json!({ "type": "string" }),
                "provider" => json!({ "type": "string", "enum": ["github", "gitlab", "gitea", "bitbucket"] }),
                "uploadId" => json!({ "type": "string", "pattern": "^[0-9a-f]{96}$" }),
                "sha256" => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
                _ => json!({ "type": "string", "format": "uuid" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
        let status = self.schemas.subschema_for::<ExecutionStatus>();
        let event = self.schemas.subschema_for::<Trigger>();
        let provider = self.schemas.subschema_for::<ProviderKind>();
        let kind_of_execution = self.schemas.subschema_for::<ExecutionKind>();
        let optional = ["cache", "protected", "name", "limit", "cursor", "pipeline", "days", "download"];
        // Parameters are required only for these operations.
        let required = [
            path::ARTIFACT_CONTENT,
            path::CACHE_CONTENT,
            path::VARIABLES,
            path::ENVIRONMENTS,
            path::SECRETS,
            path::REGISTRIES,
            path::REPOSITORIES,
            path::INSIGHTS,
            path::ARTIFACT_FILE,
            path::DELIVERIES,
            path::PROTECTIONS,
        ]
        .contains(&path);
        let in_query = query.iter().map(|(name, kind, meaning)| {
            let schema = match kind {
                Kind::Text => json!({ "type": "string" }),
                Kind::Flag => json!({ "type": "boolean" }),
                Kind::Id => json!({ "type": "string", "format": "uuid" }),
                Kind::Status => json!(status),
                Kind::Event => json!(event),
                Kind::Provider => json!(provider),
                Kind::Task => json!(kind_of_execution),
                Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            };
            let required = *name == "provider" || required && !optional.contains(name);
            json!({ "name": name, "in": "query", "required": required, "description": meaning,
                    "schema": schema })
        });
        let id = path.split('/').skip(2).filter(|part| !part.starts_with('{')).collect::<Vec<_>>().join("-");
        let id = match (path, method) {
            (path::TOKENS, "post") => format!("{id}-create"),
            (
                path::SECRETS | path::REGISTRIES | path::ROLES | path::PROTECTIONS | path::RETENTION,
                "post",
            )
            | (path::REPOSITORIES, "put") => {
                format!("{id}-set")
            }
            (path::REPOSITORIES, "delete") => format!("{id}-remove"),
            (path::BADGE, _) => format!("{id}-image"),
            (path::TOKEN, _) => format!("{id}-revoke"),
            (path::SESSION, "delete") => format!("{id}-end"),
            (path::OWN_SESSION, _) => format!("{id}-end-one"),
            (path::OIDC_CONFIGURATION, _) => "oidc-configuration".to_owned(),
            _ => id,
        };
        let parameters: Vec<Value> = in_path.chain(in_query).collect();
        // Operations without a token: they authenticate the caller themselves, or authenticate nobody.
        let is_public = PUBLIC.contains(&path);
        let mut responses = Map::from_iter([("2XX".to_owned(), reply)]);
        errors::add(&mut responses, method, path, body.is_some(), is_public);
        let other = json!({
            "description": "Error",
            "content": { "application/problem+json": { "schema": problem } },
        });
        responses.insert("default".to_owned(), other);
        let mut operation = json!({
            "operationId": id.trim_end_matches(".json"),
            "summary": summary,
            "description": descriptions::of(path, method, summary, is_public),
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(mut body) = body {
            // A retry needs no body.
            body["required"] = json!(path != path::RETRY);
            operation["requestBody"] = body;
        }
        if is_public {
            operation["security"] = json!([]);
        }
        let of_path = self.paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        of_path[method] = operation;
    }
}
