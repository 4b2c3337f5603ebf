//! The error replies of operations, for the OpenAPI document.

use serde_json::{Map, Value, json};

/// An error reply that several operations have.
struct ErrorReply {
    status: &'static str,
    name: &'static str,
    meaning: &'static str,
    /// A header of the reply, and what it says.
    header: Option<(&'static str, &'static str)>,
}

const fn reply(status: &'static str, name: &'static str, meaning: &'static str) -> ErrorReply {
    ErrorReply { status, name, meaning, header: None }
}

const INVALID: ErrorReply =
    reply("400", "Invalid", "A parameter or the body is invalid; `detail` says what and where");
const UNAUTHORIZED: ErrorReply = ErrorReply {
    header: Some(("WWW-Authenticate", "How to authenticate")),
    ..reply("401", "Unauthorized", "The request has no valid token, session or signature")
};
const FORBIDDEN: ErrorReply =
    reply("403", "Forbidden", "The caller may not do this; `detail` says what is missing");
const NOT_FOUND: ErrorReply =
    reply("404", "NotFound", "The item does not exist, or the caller may not see it");
const CONFLICT: ErrorReply = reply(
    "409",
    "Conflict",
    "The request conflicts with the recorded state. For a worker, with type `tidemill:lease-lost`: it has lost its lease, and must stop",
);
const TOO_LARGE: ErrorReply = reply("413", "TooLarge", "The body is too large; `detail` names the limit");
const UNPROCESSABLE: ErrorReply = reply(
    "422",
    "Unprocessable",
    "The pipeline file has mistakes, which `diagnostics` lists, or the request would store too much",
);
const TOO_MANY: ErrorReply = ErrorReply {
    header: Some(("Retry-After", "Seconds after which to try again")),
    ..reply("429", "TooMany", "The caller sends too many requests")
};
const FAILED: ErrorReply = reply(
    "500",
    "Failed",
    "The server's store failed; `instance` names the entry in the server's log. Try again later",
);
const UNAVAILABLE: ErrorReply =
    reply("503", "Unavailable", "The server is busy, or has no space left. Try again later");

const ALL: [&ErrorReply; 10] = [
    &INVALID,
    &UNAUTHORIZED,
    &FORBIDDEN,
    &NOT_FOUND,
    &CONFLICT,
    &TOO_LARGE,
    &UNPROCESSABLE,
    &TOO_MANY,
    &FAILED,
    &UNAVAILABLE,
];

/// Returns all error replies by name, with problem documents of this schema.
pub(super) fn components(problem: &Value) -> Value {
    let of = |reply: &&ErrorReply| {
        let mut described = json!({
            "description": reply.meaning,
            "content": { "application/problem+json": { "schema": problem } },
        });
        if let Some((name, meaning)) = reply.header {
            described["headers"] =
                json!({ name: { "description": meaning, "schema": { "type": "string" } } });
        }
        (reply.name.to_owned(), described)
    };
    Value::Object(ALL.iter().map(of).collect())
}

/// Adds the error replies that an operation may have to its `responses`.
pub(super) fn add(
    responses: &mut Map<String, Value>,
    method: &str,
    path: &str,
    has_body: bool,
    is_public: bool,
) {
    let changes = method != "get";
    let may_have = [
        (true, &INVALID),
        (!is_public, &UNAUTHORIZED),
        (!is_public, &FORBIDDEN),
        (path.contains('{'), &NOT_FOUND),
        (changes, &CONFLICT),
        (has_body, &TOO_LARGE),
        (has_body, &UNPROCESSABLE),
        (true, &TOO_MANY),
        (true, &FAILED),
        (changes, &UNAVAILABLE),
    ];
    for (_, reply) in may_have.iter().filter(|(may_have, _)| *may_have) {
        let component = json!({ "$ref": format!("#/components/responses/{}", reply.name) });
        responses.insert(reply.status.to_owned(), component);
    }
}
