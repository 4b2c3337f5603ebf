//! Signing in with an OpenID provider: what a browser does, and what makes it fail.

use super::{
    browser::{Browser, ORIGIN, encoded, location, server_and_provider, set_cookies, start_body, user},
    provider::{Behaviour, CLIENT_ID},
    server::{BOOT, Server, text},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_core::{
    access::{
        provider::ProviderKind,
        roles::{Role, RoleTarget},
        sign_in::MAX_SIGN_IN_MS,
    },
    api::path,
};
use tidemill_services::{
    HttpMessenger, ProviderOptions, ProviderSettings,
    http::{ClientAddress, TokenVerifier},
    ports::{ProviderClient, ProviderRequest, RequestError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn person_signs_in_gets_a_role_and_signs_out() {
    let (server, provider) = server_and_provider().await;
    let mut browser = Browser::default();
    let ways = browser.get(&server, path::SESSION).await.body;
    assert_eq!(ways, json!({ "providers": [{ "id": "oidc", "name": "127.0.0.1" }] }));

    let address = browser.begin(&server, "/executions?repo=a%2Fb").await;
    assert!(address.contains(&encoded(&format!("{ORIGIN}/api/session/callback"))), "{address}");
    let reply = browser.come_back(&server, &provider.consent(&address)).await;
    assert_eq!(
        (reply.status, location(&reply)),
        (StatusCode::SEE_OTHER, format!("{ORIGIN}/executions?repo=a%2Fb"))
    );
    assert_eq!(reply.headers["cache-control"], "no-store");
    let cookies = set_cookies(&reply.headers);
    assert_eq!((cookies[0].0.as_str(), cookies[0].1.as_str()), ("tidemill-sign-in", ""), "it is used up");
    assert_eq!(
        (cookies[1].0.as_str(), cookies[1].2.as_str()),
        ("tidemill-session", "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")
    );

    let caller = browser.caller(&server).await;
    assert_eq!(caller["name"], "alice@example.org");
    assert_eq!(caller["names"], json!(["oidc:#alice-7", "oidc:alice@example.org"]));
    assert_eq!((&caller["groups"], &caller["scopes"]), (&json!(["oidc:developers"]), &json!([])));
    let denied = browser.get(&server, path::EXECUTIONS).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert!(text(&denied.body["detail"]).contains("`tidemill roles set`"), "{}", denied.body);

    let rule = json!({ "role": "developer", "group": "oidc:developers", "repo": "our*" });
    server.clock.advance(1);
    server.ok(BOOT, "POST", path::ROLES, rule).await;
    server.clock.advance(1);
    let id =
        text(&browser.call(&server, "POST", path::EXECUTE, start_body("ours")).await.body["execution_id"]);
    let listed = browser.get(&server, path::EXECUTIONS).await.body;
    assert_eq!(
        (&listed["executions"][0]["id"], &listed["executions"][0]["requested_by"]),
        (&json!(id), &json!("alice@example.org"))
    );
    assert_eq!(
        browser.call(&server, "POST", path::EXECUTE, start_body("theirs")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(browser.caller(&server).await["roles"], json!([{ "role": "developer", "repo": "our*" }]));

    server.clock.advance(1);
    let kept = browser.clone();
    let out = browser.call(&server, "DELETE", path::SESSION, Value::Null).await;
    assert_eq!((out.status, &out.body), (StatusCode::OK, &json!({ "ended": true })));
    assert!(browser.cookies.is_empty(), "the browser forgets it");
    let again = kept.clone().get(&server, path::EXECUTIONS).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED, "the server does, too");
    assert_eq!(kept.clone().caller(&server).await, Value::Null);

    let audit = server.ok(BOOT, "GET", path::AUDIT, Value::Null).await;
    let actions: Vec<(&str, &str)> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["who"].as_str().unwrap(), entry["action"].as_str().unwrap()))
        .collect();
    let alice = "alice@example.org";
    assert_eq!(
        actions,
        [
            (alice, "session.end"),
            (alice, "execution.start"),
            ("admin", "role.set"),
            (alice, "session.create")
        ]
    );
}

/// Signs in with a provider that behaves like this, and returns why it failed.
async fn failure(change: impl FnOnce(&mut Behaviour)) -> String {
    let (server, provider) = server_and_provider().await;
    provider.behave(change);
    let mut browser = Browser::default();
    let reply = browser.sign_in(&server, &provider).await;
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert_eq!(browser.caller(&server).await, Value::Null);
    location(&reply).strip_prefix(&format!("{ORIGIN}/login?error=")).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn statements_that_do_not_fit_create_no_session() {
    for (claims, expected) in [
        (json!({ "nonce": "other" }), "rejected"),
        (json!({ "nonce": null }), "rejected"),
        (json!({ "iss": "https://id.example.org" }), "rejected"),
        (json!({ "aud": "other" }), "rejected"),
        (json!({ "aud": [CLIENT_ID, "other"] }), "rejected"),
        (json!({ "exp": 1_000 }), "rejected"),
        (json!({ "iat": 4_000_000_000_u64 }), "rejected"),
        (json!({ "sub": null }), "rejected"),
        // The details are of another person.
        (json!({ "sub": "bob" }), "rejected"),
    ] {
        assert_eq!(failure(|provider| provider.claims = claims.clone()).await, expected, "{claims}");
    }
    assert_eq!(failure(|provider| provider.details = json!({ "sub": "bob" })).await, "rejected");
    assert_eq!(failure(|provider| provider.signs_with_other_key = true).await, "rejected");
    for algorithm in ["none", "HS256", "RS256"] {
        assert_eq!(failure(|provider| provider.algorithm = algorithm).await, "rejected", "{algorithm}");
    }
    assert_eq!(failure(|provider| provider.status = StatusCode::BAD_REQUEST).await, "rejected");
    assert_eq!(failure(|provider| provider.status = StatusCode::BAD_GATEWAY).await, "provider");
}

#[tokio::test]
async fn unverified_address_selects_nobody() {
    let (server, provider) = server_and_provider().await;
    provider
        .behave(|provider| provider.details = json!({ "email": "root@example.org", "email_verified": null }));
    super::browser::give(&server, Role::Admin, user("root@example.org", None)).await;
    let mut browser = Browser::default();
    browser.sign_in(&server, &provider).await;
    let caller = browser.caller(&server).await;
    assert_eq!((&caller["names"], caller.get("roles")), (&json!(["oidc:#alice-7"]), None), "{caller}");
}

#[tokio::test]
async fn replies_of_other_sign_ins_create_no_session() {
    let (server, provider) = server_and_provider().await;
    let fails = |reply: &super::server::Reply, code: &str| {
        assert_eq!(location(reply), format!("{ORIGIN}/login?error={code}"));
        assert!(
            !set_cookies(&reply.headers)
                .iter()
                .any(|(name, value, _)| name == "tidemill-session" && !value.is_empty())
        );
    };
    let mut browser = Browser::default();
    let address = browser.begin(&server, "/").await;
    let answer = provider.consent(&address);

    // Another browser, whose person would be signed in as someone else.
    fails(&Browser::default().come_back(&server, &answer).await, "expired");
    let mut other = Browser::default();
    other.begin(&server, "/").await;
    fails(&other.come_back(&server, &answer).await, "mismatch");
    let mut tampered = browser.clone();
    let cookie = tampered.cookies.get_mut("tidemill-sign-in").unwrap();
    let changed = cookie.replace(|c: char| c.is_ascii_digit(), "7") + "A";
    *cookie = changed;
    fails(&tampered.come_back(&server, &answer).await, "expired");

    let with = |name: &str, value: Option<&str>| {
        let mut answer = answer.clone();
        match value {
            Some(value) => answer.insert(name.into(), value.into()),
            None => answer.remove(name),
        };
        answer
    };
    for (answer, code) in [
        (with("state", Some("other")), "mismatch"),
        (with("state", None), "mismatch"),
        (with("iss", Some("https://id.example.org")), "mismatch"),
        (with("error", Some("access_denied")), "denied"),
        (with("code", None), "provider"),
        (with("code", Some(&"x".repeat(5_000))), "provider"),
        (with("code", Some("unknown")), "rejected"),
    ] {
        fails(&browser.clone().come_back(&server, &answer).await, code);
    }
    assert_eq!(provider.exchanges(), 1, "only the last one reached the provider");

    // It takes too long, in the browser of the right person.
    let late = browser.clone();
    assert_eq!(location(&browser.come_back(&server, &answer).await), format!("{ORIGIN}/"));
    fails(&late.clone().come_back(&server, &answer).await, "rejected");
    server.clock.advance(i64::try_from(MAX_SIGN_IN_MS).unwrap() + 1);
    fails(&late.clone().come_back(&server, &answer).await, "expired");
}

#[tokio::test]
async fn return_address_stays_on_the_server() {
    let (server, provider) = server_and_provider().await;
    for (requested, expected) in [
        ("/login?challenge=x&port=1", "/login?challenge=x&port=1"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
    ] {
        let mut browser = Browser::default();
        let address = browser.begin(&server, requested).await;
        let reply = browser.come_back(&server, &provider.consent(&address)).await;
        assert_eq!(location(&reply), format!("{ORIGIN}{expected}"), "{requested}");
    }
    // Another address to come back to is never sent to the provider.
    let path = format!("{}?provider=oidc&redirect_uri=https://evil.example", path::SIGN_IN);
    assert!(!location(&Browser::default().get(&server, &path).await).contains("evil"));
    for path in ["/api/session/login", "/api/session/login?provider=github", "/api/session/login?provider=x"]
    {
        let status = Browser::default().get(&server, path).await.status;
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn returns_are_limited_before_the_provider_is_asked() {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT));
    let provider = super::provider::Provider::start(server.clock.clone()).await;
    super::browser::enable(&server, provider.url());
    provider.behave(|provider| provider.status = StatusCode::BAD_GATEWAY);
    let mut browser = Browser::default();
    let answer = provider.consent(&browser.begin(&server, "/").await);
    let query = format!("code={}&state={}", answer["code"], answer["state"]);
    let call = async |from: [u8; 4]| {
        let cookie = format!("tidemill-sign-in={}", browser.cookies["tidemill-sign-in"]);
        let request = Request::get(format!("{}?{query}", path::SIGN_IN_REPLY)).header("cookie", cookie);
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ClientAddress(from.into()));
        server.send(request).await.status
    };
    let mut limited = 0;
    for _ in 0..200 {
        limited += usize::from(call([192, 0, 2, 1]).await == StatusCode::TOO_MANY_REQUESTS);
    }
    let asked = provider.exchanges();
    assert!(limited > 100 && asked < 100, "{limited} limited, {asked} asked");
    call([192, 0, 2, 2]).await;
    assert_eq!(provider.exchanges(), asked + 1, "another address is not limited");
}

#[tokio::test]
async fn sign_in_needs_a_confidential_public_address() {
    let enable = |address: Option<&str>| {
        let server = Server::start();
        if let Some(address) = address {
            server.services.set_public_url(address);
        }
        let options = ProviderOptions {
            url: Some("https://id.example.org".into()),
            client_id: Some(CLIENT_ID.into()),
            ..ProviderOptions::default()
        };
        let settings = ProviderSettings::new(ProviderKind::Oidc, options).unwrap();
        server.services.enable_sign_in(vec![settings], Arc::new(HttpMessenger::default()))
    };
    for address in [
        "https://ci.example.org",
        "https://ci.example.org/prefix/",
        "http://127.0.0.1:7600",
        "http://[::1]:7600",
    ] {
        assert!(enable(Some(address)).is_ok(), "{address}");
    }
    for address in
        ["http://ci.example.org", "http://10.0.0.1:7600", "ftp://localhost", "https://ci.example.org?a=b"]
    {
        let error = enable(Some(address)).unwrap_err().to_string();
        assert!(error.contains("--public-url"), "{address}: {error}");
    }
    assert!(enable(None).unwrap_err().to_string().contains("no public address"));
}

#[tokio::test]
async fn server_without_providers_ignores_cookies() {
    let server = Server::start();
    server.services.set_public_url(ORIGIN);
    super::browser::give(&server, Role::Viewer, RoleTarget::default()).await;
    let mut browser = Browser::signed_in(&server, "alice").await;
    assert_eq!(browser.get(&server, path::EXECUTIONS).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.get(&server, path::SIGN_IN_REPLY).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&server, path::SESSION).await.body, json!({ "providers": [] }));
}

#[tokio::test]
async fn tls_cookies_are_bound_to_the_host() {
    let server = Server::start();
    let provider = super::provider::Provider::start(server.clock.clone()).await;
    server.services.set_public_url("https://ci.example.org/tidemill");
    super::browser::enable(&server, provider.url());
    let mut browser = Browser::default();
    let address = browser.begin(&server, "/executions").await;
    let reply = browser.come_back(&server, &provider.consent(&address)).await;
    assert_eq!(location(&reply), "https://ci.example.org/tidemill/executions");
    for (name, _, attributes) in set_cookies(&reply.headers) {
        assert!(name.starts_with("__Host-tidemill-"), "{name}");
        assert!(
            attributes.contains("Path=/;") && attributes.ends_with("; HttpOnly; SameSite=Lax; Secure"),
            "{attributes}"
        );
    }
}

#[tokio::test]
async fn replies_of_providers_are_bounded_and_stay_at_their_address() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        for reply in [
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(2 << 20)),
        ] {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert!(connection.read(&mut [0; 4_096]).await.unwrap() > 0);
            // The client may hang up before it has read everything.
            let _ = connection.write_all(reply.as_bytes()).await;
        }
    });
    let client = HttpMessenger::default();
    let send = async |url: &str| {
        client.send(&ProviderRequest { url: url.to_owned(), form: None, authorization: None }).await
    };
    assert_eq!(send(&url).await.unwrap().status, 302, "no redirect is followed");
    let error = send(&url).await.unwrap_err();
    assert_eq!(error, RequestError::TooLarge(1 << 20));
    for address in ["http://192.0.2.1/", "http://id.example.org/", "file:///etc/passwd", "id"] {
        assert_eq!(send(address).await.unwrap_err(), RequestError::NoTls, "{address}");
    }
    task.await.unwrap();
}
