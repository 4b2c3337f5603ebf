//! A browser: cookies of one server, and the requests of its pages.

use super::{
    provider::{CLIENT_ID, CLIENT_SECRET, Provider},
    server::{BOOT, Reply, Server},
};
use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use tidemill_core::{
    access::{
        provider::ProviderKind,
        roles::{Person, Role, RoleRequest, RoleTarget},
        sessions::CSRF_HEADER,
    },
    api::path,
};
use tidemill_services::{Caller, HttpMessenger, ProviderOptions, ProviderSettings, http::TokenVerifier};
use url::form_urlencoded;

/// Address of the server in these tests; its name needs no TLS.
pub const ORIGIN: &str = "http://localhost:7600";

/// Returns a server where people can sign in with an OpenID provider at `issuer`.
pub fn server_with(issuer: &str) -> Server {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(0));
    enable(&server, issuer);
    server
}

pub fn enable(server: &Server, issuer: &str) {
    server.services.set_public_url(&format!("{ORIGIN}/"));
    let options = ProviderOptions {
        url: Some(issuer.to_owned()),
        client_id: Some(CLIENT_ID.into()),
        client_secret: Some(CLIENT_SECRET.into()),
        groups_claim: None,
    };
    let settings = ProviderSettings::new(ProviderKind::Oidc, options).unwrap();
    server.services.enable_sign_in(vec![settings], Arc::new(HttpMessenger::default())).unwrap();
}

/// Returns a server and its provider.
pub async fn server_and_provider() -> (Server, Provider) {
    let server = Server::with_verifier(TokenVerifier::from_token(BOOT).with_rate_limit(0));
    let provider = Provider::start(server.clock.clone()).await;
    enable(&server, provider.url());
    (server, provider)
}

/// Gives a role.
pub async fn give(server: &Server, role: Role, target: RoleTarget) {
    let admin = Caller::bootstrap(tidemill_core::access::Scope::Admin);
    server.services.roles.set(RoleRequest { role, target }, &admin).await.unwrap();
}

/// A rule for one person of the OpenID provider.
pub fn user(name: &str, repo: Option<&str>) -> RoleTarget {
    RoleTarget { user: Some(format!("oidc:{name}")), group: None, repo: repo.map(str::to_owned) }
}

/// A browser with the cookies of one server.
#[derive(Default, Clone)]
pub struct Browser {
    pub cookies: HashMap<String, String>,
}

impl Browser {
    /// Returns the browser of a person who has signed in.
    pub async fn signed_in(server: &Server, name: &str) -> Self {
        let person = Person::new(ProviderKind::Oidc, name, Some(name), [name], []);
        let (_, cookie) = server.services.sessions.create(person, Some("a browser"), None).await.unwrap();
        Self { cookies: [("tidemill-session".to_owned(), cookie)].into() }
    }

    /// Sends a request, and keeps the cookies of the reply.
    pub async fn send(
        &mut self,
        server: &Server,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json");
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let reply = server.send(request.body(body).unwrap()).await;
        for (name, value, _) in set_cookies(&reply.headers) {
            if value.is_empty() {
                self.cookies.remove(&name);
            } else {
                self.cookies.insert(name, value);
            }
        }
        reply
    }

    /// Calls the API as the server's own pages do.
    pub async fn call(&mut self, server: &Server, method: &str, path: &str, body: Value) -> Reply {
        let headers = [(CSRF_HEADER, "1"), ("origin", ORIGIN), ("sec-fetch-site", "same-origin")];
        self.send(server, method, path, &headers, body).await
    }

    pub async fn get(&mut self, server: &Server, path: &str) -> Reply {
        self.send(server, "GET", path, &[], Value::Null).await
    }

    /// Begins to sign in, and returns the address at the provider.
    pub async fn begin(&mut self, server: &Server, return_to: &str) -> String {
        let path = format!("{}?provider=oidc&return_to={}", path::SIGN_IN, encoded(return_to));
        let reply = self.get(server, &path).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
        location(&reply)
    }

    /// Comes back from the provider.
    pub async fn come_back(&mut self, server: &Server, query: &HashMap<String, String>) -> Reply {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.get(server, &format!("{}?{query}", path::SIGN_IN_REPLY)).await
    }

    /// Signs in with the provider.
    pub async fn sign_in(&mut self, server: &Server, provider: &Provider) -> Reply {
        let address = self.begin(server, "/executions?repo=a%2Fb").await;
        self.come_back(server, &provider.consent(&address)).await
    }

    /// Returns who the caller is.
    pub async fn caller(&mut self, server: &Server) -> Value {
        let reply = self.get(server, path::SESSION).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        reply.body["caller"].clone()
    }
}

pub fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub fn location(reply: &Reply) -> String {
    reply.headers["location"].to_str().unwrap().to_owned()
}

/// Returns name, value and attributes of the cookies that a reply sets.
pub fn set_cookies(headers: &HeaderMap) -> Vec<(String, String, String)> {
    let all = headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    all.map(|text| {
        let (pair, attributes) = text.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned(), attributes.to_owned())
    })
    .collect()
}

/// The body that starts an execution.
pub fn start_body(repo: &str) -> Value {
    json!({ "pipeline": super::server::PIPELINE, "repo": repo, "source": { "kind": "none" }, "force": true })
}
