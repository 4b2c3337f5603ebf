//! An OpenID provider over HTTP on this machine, which can be made to lie.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tidemill_core::access::sessions::challenge_of;
use tidemill_services::ports::Clock;
use tidemill_testkit::conformance::ManualClock;
use tokio::{net::TcpListener, task::JoinHandle};
use url::{Url, form_urlencoded};

pub const CLIENT_ID: &str = "tidemill";
pub const CLIENT_SECRET: &str = "a secret: with/odd characters";

/// What the provider remembers of a consent.
struct Consent {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

/// How the provider behaves.
pub struct Behaviour {
    /// Claims that replace those of the ID token; null removes one.
    pub claims: Value,
    /// Claims that replace those of the details.
    pub details: Value,
    /// Replaces the algorithm in the head of the token.
    pub algorithm: &'static str,
    /// Signs with a key that is not published.
    pub signs_with_other_key: bool,
    /// Replies with this status to requests for tokens.
    pub status: StatusCode,
    /// Requests for tokens so far.
    pub exchanges: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            claims: json!({}),
            details: json!({}),
            algorithm: "ES256",
            signs_with_other_key: false,
            status: StatusCode::OK,
            exchanges: 0,
        }
    }
}

struct Shared {
    url: String,
    clock: Arc<ManualClock>,
    published: EcdsaKeyPair,
    other: EcdsaKeyPair,
    consents: Mutex<HashMap<String, Consent>>,
    behaviour: Mutex<Behaviour>,
}

/// A running provider.
pub struct Provider {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn new_key() -> EcdsaKeyPair {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap()
}

/// Returns `claims` with those of `changes`.
fn changed(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

impl Shared {
    fn token(&self, nonce: &str) -> String {
        let behaviour = self.behaviour.lock().unwrap();
        let now = self.clock.now().0 / 1_000;
        let claims = json!({
            "iss": self.url, "aud": CLIENT_ID, "sub": "alice-7", "nonce": nonce, "iat": now, "exp": now + 300,
        });
        let claims = changed(claims, &behaviour.claims);
        let head = json!({ "alg": behaviour.algorithm, "kid": "one", "typ": "JWT" });
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encoded(&head), encoded(&claims));
        let key = if behaviour.signs_with_other_key { &self.other } else { &self.published };
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn configuration(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let url = &shared.url;
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize?prompt=login"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"), "userinfo_endpoint": format!("{url}/details"), "scopes_supported": ["openid", "groups"],
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let point = shared.published.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    let key =
        json!({ "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256", "x": x, "y": y });
    Json(json!({ "keys": [{ "kty": "unknown" }, key] }))
}

async fn tokens(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let status = {
        let mut behaviour = shared.behaviour.lock().unwrap();
        behaviour.exchanges += 1;
        behaviour.status
    };
    let refused = |status: StatusCode| (status, Json(json!({ "error": "invalid_grant" })));
    if status != StatusCode::OK {
        return refused(status);
    }
    // RFC 6749, 2.3.1: both parts are form-encoded.
    let pair = format!("{CLIENT_ID}:a+secret%3A+with%2Fodd+characters");
    assert_eq!(headers["authorization"], format!("Basic {}", STANDARD.encode(pair)));
    // A code is valid once.
    let Some(consent) = shared.consents.lock().unwrap().remove(&form["code"]) else {
        return refused(StatusCode::BAD_REQUEST);
    };
    let is_valid = challenge_of(&form["code_verifier"]) == consent.challenge
        && form["redirect_uri"] == consent.redirect_uri
        && form["grant_type"] == "authorization_code";
    if !is_valid {
        return refused(StatusCode::BAD_REQUEST);
    }
    let token = shared.token(&consent.nonce);
    (StatusCode::OK, Json(json!({ "id_token": token, "access_token": "access", "token_type": "Bearer" })))
}

async fn details(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer access");
    let claims = json!({
        "sub": "alice-7", "email": "alice@example.org", "email_verified": true, "groups": ["developers"],
    });
    Json(changed(claims, &shared.behaviour.lock().unwrap().details))
}

impl Provider {
    pub async fn start(clock: Arc<ManualClock>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            clock,
            published: new_key(),
            other: new_key(),
            consents: Mutex::default(),
            behaviour: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(tokens))
            .route("/details", get(details))
            .with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Changes how the provider behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap());
    }

    pub fn exchanges(&self) -> usize {
        self.shared.behaviour.lock().unwrap().exchanges
    }

    /// A person consents at the address to which the server sent the browser. Returns the query with which the browser comes back.
    pub fn consent(&self, address: &str) -> HashMap<String, String> {
        let url = Url::parse(address).unwrap();
        assert_eq!(
            format!("{}{}", url.origin().ascii_serialization(), url.path()),
            format!("{}/authorize", self.url())
        );
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("scope", "openid profile email groups"),
            ("code_challenge_method", "S256"),
            ("prompt", "login"),
        ] {
            assert_eq!(query[name], value);
        }
        let consent = Consent {
            nonce: query["nonce"].clone(),
            challenge: query["code_challenge"].clone(),
            redirect_uri: query["redirect_uri"].clone(),
        };
        let code = format!("code-{}", uuid::Uuid::new_v4());
        self.shared.consents.lock().unwrap().insert(code.clone(), consent);
        let state = query["state"].clone();
        [("code", code), ("state", state), ("iss", self.url().to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}
