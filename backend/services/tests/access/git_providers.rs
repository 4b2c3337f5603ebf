//! Signing in with GitHub, GitLab and Gitea, over HTTP on this machine.

use super::{
    browser::{Browser, ORIGIN, location},
    server::Server,
};
use axum::{
    Json, Router,
    extract::Query,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use tidemill_core::{
    access::{provider::ProviderKind, sessions::challenge_of},
    api::path,
};
use tidemill_services::{HttpMessenger, ProviderOptions, ProviderSettings};
use tokio::net::TcpListener;
use url::{Url, form_urlencoded};

/// The groups of a page: the first one is full.
fn organizations(page: &str) -> Value {
    let name = |number: usize| json!({ "login": format!("Org-{number}") });
    match page {
        "1" => (0..100).map(name).collect(),
        "2" => json!([name(100)]),
        page => panic!("page {page}"),
    }
}

fn authorized(headers: &HeaderMap) {
    assert_eq!(headers["authorization"], "Bearer access");
    assert!(headers.contains_key("user-agent"), "GitHub demands it");
}

async fn token(body: String) -> (StatusCode, Json<Value>) {
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("id", "secret"));
    assert_eq!(form["redirect_uri"], format!("{ORIGIN}{}", path::SIGN_IN_REPLY));
    // The code of this provider is the challenge.
    if challenge_of(&form["code_verifier"]) != form["code"] {
        // GitHub replies with 200 to an invalid code.
        return (StatusCode::OK, Json(json!({ "error": "bad_verification_code" })));
    }
    (StatusCode::OK, Json(json!({ "access_token": "access", "token_type": "bearer" })))
}

async fn details(headers: HeaderMap) -> Json<Value> {
    authorized(&headers);
    Json(json!({ "sub": 42, "nickname": "Alice", "groups": ["Team", "team/backend"] }))
}

/// Starts a server that has the APIs of all three.
async fn provider() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let page = |Query(query): Query<HashMap<String, String>>| async move {
        assert_eq!(query["per_page"], "100");
        Json(organizations(&query["page"]))
    };
    let router = Router::new()
        .route("/login/oauth/access_token", post(token))
        .route("/oauth/token", post(token))
        .route("/login/oauth/userinfo", get(details))
        .route("/oauth/userinfo", get(details))
        .route(
            "/api/v3/user",
            get(|headers: HeaderMap| async move {
                authorized(&headers);
                Json(json!({ "id": 42, "login": "Alice", "name": "root" }))
            }),
        )
        .route("/api/v3/user/orgs", get(page))
        .route(
            "/api/v3/user/teams",
            get(|| async { Json(json!([{ "slug": "backend", "organization": { "login": "Acme" } }])) }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn server(kind: ProviderKind, url: &str) -> Server {
    let server = Server::start();
    server.services.set_public_url(ORIGIN);
    let text = |text: &str| Some(text.to_owned());
    let options = ProviderOptions {
        url: text(url),
        client_id: text("id"),
        client_secret: text("secret"),
        groups_claim: None,
    };
    let settings = ProviderSettings::new(kind, options).unwrap();
    server.services.enable_sign_in(vec![settings], Arc::new(HttpMessenger::default())).unwrap();
    server
}

/// Begins to sign in, and returns the query of the address at the provider.
async fn begin(
    browser: &mut Browser,
    server: &Server,
    kind: ProviderKind,
) -> (String, HashMap<String, String>) {
    let reply = browser.get(server, &format!("{}?provider={}", path::SIGN_IN, kind.as_str())).await;
    let url = Url::parse(&location(&reply)).unwrap();
    (url.path().to_owned(), url.query_pairs().into_owned().collect())
}

#[tokio::test]
async fn people_of_git_providers_have_their_names_and_groups() {
    let url = provider().await;
    for (kind, page, scope, groups) in [
        (
            ProviderKind::Github,
            "/login/oauth/authorize",
            "read:org",
            &["org-0", "org-100", "acme/backend"][..],
        ),
        (ProviderKind::Gitlab, "/oauth/authorize", "openid profile", &["team", "team/backend"]),
        (ProviderKind::Gitea, "/login/oauth/authorize", "openid profile groups", &["team", "team/backend"]),
    ] {
        let server = server(kind, &url);
        let mut browser = Browser::default();
        let (path, query) = begin(&mut browser, &server, kind).await;
        assert_eq!((path.as_str(), query["scope"].as_str()), (page, scope));
        let answer = [
            ("code".to_owned(), query["code_challenge"].clone()),
            ("state".to_owned(), query["state"].clone()),
        ];
        browser.come_back(&server, &answer.into()).await;
        let caller = browser.caller(&server).await;
        let name = kind.as_str();
        assert_eq!((&caller["name"], &caller["person"]), (&json!("Alice"), &json!(format!("{name}:#42"))));
        assert_eq!(caller["names"], json!([format!("{name}:#42"), format!("{name}:alice")]), "{caller}");
        for group in groups {
            let group = json!(format!("{name}:{group}"));
            assert!(caller["groups"].as_array().unwrap().contains(&group), "{group}: {caller}");
        }
    }
}

#[tokio::test]
async fn invalid_code_of_a_git_provider_creates_no_session() {
    let url = provider().await;
    for kind in [ProviderKind::Github, ProviderKind::Gitlab, ProviderKind::Gitea] {
        let server = server(kind, &url);
        let mut browser = Browser::default();
        let (_, query) = begin(&mut browser, &server, kind).await;
        let answer = [("code".to_owned(), "stolen".to_owned()), ("state".to_owned(), query["state"].clone())];
        let reply = browser.come_back(&server, &answer.into()).await;
        assert_eq!(location(&reply), format!("{ORIGIN}/login?error=rejected"));
        assert_eq!(browser.caller(&server).await, Value::Null);
    }
}
