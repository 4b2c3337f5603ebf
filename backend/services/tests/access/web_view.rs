//! The web view's content security policy.

use super::server::Server;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::Engine;
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::Digest;
use std::collections::BTreeSet;
use tower::ServiceExt;

#[tokio::test]
async fn web_view_has_strict_content_security_policy() {
    let server = Server::start();
    let mut pages = BTreeSet::new();
    for url in ["/api/view", "/api/view/01a21318-5bcd-75cc-a6fa-8311bb8facd8"] {
        let request = Request::builder().uri(url).body(Body::empty()).unwrap();
        let reply = server.api.clone().oneshot(request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{url}");
        let policy = reply.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let page = reply.into_body().collect().await.unwrap().to_bytes();
        pages.insert((policy, String::from_utf8(page.to_vec()).unwrap()));
    }
    assert_eq!(pages.len(), 1, "the page is the same for everyone");
    assert_eq!(
        server.call(None, "GET", "/api/view/%3Cscript%3E", Value::Null).await.status,
        StatusCode::BAD_REQUEST
    );
    let (policy, page) = pages.pop_first().unwrap();
    for element in ["script", "style"] {
        assert_eq!(page.matches(&format!("<{element}>")).count(), 1);
        let text = page.split_once(&format!("<{element}>")).unwrap().1;
        let text = text.split_once(&format!("</{element}>")).unwrap().0;
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text));
        assert!(policy.contains(&format!("{element}-src 'sha256-{hash}'")), "{policy}");
    }
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    // Constructs that would interpret names and logs as markup, or run code in attributes.
    for forbidden in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick=\""]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}
