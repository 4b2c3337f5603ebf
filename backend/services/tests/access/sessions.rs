//! Sessions of browsers: which requests they authenticate, how they end, and how the command line gets a token.

use super::{
    browser::{Browser, ORIGIN, give, server_with, start_body, user},
    server::{BOOT, Server, mistyped, text},
};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidemill_core::{
    access::{
        Scope,
        roles::{Role, RoleTarget},
        sessions::{CODE_MS, CSRF_HEADER, MAX_IDLE_MS, challenge_of},
    },
    api::path,
};

const ISSUER: &str = "https://id.example.org";
const DAY_MS: i64 = 86_400_000;
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A server where everyone who signs in is a developer.
async fn server() -> Server {
    let server = server_with(ISSUER);
    give(&server, Role::Developer, RoleTarget::default()).await;
    server
}

async fn is_valid(server: &Server, browser: &Browser) -> bool {
    let status = browser.clone().get(server, path::EXECUTIONS).await.status;
    assert!([StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&status), "{status}");
    status == StatusCode::OK
}

#[tokio::test]
async fn cookie_changes_something_only_for_the_servers_own_pages() {
    let server = server().await;
    let mut browser = Browser::signed_in(&server, "alice").await;
    let (own, header) = (("origin", ORIGIN), (CSRF_HEADER, "1"));
    let shell = path::JOB_SHELL.replace("{jobId}", &uuid::Uuid::nil().to_string());
    let before = server.state().await;
    for headers in [
        &[][..],
        &[own],
        &[header],
        &[("sec-fetch-site", "same-origin")],
        &[header, ("origin", "https://evil.example")],
        &[header, ("origin", "null")],
        &[header, ("origin", "http://localhost:7601")],
        &[header, ("sec-fetch-site", "cross-site")],
        &[header, ("sec-fetch-site", "same-site")],
        &[header, ("sec-fetch-site", "none")],
        &[header, own, ("sec-fetch-site", "cross-site")],
        &[header, ("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
    ] {
        for (method, path, body) in [
            ("POST", path::EXECUTE, start_body("ours")),
            ("GET", shell.as_str(), Value::Null),
            ("DELETE", path::SESSION, Value::Null),
            ("POST", path::SESSION_CODE, json!({ "challenge": challenge_of(VERIFIER) })),
        ] {
            let reply = browser.send(&server, method, path, headers, body).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path} {headers:?}: {}", reply.body);
            assert_eq!(reply.body["type"], "tidemill:foreign-request", "{method} {path} {headers:?}");
        }
    }
    assert_eq!(server.state().await, before);
    for headers in [[header, own], [header, ("sec-fetch-site", "same-origin")]] {
        let reply = browser.send(&server, "POST", path::EXECUTE, &headers, start_body("ours")).await;
        assert!(reply.status.is_success(), "{headers:?}: {}", reply.body);
    }
    // A token needs none of this, and counts instead of the cookie.
    let reader = format!("Bearer {}", server.token(&[Scope::Read], None, None).await.token);
    let headers = [("authorization", reader.as_str()), header, own];
    let reply = browser.send(&server, "POST", path::EXECUTE, &headers, start_body("ours")).await;
    assert!(text(&reply.body["detail"]).contains("this token has the scopes read"), "{}", reply.body);
    let wrong = format!("Bearer {}", mistyped(&reader[7..]));
    let reply =
        browser.send(&server, "GET", path::EXECUTIONS, &[("authorization", &wrong)], Value::Null).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn session_ends_when_it_is_ended_unused_or_too_old() {
    let server = server().await;
    let [mut laptop, phone] =
        [Browser::signed_in(&server, "alice").await, Browser::signed_in(&server, "alice").await];
    let mut bob = Browser::signed_in(&server, "bob").await;
    let listed = laptop.get(&server, path::SESSIONS).await.body;
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(
        (sessions.len(), sessions.iter().filter(|one| one["current"] == true).count()),
        (2, 1),
        "{listed}"
    );
    assert_eq!((&sessions[0]["browser"], sessions[0].get("person")), (&json!("a browser"), None));
    let other = sessions.iter().find(|one| one["current"] == false).unwrap();
    let end = path::OWN_SESSION.replace("{sessionId}", &text(&other["id"]));
    assert!(is_valid(&server, &phone).await);
    let reply = bob.call(&server, "DELETE", &end, Value::Null).await;
    assert_eq!(
        (reply.status, &reply.body),
        (StatusCode::OK, &json!({ "ended": false })),
        "it is of another person"
    );
    assert!(is_valid(&server, &phone).await);
    assert_eq!(laptop.call(&server, "DELETE", &end, Value::Null).await.body, json!({ "ended": true }));
    assert!(!is_valid(&server, &phone).await && is_valid(&server, &laptop).await);

    for _ in 0..4 {
        server.clock.advance(MAX_IDLE_MS - 1);
        assert!(is_valid(&server, &laptop).await, "it was used");
    }
    server.clock.advance(2 * DAY_MS + 4);
    assert!(!is_valid(&server, &laptop).await, "after 30 days");
    let unused = Browser::signed_in(&server, "alice").await;
    server.clock.advance(MAX_IDLE_MS);
    assert!(!is_valid(&server, &unused).await);
    for cookie in ["", ".", "x.y", &"0".repeat(32), &format!("{}.{BOOT}", "0".repeat(32))] {
        let cookies = [("tidemill-session".to_owned(), cookie.to_owned())].into();
        assert!(!is_valid(&server, &Browser { cookies }).await, "{cookie}");
    }
}

#[tokio::test]
async fn administrator_sees_and_ends_sessions_of_others() {
    let server = server().await;
    give(&server, Role::Admin, user("root", None)).await;
    give(&server, Role::Maintainer, user("carol", None)).await;
    let alice = Browser::signed_in(&server, "alice").await;
    let mut root = Browser::signed_in(&server, "root").await;
    let all = format!("{}?all=true", path::SESSIONS);
    let of_alice = format!("{}?person=oidc:%23alice", path::SESSIONS);
    let listed = root.get(&server, &all).await.body;
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2, "{listed}");
    let listed = root.get(&server, &of_alice).await.body;
    let session = &listed["sessions"][0];
    assert_eq!((&session["person"], &session["name"]), (&json!("oidc:#alice"), &json!("alice")));
    let end = path::OWN_SESSION.replace("{sessionId}", &text(&session["id"]));
    let end = format!("{end}?person=oidc:%23alice");
    for name in ["bob", "carol"] {
        let mut other = Browser::signed_in(&server, name).await;
        for (method, path) in [("GET", &all), ("GET", &of_alice), ("DELETE", &end)] {
            let reply = other.call(&server, method, path, Value::Null).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{name} {method} {path}: {}", reply.body);
        }
    }
    let limited = server.token(&[Scope::Admin], Some("ours"), None).await.token;
    let runner = server.token(&[Scope::Run], None, None).await.token;
    for token in [&limited, &runner] {
        assert_eq!(server.call(Some(token), "GET", &all, Value::Null).await.status, StatusCode::FORBIDDEN);
    }
    assert!(is_valid(&server, &alice).await);
    assert_eq!(root.call(&server, "DELETE", &end, Value::Null).await.body, json!({ "ended": true }));
    assert!(!is_valid(&server, &alice).await);
    let entry = server.ok(BOOT, "GET", path::AUDIT, Value::Null).await["entries"][0].clone();
    assert_eq!(
        (&entry["who"], &entry["action"], &entry["outcome"]),
        (&json!("root"), &json!("session.end"), &json!("of oidc:#alice"))
    );
    // With the deployment's own token as well.
    assert_eq!(server.ok(BOOT, "GET", &of_alice, Value::Null).await["sessions"], json!([]));
}

#[tokio::test]
async fn person_has_at_most_twenty_sessions() {
    let server = server().await;
    let first = Browser::signed_in(&server, "alice").await;
    server.clock.advance(1);
    let mut newest = Browser::default();
    for _ in 0..20 {
        newest = Browser::signed_in(&server, "alice").await;
    }
    assert!(!is_valid(&server, &first).await && is_valid(&server, &newest).await);
    let listed = newest.get(&server, path::SESSIONS).await.body;
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn command_line_gets_a_token_with_the_roles_of_the_person() {
    let server = server().await;
    let mut browser = Browser::signed_in(&server, "alice").await;
    let mut code = async || {
        let body = json!({ "challenge": challenge_of(VERIFIER) });
        let reply = browser.call(&server, "POST", path::SESSION_CODE, body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        text(&reply.body["code"])
    };
    let exchange = async |code: &str, verifier: &str| {
        let body = json!({ "code": code, "verifier": verifier, "machine": "laptop" });
        server.call(None, "POST", path::SESSION_TOKEN, body).await
    };
    let first = code().await;
    let reply = exchange(&first, VERIFIER).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    let (token, view) = (text(&reply.body["token"]), &reply.body["view"]);
    assert_eq!(
        (&view["name"], &view["person"], &view["scopes"]),
        (&json!("alice on laptop"), &json!("oidc:#alice"), &json!([]))
    );
    server.ok(&token, "POST", path::EXECUTE, start_body("ours")).await;
    assert_eq!(
        server.call(Some(&token), "GET", path::TOKENS, Value::Null).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(exchange(&first, VERIFIER).await.status, StatusCode::UNAUTHORIZED, "a code is valid once");
    // A wrong proof makes the code void.
    let second = code().await;
    let wrong = challenge_of(VERIFIER);
    assert_eq!(exchange(&second, &wrong).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(exchange(&second, VERIFIER).await.status, StatusCode::UNAUTHORIZED);
    let third = code().await;
    server.clock.advance(CODE_MS);
    assert_eq!(exchange(&third, VERIFIER).await.status, StatusCode::UNAUTHORIZED, "it is too old");
    // A token makes no other token, so a stolen one ends when it is revoked.
    let body = json!({ "challenge": challenge_of(VERIFIER) });
    for token in [token.as_str(), BOOT] {
        let reply = server.call(Some(token), "POST", path::SESSION_CODE, body.clone()).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
    }
    for challenge in ["", "x", &"A".repeat(44)] {
        let reply =
            browser.call(&server, "POST", path::SESSION_CODE, json!({ "challenge": challenge })).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{challenge}");
    }

    assert_eq!(server.ok(&token, "DELETE", path::SESSION, Value::Null).await, json!({ "ended": true }));
    assert_eq!(
        server.call(Some(&token), "GET", path::EXECUTIONS, Value::Null).await.status,
        StatusCode::UNAUTHORIZED
    );
    let machine = server.token(&[Scope::Run], None, None).await.token;
    let kept = server.call(Some(&machine), "DELETE", path::SESSION, Value::Null).await;
    assert_eq!(kept.status, StatusCode::CONFLICT, "{}", kept.body);
    server.ok(&machine, "GET", path::EXECUTIONS, Value::Null).await;
}

#[tokio::test]
async fn stores_have_no_cookie_code_or_token() {
    let server = server().await;
    let mut browser = Browser::signed_in(&server, "alice").await;
    let code = browser
        .call(&server, "POST", path::SESSION_CODE, json!({ "challenge": challenge_of(VERIFIER) }))
        .await;
    let stored = server.documents().await;
    assert!(stored.contains("sign-in-code") && stored.contains("oidc:#alice"), "{stored}");
    let (_, token) = browser.cookies["tidemill-session"].split_once('.').unwrap();
    for secret in [token, code.body["code"].as_str().unwrap()] {
        assert!(!stored.contains(secret), "{stored}");
    }
}
