//! What a command talks to: the deployment that it was pointed at, or a server of its own in this process.

use crate::{
    failure::{Failure, Outcome},
    output::{Printable, printable},
    settings::{Settings, Target},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Write as _;
use std::time::Duration;
use tidemill_core::{
    api::{
        ExecutionView, IDEMPOTENCY_KEY, JobView, SourceUploadReply, SourceUploadRequest, TRACEPARENT, path,
    },
    assignment::Source,
    ids::ExecutionId,
    report::is_named,
    test_report::ExecutionTests,
};
use tidemill_server::ConnectionLimits;
use tidemill_server::Embedded;
use tidemill_server::EmbeddedConfig;
use tidemill_services::services::{Services, SourcePolicy};
use tidemill_worker::{
    client::{ApiClient, ApiError, BackOff},
    source::SourcePack,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The longest that a held reply is asked for.
pub const WAIT_MS: u64 = 15_000;

/// The longest that a POST may take.
const LONGEST_POST: Duration = Duration::from_secs(60);
/// Tries of a call to a deployment.
const MOST_TRIES: u32 = 6;

/// A deployment.
#[derive(Debug)]
pub struct Deployment {
    /// Its API.
    pub api: ApiClient,
    /// Its address.
    pub url: String,
    /// Its token.
    pub token: String,
    /// The flags that point a command at it.
    pointer: String,
    own: Option<Own>,
}

/// A server of this process.
#[derive(Debug)]
struct Own {
    services: Services,
    shutdown: CancellationToken,
    served: JoinHandle<tidemill_services::Result<()>>,
}

/// Settings of an embedded server.
pub fn embedded_config(settings: &Settings) -> Outcome<EmbeddedConfig> {
    let lease_ttl_ms = settings.lease_ttl_ms;
    let sweep_every = Duration::from_millis((lease_ttl_ms / 4).clamp(100, 2_000));
    let data_dir = settings.data_dir()?.to_owned();
    // It serves the person who starts it. `tidemill server` says otherwise.
    let sources = SourcePolicy::unrestricted();
    // Enough for this process's own; `server` has limits of its own.
    let limits = ConnectionLimits { max_connections: 256, ..ConnectionLimits::default() };
    Ok(EmbeddedConfig { lease_ttl_ms, sweep_every, sources, limits, ..EmbeddedConfig::new(data_dir) })
}

impl Deployment {
    /// The deployment that the settings name, or a server in this process.
    pub async fn connect(settings: &Settings) -> Outcome<Self> {
        if let Target::Deployment { url, token, by_default, insecure_http } = &settings.target {
            let api = ApiClient::new(url, token)
                .trusting(settings.ca_cert.clone())
                .with_insecure_http(*insecure_http);
            // Before anything else is done for it.
            api.check_transport().await?;
            if let Some(profile) = by_default {
                crate::errln!("on {} (profile {})", Printable(url), Printable(profile));
            }
            let (url, token) = (url.clone(), token.clone());
            return Ok(Self { api, url, token, pointer: settings.pointer.clone(), own: None });
        }
        let listener = TcpListener::bind(("127.0.0.1", 0));
        let (listener, embedded) = tokio::join!(listener, Embedded::open(embedded_config(settings)?));
        let (listener, embedded) = (listener?, embedded?);
        let url = format!("http://{}", listener.local_addr()?);
        let token = embedded.token().to_owned();
        let shutdown = CancellationToken::new();
        let services = embedded.services().clone();
        let served = tokio::spawn(embedded.serve(listener, shutdown.clone()));
        Ok(Self {
            api: ApiClient::new(&url, &token),
            url,
            token,
            pointer: String::new(),
            own: Some(Own { services, shutdown, served }),
        })
    }

    /// Whether the server runs in this process, so that this process must also run the jobs.
    pub const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Has the server of this process give a secret to jobs, in place of what is stored.
    pub fn lend(&self, name: String, value: String) -> Outcome {
        let Some(own) = &self.own else {
            return Err(Failure::system(format!("there is no server of this process for secret {name}")));
        };
        let lent = own.services.secrets.lend(name, value);
        lent.map_err(|error| Failure::usage(error.to_string()))
    }

    /// How long it is waited for when it does not answer: a server of this process comes back soon, or never.
    pub const fn patience(&self) -> Duration {
        Duration::from_secs(if self.is_own() { 15 } else { 300 })
    }

    /// The command that watches an execution of it.
    pub fn watch_command(&self, id: ExecutionId) -> String {
        format!("tidemill watch {id}{}", self.pointer)
    }

    /// Stops a server of this process.
    pub async fn close(self) {
        let Some(Own { shutdown, served, .. }) = self.own else { return };
        shutdown.cancel();
        if let Ok(Err(error)) = served.await {
            tracing::warn!(%error, "the embedded server");
        }
    }

    /// What `call` gives. A deployment may be out of reach for a moment, or busy: then it is called again, so that
    /// the call must be one that may happen twice.
    pub async fn patiently<T>(&self, call: impl AsyncFn() -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut pauses = BackOff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut tries = 1;
        loop {
            match call().await {
                Err(error) if error.is_transient() && tries < MOST_TRIES && !self.is_own() => {
                    tracing::debug!(%error, tries, "the deployment is called again");
                    tokio::time::sleep(pauses.pause()).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// The bytes that a GET answers.
    pub async fn fetch(&self, path: &str) -> Outcome<Bytes> {
        let fetched = self.patiently(async || self.api.fetch(path, None).await).await?;
        Ok(fetched.map(|fetched| fetched.body).unwrap_or_default())
    }

    /// What a GET answers.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let body = self.fetch(path).await?;
        self.read(path, &body)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Outcome<T> {
        serde_json::from_slice(body).map_err(|error| {
            let error = printable(&error.to_string());
            Failure::system(format!("{}{path} gave an unreadable reply: {error}", self.url))
        })
    }

    /// What a POST answers that may happen twice.
    pub async fn post<Q: Serialize, T: DeserializeOwned>(&self, path: &str, request: &Q) -> Outcome<T> {
        self.post_with(path, request, &[]).await
    }

    /// What a POST answers that begins an execution. With `is_new` it begins one of its own, and just one however
    /// often it must be sent; without, the server knows by its content what was sent before.
    pub async fn begin<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        is_new: bool,
    ) -> Outcome<T> {
        let mut headers = vec![(TRACEPARENT, traceparent())];
        if is_new && !self.is_own() {
            headers.push((IDEMPOTENCY_KEY, Uuid::new_v4().to_string()));
        }
        self.post_with(path, request, &headers).await
    }

    async fn post_with<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        headers: &[(&'static str, String)],
    ) -> Outcome<T> {
        Ok(self.patiently(async || self.api.post_with(path, request, LONGEST_POST, headers).await).await?)
    }

    /// Gives the server what workers elsewhere cannot fetch, unless it has it; what they are told, and how many bytes were sent.
    pub async fn send_sources(&self, pack: SourcePack) -> Outcome<(Source, Option<u64>)> {
        if let Some(upload) = pack.name_before() {
            let request = SourceUploadRequest { upload, size: None };
            let asked: SourceUploadReply = self.post(path::SOURCE_UPLOAD, &request).await?;
            if asked.url.is_none() {
                return Ok((pack.named(&request.upload), None));
            }
        }
        let written = tokio::task::spawn_blocking(move || pack.write().map(|written| (pack, written))).await;
        let (pack, written) = written
            .map_err(|error| Failure::system(error.to_string()))?
            .map_err(|error| Failure::system(error.to_string()))?;
        let size = written.file.metadata()?.len();
        let request = SourceUploadRequest { upload: written.name, size: Some(size) };
        let place: SourceUploadReply = self.post(path::SOURCE_UPLOAD, &request).await?;
        let source = pack.named(&request.upload);
        // Somebody else may have been faster.
        let Some(url) = place.url else { return Ok((source, None)) };
        self.api.put_file(&url, &place.headers, &written.file).await?;
        Ok((source, Some(size)))
    }

    /// An execution with its jobs.
    pub async fn view(&self, id: ExecutionId) -> Outcome<ExecutionView> {
        self.get(&path::STATUS.replace("{executionId}", &id.to_string())).await
    }

    /// What the tests of an execution came to; none on a deployment of a version that does not read any.
    pub async fn tests(&self, id: ExecutionId) -> Outcome<ExecutionTests> {
        let path = path::TESTS.replace("{executionId}", &id.to_string());
        match self.patiently(async || self.api.fetch(&path, None).await).await {
            Err(ApiError::Refused { status: 404, .. }) | Ok(None) => Ok(ExecutionTests::default()),
            Ok(Some(fetched)) => self.read(&path, &fetched.body),
            Err(error) => Err(error.into()),
        }
    }

    /// An execution once it is another than `tag` says; its new tag with it. `None`: nothing changed for a while.
    pub async fn view_after(
        &self,
        id: ExecutionId,
        tag: Option<&str>,
    ) -> Result<Option<(ExecutionView, String)>, ApiError> {
        let path = path::STATUS.replace("{executionId}", &id.to_string());
        let Some(fetched) = self.api.fetch(&format!("{path}?wait_ms={WAIT_MS}"), tag).await? else {
            return Ok(None);
        };
        let tag = fetched.header("etag").unwrap_or_default().to_owned();
        let view = serde_json::from_slice(&fetched.body).map_err(|error| ApiError::Unreachable {
            url: format!("{}{path}", self.url),
            message: format!("unreadable reply: {error}"),
        })?;
        Ok(Some((view, tag)))
    }
}

/// `text` as a value of a query.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The beginning of a trace (W3C Trace Context), as a header: its id, the id of the call, and that it is recorded.
fn traceparent() -> String {
    let (trace, call) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().simple().to_string());
    format!("00-{trace}-{}-01", &call[..16])
}

/// The one job of an execution that `name` names; without a name its only one.
pub fn one_job<'a>(view: &'a ExecutionView, name: Option<&str>) -> Outcome<&'a JobView> {
    let found: Vec<&JobView> =
        view.jobs.iter().filter(|job| name.is_none_or(|name| is_named(job, name))).collect();
    if let Some(exact) = found.iter().find(|job| name == Some(job.job_name.as_str())) {
        return Ok(exact);
    }
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(Failure::usage(format!("no job is called that; there are {}", names(&view.jobs)))),
        _ => {
            let all: Vec<JobView> = found.into_iter().cloned().collect();
            Err(Failure::usage(format!("which job? Name one with --job: {}", names(&all))))
        }
    }
}

fn names(jobs: &[JobView]) -> String {
    jobs.iter().map(|job| format!("`{}`", Printable(&job.job_name))).collect::<Vec<_>>().join(", ")
}
