//! A git provider on loopback that keeps check runs, notes and commit statuses. It rejects requests that do not match the schemas in
//! `fixtures/reports`.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
    sync::{Arc, Mutex},
};
use tidemill_core::time::Timestamp;
use tidemill_services::ports::Clock;
use tidemill_testkit::conformance::ManualClock;
use tokio::{net::TcpListener, task::JoinHandle};

pub const APP_ID: u64 = 77;
pub const INSTALLATION_ID: u64 = 88;

/// Returns a file of the fixtures.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports").join(name);
    fs::read_to_string(path).unwrap()
}

/// Returns the registration of the App.
pub fn app() -> Value {
    json!({ "set": { "app_id": APP_ID, "installation_id": INSTALLATION_ID, "private_key": fixture("app-key.pem") } })
}

/// What happens to a request instead of success.
#[derive(Debug, Clone)]
pub struct Fault {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    /// Whether the request has its effect all the same.
    pub has_effect: bool,
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), has_effect: false }
    }

    /// The request has its effect, and the reply is lost.
    pub fn lost_reply() -> Self {
        Self { has_effect: true, ..Self::status(502) }
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Default)]
struct Kept {
    /// Method and path of each request, except those for tokens.
    requests: Vec<String>,
    /// The next faults of requests that change something.
    faults: VecDeque<Fault>,
    /// Check runs by id, as GitHub keeps them.
    runs: BTreeMap<u64, Value>,
    /// Every state of a check run, in the order of the requests.
    states: Vec<String>,
    notes: BTreeMap<u64, String>,
    next_id: u64,
    tokens: usize,
    writers: BTreeSet<String>,
    violations: Vec<String>,
}

struct Shared {
    clock: Arc<ManualClock>,
    kept: Mutex<Kept>,
}

