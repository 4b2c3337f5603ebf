//! The web UI: one document for all pages, and the files that it loads. They contain nothing confidential, so they need no token.

use crate::http::{
    assets::{Asset, INDEX_HTML},
    handlers::artifacts::files,
    problem::ApiError,
    state::ApiState,
};
use axum::{
    Router,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, sync::LazyLock};
use tidemill_core::{
    access::sessions::COOKIE_CREDENTIAL,
    api::page::{ARTIFACT_FILES, PAGES},
};

/// What a page may load and do: only files and calls of this server.
const PAGE_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; \
     form-action 'self'; frame-ancestors 'none'";

/// The content of a name never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Element of the document that is replaced by a relative address of the UI's root.
const BASE_ELEMENT: &str = "<base href=\"/\">";

/// Maximum number of segments of a page's path. The last one, the name of a job, may have slashes if a gateway decoded them.
const MAX_SEGMENTS: usize = 4;

/// A document with its entity tag.
type Document = (String, String);

/// Documents by the number of segments that follow the UI's root.
static DOCUMENTS: LazyLock<[Document; MAX_SEGMENTS]> = LazyLock::new(|| documents(""));

/// The same for servers behind a gateway that lets only requests with a credential through.
static GATED_DOCUMENTS: LazyLock<[Document; MAX_SEGMENTS]> =
    LazyLock::new(|| documents(&format!(" data-authorization=\"{COOKIE_CREDENTIAL}\"")));

fn documents(attributes: &str) -> [Document; MAX_SEGMENTS] {
    std::array::from_fn(|depth| {
        let base = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
        let text = INDEX_HTML.replacen(BASE_ELEMENT, &format!("<base href=\"{base}\"{attributes}>"), 1);
        let tag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(&text)[..16]));
        (text, tag)
    })
}

/// Creates the router of the pages and their files.
pub fn router() -> Router<ApiState> {
    let mut router = Router::new().route("/", get(document)).route("/assets/{name}", get(asset));
    router = router.route(&format!("/{ARTIFACT_FILES}/{{ticket}}/{{*path}}"), get(files::linked));
    let mut path = String::new();
    for page in PAGES {
        for below in ["", "/{*rest}"] {
            path.clear();
            // Writing to a string cannot fail.
            let _ = write!(path, "/{page}{below}");
            router = router.route(&path, get(document));
        }
    }
    router
}

/// Serves the document. The reply does not reveal whether what the page shows exists.
async fn document(State(api): State<ApiState>, uri: Uri, headers: HeaderMap) -> Response {
    let depth = uri.path().trim_start_matches('/').splitn(MAX_SEGMENTS, '/').count().saturating_sub(1);
    let is_gated = api.services.pipelines.context().settings.gateway_requires_credential;
    let documents = if is_gated { &GATED_DOCUMENTS } else { &DOCUMENTS };
    let (text, tag) = &documents[depth.min(MAX_SEGMENTS - 1)];
    let page_headers: [(HeaderName, &str); 7] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (ETAG, tag),
    ];
    let is_known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    if is_known {
        return (StatusCode::NOT_MODIFIED, page_headers).into_response();
    }
    (page_headers, text.as_str()).into_response()
}

/// Serves a file of the document.
async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let asset = Asset::find(&name).ok_or_else(ApiError::no_such_path)?;
    let gzip = asset.gzip.filter(|_| accepts_gzip(&headers));
    let mut reply = gzip.unwrap_or(asset.bytes).into_response();
    let set = reply.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type()));
    set.insert(CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    set.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // An image of the UI is a document of its own when it is opened, and may then do nothing.
    set.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    set.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip.is_some() {
        set.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(reply)
}

/// Whether the client decodes gzip. A weight of 0 excludes it.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
        let is_zero = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim().parse() == Ok(0.0));
        coding.trim().eq_ignore_ascii_case("gzip") && !is_zero
    })
}
