//! The files of the web UI, their caching, and the content security policy.

use super::server::{BOOT, Server};
use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use tidemill_core::{
    access::sessions::COOKIE_CREDENTIAL,
    api::{page, path},
};
use tidemill_services::{Settings, http::TokenVerifier};
use tower::ServiceExt;

const EXECUTION: &str = "/executions/01a21318-5bcd-75cc-a6fa-8311bb8facd8";

/// Returns status, headers and body of a GET without a token.
async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = server.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = reply.into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Returns the document at `path`, and the files that it loads.
async fn document(server: &Server, path: &str) -> (String, Vec<String>) {
    let (status, _, body) = get(server, path, &[]).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    let text = String::from_utf8(body).unwrap();
    let files = text.split('"').filter(|part| part.contains("assets/"));
    let files = files.map(|file| file.trim_start_matches("./").to_owned()).collect();
    (text, files)
}

#[tokio::test]
async fn pages_are_one_document_with_relative_base() {
    let server = Server::start();
    let name = "/jobs/build%2Flinux%20%5Bv%3D1%5D";
    for (path, base) in [
        ("/".to_owned(), "./"),
        ("/executions".to_owned(), "./"),
        (EXECUTION.to_owned(), "../"),
        (format!("{EXECUTION}{name}"), "../../../"),
        // As a gateway that decodes paths passes it on.
        (format!("{EXECUTION}/jobs/build/linux"), "../../../"),
        ("/settings/a/b".to_owned(), "../../"),
    ] {
        let (text, files) = document(&server, &path).await;
        assert!(text.contains(&format!("<base href=\"{base}\">")), "{path}: {text}");
        assert!(!files.is_empty() && files.iter().all(|file| !file.starts_with('/')), "{path}: {files:?}");
    }
    for page in page::PAGES {
        document(&server, &format!("/{page}")).await;
    }
    for path in ["/wp-login.php", "/executions.html", "/assets", "/assets/none.js", "/api", "/api/view"] {
        let (status, headers, _) = get(&server, path, &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(headers["content-type"], "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn credential_of_cookies_is_in_the_document_where_a_gateway_requires_one() {
    let settings = Settings { gateway_requires_credential: true, ..Settings::default() };
    let server = Server::with_settings(TokenVerifier::from_token(BOOT), settings);
    let (text, _) = document(&server, EXECUTION).await;
    assert!(text.contains("<base href=\"../\" data-authorization=\"Session\">"), "{text}");
    let tag = |headers: &HeaderMap| headers["etag"].clone();
    let (_, gated, _) = get(&server, EXECUTION, &[]).await;
    let (_, plain, _) = get(&Server::start(), EXECUTION, &[]).await;
    assert_ne!(tag(&gated), tag(&plain), "browsers keep neither for the other");

    // It proves nothing: such a request is one without a credential.
    let with_session = [("authorization", COOKIE_CREDENTIAL)];
    for path in [path::HEALTH, path::SESSION, path::OVERVIEW, "/api/pipeline/executions?repo=a"] {
        let (status, _, body) = get(&server, path, &[]).await;
        let (same_status, _, same_body) = get(&server, path, &with_session).await;
        assert_eq!((status, body), (same_status, same_body), "{path}");
    }
    let (status, ..) = get(&server, path::OVERVIEW, &with_session).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn document_has_strict_policy_and_is_revalidated() {
    let server = Server::start();
    let (_, headers, body) = get(&server, EXECUTION, &[]).await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    for directive in ["default-src 'self'", "object-src 'none'", "base-uri 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.split(';').any(|one| one.trim() == directive), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["cache-control"], "no-cache");
    // What the policy forbids does not work, so it must not be there.
    let text = String::from_utf8(body).unwrap();
    assert_eq!(text.matches("<script").count(), text.matches("src=\"").count(), "{text}");
    for inline in ["<style", " style=", " onclick=", "javascript:"] {
        assert!(!text.contains(inline), "{inline}: {text}");
    }
    let tag = headers["etag"].to_str().unwrap();
    for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
        let (status, headers, body) = get(&server, EXECUTION, &[("if-none-match", &known)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
        assert_eq!(headers["etag"], tag);
    }
    let (status, ..) = get(&server, EXECUTION, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn assets_are_immutable_and_compressed_for_clients_that_accept_it() {
    let server = Server::start();
    let (_, files) = document(&server, "/").await;
    let script = files
        .iter()
        .find(|file| std::path::Path::new(file).extension().is_some_and(|end| end == "js"))
        .unwrap();
    let path = format!("/{script}");
    let (status, headers, plain) = get(&server, &path, &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["vary"], "accept-encoding");
    assert!(!headers.contains_key("content-encoding"));
    for (accepted, compressed) in
        [("br, gzip;q=0.8", true), ("GZIP", true), ("gzip;q=0", false), ("br", false), ("x-gzip2", false)]
    {
        let (_, headers, body) = get(&server, &path, &[("accept-encoding", accepted)]).await;
        assert_eq!(headers.contains_key("content-encoding"), compressed, "{accepted}");
        assert_eq!(body.starts_with(&[0x1f, 0x8b]), compressed, "{accepted}");
        assert_eq!(body == plain, !compressed, "{accepted}");
    }
    for file in &files {
        let (status, headers, _) = get(&server, &format!("/{file}"), &[]).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        assert_ne!(headers["content-type"], "application/octet-stream", "{file}");
    }
    let (status, ..) = get(&server, "/assets/..%2Findex.html", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
