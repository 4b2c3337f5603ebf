//! Files inside of artifacts. Jobs wrote them, so a browser shows them in a sandbox only, and only if their type is a known one.

use crate::{
    access::caller::Caller,
    error::Error,
    http::{
        client::{AuthenticatedFlag, ClientAddress},
        extractors::{Id, QueryParams},
        problem::ApiError,
        reply::{Reply, json_reply},
        state::ApiState,
    },
    storage::archive::FoundFile,
};
use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{
            CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::time::Instant;
use tidemill_core::ids::{ArtifactId, ExecutionId, digest::sha256_hex};

/// What a shown file may do. Its scripts run without the server's origin: they reach neither the page's token nor the API.
const FILE_POLICY: &str = "sandbox allow-scripts; default-src 'self' 'unsafe-inline' data: blob:; connect-src 'none'; \
     form-action 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'self'";

/// Types that a browser may show, by the ending of a file's name.
const SHOWN_TYPES: &[(&str, &[&str])] = &[
    ("text/html; charset=utf-8", &["html", "htm", "xhtml"]),
    ("text/css; charset=utf-8", &["css"]),
    ("text/javascript; charset=utf-8", &["js", "mjs"]),
    ("application/json", &["json", "map", "sarif"]),
    (
        "text/plain; charset=utf-8",
        &[
            "txt", "log", "md", "xml", "csv", "tsv", "yml", "yaml", "toml", "info", "diff", "patch", "out",
            "err",
        ],
    ),
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/svg+xml", &["svg"]),
    ("image/x-icon", &["ico"]),
    ("font/woff", &["woff"]),
    ("font/woff2", &["woff2"]),
];

#[derive(Deserialize)]
pub struct FileQuery {
    path: String,
    #[serde(default)]
    download: bool,
}

pub async fn file(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ArtifactId>,
    QueryParams(query): QueryParams<FileQuery>,
    headers: HeaderMap,
) -> Reply {
    check_destination(&headers)?;
    let found = api.services.artifacts.file(id, &query.path, &reader_of(&caller)).await?;
    Ok(file_reply(found, &query.path, query.download))
}

pub async fn link(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ArtifactId>,
) -> Reply {
    Ok(json_reply(api.services.artifacts.link(id, &reader_of(&caller)).await?))
}

/// Serves a file to the holder of a link, who has no token. It counts as a call of who asked for the link.
pub async fn linked(
    State(api): State<ApiState>,
    proof: Option<Extension<AuthenticatedFlag>>,
    client: Option<Extension<ClientAddress>>,
    Path((ticket, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Reply {
    check_destination(&headers)?;
    let limits = &api.token_verifier.limits;
    let linked = api.services.artifacts.linked(&ticket).await;
    if let (Err(Error::NotFound(_)), Some(Extension(client))) = (&linked, client) {
        let counted = limits.count_invalid(client.network(), Instant::now());
        counted.map_err(ApiError::too_many_requests)?;
    }
    let (id, reader) = linked?;
    if let Some(Extension(proof)) = proof {
        proof.set();
    }
    let counted = limits.count_valid(&format!("link {reader}"), false, Instant::now());
    counted.map_err(ApiError::too_many_requests)?;
    let found = api.services.artifacts.file(id, &path, &reader).await?;
    Ok(file_reply(found, &path, false))
}

pub async fn archive(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<ExecutionId>,
) -> Reply {
    let bytes = api.services.artifacts.archive(id, &reader_of(&caller)).await?;
    let bytes = bytes.ok_or_else(ApiError::no_archive)?;
    let headers = [
        (CONTENT_TYPE, "application/x-tar".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"artifacts-{id}.tar\"")),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// Returns the name under which reads of a caller are counted.
fn reader_of(caller: &Caller) -> String {
    sha256_hex(format!("{} {}", caller.id, caller.name).as_bytes())
}

/// Rejects a request of a page of the server itself for anything but a document, an image or a download: what jobs wrote must not
/// become a script or a style of the UI. A sandboxed report is no page of the server for the browser.
fn check_destination(headers: &HeaderMap) -> Result<(), Error> {
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_own = matches!(value("sec-fetch-site"), Some("same-origin" | "same-site"));
    let is_shown = |destination| ["document", "empty", "iframe", "image"].contains(&destination);
    match value("sec-fetch-dest") {
        Some(destination) if is_own && !is_shown(destination) => Err(Error::Forbidden(
            "files of artifacts are no scripts, styles or fonts of the server's own pages".into(),
        )),
        _ => Ok(()),
    }
}

fn file_reply(found: FoundFile, path: &str, is_saved: bool) -> Response {
    let kind = shown_type(path);
    let disposition = if is_saved || kind.is_none() { "attachment" } else { "inline" };
    let mut reply = Body::from_stream(found.bytes).into_response();
    let headers = reply.headers_mut();
    let mut set =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, kind.unwrap_or("application/octet-stream"));
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(CONTENT_SECURITY_POLICY, FILE_POLICY);
    set(REFERRER_POLICY, "no-referrer");
    set(CACHE_CONTROL, "private, no-store");
    headers.insert(CONTENT_LENGTH, HeaderValue::from(found.size));
    if let Ok(value) = HeaderValue::from_str(&format!("{disposition}; filename=\"{}\"", file_name(path))) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    reply
}

/// Returns the type of a file that a browser may show.
fn shown_type(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    SHOWN_TYPES.iter().find(|(_, endings)| endings.contains(&ending.as_str())).map(|(kind, _)| *kind)
}

/// Returns the name under which a file is saved, in characters that every system takes.
fn file_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_plain = |char: &char| char.is_ascii_alphanumeric() || "._-".contains(*char);
    let name: String = name.chars().map(|char| if is_plain(&char) { char } else { '_' }).take(200).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "file".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{file_name, shown_type};

    #[test]
    fn only_known_types_are_shown() {
        assert_eq!(shown_type("report/index.HTML"), Some("text/html; charset=utf-8"));
        assert_eq!(shown_type("a.b/shot.png"), Some("image/png"));
        for path in ["a", "a.exe", "dir.html/file", "x.pdf", "html", "a.html.gz", ""] {
            assert_eq!(shown_type(path), None, "{path}");
        }
    }

    #[test]
    fn saved_name_has_plain_characters() {
        assert_eq!(file_name("a/b/report 1\"\r\n.html"), "report_1___.html");
        assert_eq!(file_name("a/.htaccess"), "htaccess");
        assert_eq!(file_name("a/..."), "file");
    }
}