pub struct ReportProvider {
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for ReportProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ReportProvider {
    pub async fn start(clock: Arc<ManualClock>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { clock, kept: Mutex::default() });
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    pub fn fail_next(&self, fault: Fault) {
        self.shared.kept.lock().unwrap().faults.push_back(fault);
    }

    pub fn allow_writer(&self, login: &str) {
        self.shared.kept.lock().unwrap().writers.insert(login.to_owned());
    }

    /// Returns method and path of the requests since the last call, and checks that all matched their schemas.
    pub fn requests(&self) -> Vec<String> {
        let mut kept = self.shared.kept.lock().unwrap();
        assert_eq!(kept.violations, Vec::<String>::new());
        std::mem::take(&mut kept.requests)
    }

    pub fn runs(&self) -> Vec<Value> {
        self.shared.kept.lock().unwrap().runs.values().cloned().collect()
    }

    pub fn states(&self) -> Vec<String> {
        self.shared.kept.lock().unwrap().states.clone()
    }

    pub fn notes(&self) -> Vec<String> {
        self.shared.kept.lock().unwrap().notes.values().cloned().collect()
    }

    pub fn delete_notes(&self) {
        self.shared.kept.lock().unwrap().notes.clear();
    }

    pub fn tokens(&self) -> usize {
        self.shared.kept.lock().unwrap().tokens
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut kept = shared.kept.lock().unwrap();
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let path = uri.path().to_owned();
    let authorization = headers.get("authorization").or_else(|| headers.get("private-token"));
    let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if path.ends_with("/access_tokens") {
        return token(&shared, &mut kept, &path, &authorization, &body);
    }
    kept.requests.push(format!("{method} {path}"));
    if !["Bearer installation-", "Bearer T0KEN", "token T0KEN", "T0KEN"]
        .iter()
        .any(|token| authorization.starts_with(token))
    {
        kept.violations.push(format!("{method} {path}: {authorization}"));
        return reply(401, &[], &Value::Null);
    }
    if let Some(schema) = schema_of(&method, &path)
        && let Err(why) = check(schema, &body)
    {
        kept.violations.push(format!("{method} {path}: {why}"));
        return reply(422, &[], &Value::Null);
    }
    let fault = if method == Method::GET { None } else { kept.faults.pop_front() };
    if let Some(fault) = fault.as_ref().filter(|fault| !fault.has_effect) {
        return reply(fault.status, &fault.headers, &Value::Null);
    }
    let (status, value) = apply(&mut kept, &method, &path, uri.query().unwrap_or_default(), &body);
    match fault {
        Some(fault) => reply(fault.status, &fault.headers, &Value::Null),
        None => reply(status, &[], &value),
    }
}

fn reply(status: u16, headers: &[(&'static str, String)], body: &Value) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(body.to_string())).unwrap()
}

fn schema_of(method: &Method, path: &str) -> Option<&'static str> {
    let is_change = *method != Method::GET;
    [
        ("/check-runs", "github-check-run.json"),
        ("/comments", "github-comment.json"),
        ("/notes", "gitlab-note.json"),
    ]
    .into_iter()
    .find(|(part, _)| is_change && path.contains(part))
    .map(|(_, schema)| schema)
}

fn check(schema: &str, body: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(&fixture(schema)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

/// Returns a token of the installation, if the request is signed with the key of the App.
fn token(shared: &Shared, kept: &mut Kept, path: &str, authorization: &str, body: &Value) -> Response<Body> {
    assert_eq!(path, format!("/app/installations/{INSTALLATION_ID}/access_tokens"));
    check("github-access-token.json", body).unwrap();
    assert_eq!(body["repositories"], json!(["app"]));
    let parts: Vec<&str> = authorization.strip_prefix("Bearer ").unwrap().split('.').collect();
    let decoded =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    assert_eq!(decoded(parts[0]), json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = decoded(parts[1]);
    let now = shared.clock.now();
    let now_s = now.0 / 1_000;
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!(issued <= now_s && expires > now_s && expires - issued <= 600, "{claims}");
    assert_eq!(claims["iss"], APP_ID.to_string());
    let key = PrivateKeyDer::from_pem_slice(fixture("app-key.pem").as_bytes()).unwrap();
    let PrivateKeyDer::Pkcs1(key) = key else { panic!("another form of key") };
    let pair = RsaKeyPair::from_der(key.secret_pkcs1_der()).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap())
        .unwrap();
    kept.tokens += 1;
    let expires_at = Timestamp(now.0 + 3_600_000).to_string();
    let token = format!("installation-{}", kept.tokens);
    reply(201, &[], &json!({ "token": token, "expires_at": expires_at }))
}

fn apply(kept: &mut Kept, method: &Method, path: &str, query: &str, body: &Value) -> (u16, Value) {
    let id: Option<u64> = path.rsplit('/').next().and_then(|last| last.parse().ok());
    if let Some(login) = path.strip_suffix("/permission").and_then(|path| path.rsplit('/').next()) {
        let permission = if kept.writers.contains(login) { "write" } else { "read" };
        return (200, json!({ "permission": permission, "user": { "login": login } }));
    }
    if path.contains("/check-runs") {
        return apply_check_run(kept, method, id, query, body);
    }
    if path.contains("/comments") || path.contains("/notes") {
        let text = body["body"].as_str().unwrap().to_owned();
        let id = match id {
            Some(id) if kept.notes.contains_key(&id) => id,
            Some(_) => return (404, json!({ "message": "Not Found" })),
            None => {
                kept.next_id += 1;
                kept.next_id
            }
        };
        kept.notes.insert(id, text);
        return (if *method == Method::POST { 201 } else { 200 }, json!({ "id": id }));
    }
    (201, json!({}))
}

fn apply_check_run(
    kept: &mut Kept,
    method: &Method,
    id: Option<u64>,
    query: &str,
    body: &Value,
) -> (u16, Value) {
    let seen = |run: &Value| {
        let mut run = run.clone();
        run["output"]["annotations_count"] = json!(run["annotations"].as_array().map_or(0, Vec::len));
        run
    };
    if *method == Method::GET {
        if let Some(id) = id {
            return kept.runs.get(&id).map_or((404, Value::Null), |run| (200, seen(run)));
        }
        assert!(query.contains("filter=all") && query.contains("check_name=tidemill%2Fci"), "{query}");
        let runs: Vec<Value> = kept.runs.values().map(seen).collect();
        return (200, json!({ "total_count": runs.len(), "check_runs": runs }));
    }
    let id = if *method == Method::POST {
        for field in ["name", "head_sha", "external_id"] {
            assert!(body[field].is_string(), "{field}");
        }
        kept.next_id += 1;
        let id = kept.next_id;
        kept.runs.insert(id, json!({ "id": id, "annotations": [] }));
        id
    } else {
        id.unwrap()
    };
    let Some(run) = kept.runs.get_mut(&id) else { return (404, Value::Null) };
    for (name, value) in body.as_object().unwrap() {
        run[name] = value.clone();
    }
    // GitHub appends annotations.
    let added = run["output"]["annotations"].take();
    run["annotations"].as_array_mut().unwrap().extend(added.as_array().cloned().unwrap_or_default());
    if let Some(status) = body["status"].as_str() {
        let conclusion = body["conclusion"].as_str().map(|conclusion| format!(" {conclusion}"));
        kept.states.push(format!("{status}{}", conclusion.unwrap_or_default()));
    }
    (if *method == Method::POST { 201 } else { 200 }, seen(&kept.runs[&id]))
}
