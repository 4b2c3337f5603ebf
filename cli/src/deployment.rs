//! The deployment that a command calls: a remote one, or a server in this process.

use crate::{
    env_vars,
    execution::{choices, clean_up},
    failure::{Failure, Outcome},
    output::{Printable, printable},
    settings::{Settings, Target, data_dir},
    view::{format, hint::CommandHints},
};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::Display,
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};
use tidemill_core::execution::{assignment::Source, report::jobs_named, test_report::ExecutionTests};
use tidemill_core::{
    api::{
        ExecutionView, IDEMPOTENCY_KEY, JobView, SourceUploadReply, SourceUploadRequest, TRACEPARENT, path,
    },
    ids::{ExecutionId, JobId, WorkerId},
    summary::view::SummaryList,
    text::choices::listed,
    trace::context::TraceContext,
};
use tidemill_server::ConnectionLimits;
use tidemill_server::EmbeddedConfig;
use tidemill_server::EmbeddedServer;
use tidemill_services::{Services, SourcePolicy};
use tidemill_worker::{
    WorkerHandle, WorkerStop,
    client::{ApiClient, ApiError, BackOff},
    source::SourcePack,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Wait time of a long poll in milliseconds, for which the server holds a reply until something changes.
pub const LONG_POLL_MS: u64 = 15_000;

/// Timeout of a POST request.
const POST_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of attempts of a call to a remote deployment.
const MAX_ATTEMPTS: u32 = 6;
/// A call is not repeated after this time: each attempt may have waited long for a reply.
const MAX_RETRY_TIME: Duration = Duration::from_secs(60);

/// A deployment.
#[derive(Debug)]
pub struct Deployment {
    /// Its API.
    pub api: ApiClient,
    /// Its address.
    pub url: String,
    /// Its token.
    pub token: String,
    /// Writes commands that act on it, for messages.
    hints: CommandHints,
    embedded: Option<EmbeddedHandle>,
}

/// Handle of the server in this process.
#[derive(Debug)]
struct EmbeddedHandle {
    services: Services,
    shutdown: CancellationToken,
    task: JoinHandle<tidemill_services::Result<()>>,
    data_dir: PathBuf,
    /// The worker of this process, once it runs the jobs of an execution.
    worker: OnceLock<(WorkerId, WorkerStop)>,
}

/// Returns the configuration of the embedded server.
pub fn embedded_config(settings: &Settings) -> Outcome<EmbeddedConfig> {
    let lease_ttl_ms = settings.lease_ttl_ms;
    let sweep_every = Duration::from_millis((lease_ttl_ms / 4).clamp(100, 2_000));
    let data_dir = settings.data_dir()?.to_owned();
    data_dir::prepare(&data_dir)?;
    // The embedded server has a single user. `tidemill server` has a stricter policy.
    let sources = SourcePolicy::unrestricted();
    // `tidemill server` sets other limits.
    let limits = ConnectionLimits { max_connections: 256, ..ConnectionLimits::default() };
    Ok(EmbeddedConfig { lease_ttl_ms, sweep_every, sources, limits, ..EmbeddedConfig::new(data_dir) })
}

impl Deployment {
    /// Connects to the deployment that the settings select, or starts a server in this process.
    pub async fn connect(settings: &Settings) -> Outcome<Self> {
        if let Target::Deployment { url, token, default_profile, insecure_http, .. } = &settings.target {
            let api = ApiClient::new(url, token)
                .with_certificate_authorities(settings.ca_cert.clone())
                .with_insecure_http(*insecure_http);
            api.check_transport().await?;
            if let Some(profile) = default_profile {
                crate::output::errln!("using {} (profile {})", Printable(url), Printable(profile));
            }
            let (url, token) = (url.clone(), token.clone());
            let hints = CommandHints::new(settings.deployment_flags.clone(), Some(url.clone()));
            return Ok(Self { api, url, token, hints, embedded: None });
        }
        let listener = TcpListener::bind(("127.0.0.1", 0));
        let config = embedded_config(settings)?;
        let data_dir = settings.data_dir()?.to_owned();
        let (listener, embedded) = tokio::join!(listener, EmbeddedServer::open(config));
        let (listener, embedded) = (listener?, embedded?);
        let url = format!("http://{}", listener.local_addr()?);
        let token = embedded.token().to_owned();
        let shutdown = CancellationToken::new();
        let services = embedded.services().clone();
        services.set_public_url(&url);
        let task = tokio::spawn(embedded.serve(listener, shutdown.clone()));
        Ok(Self {
            api: ApiClient::new(&url, &token),
            url,
            token,
            hints: CommandHints::new(settings.deployment_flags.clone(), None),
            embedded: Some(EmbeddedHandle { services, shutdown, task, data_dir, worker: OnceLock::new() }),
        })
    }

    /// Returns whether the server runs in this process, which then also runs the jobs.
    pub const fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Remembers the worker that runs jobs of the server in this process, for [`Self::stop_worker`].
    pub fn set_worker(&self, worker: &WorkerHandle) {
        if let Some(embedded) = &self.embedded {
            // A command starts one worker.
            let _ = embedded.worker.set((worker.id(), worker.stop_signal()));
        }
    }

    /// Kills the jobs that the worker of this process runs, if there is one.
    pub fn stop_worker(&self) {
        if let Some((_, stop)) = self.embedded.as_ref().and_then(|embedded| embedded.worker.get()) {
            stop.stop();
        }
    }

    /// Starts a process in the background that removes what the worker of this process leaves when it exits, and awaits the end of
    /// the execution `unfinished`.
    pub fn clean_up_in_background(&self, unfinished: Option<ExecutionId>) {
        let Some(embedded) = &self.embedded else { return };
        if let Some((worker, _)) = embedded.worker.get() {
            clean_up::start(&embedded.data_dir, *worker, unfinished);
        }
    }

    /// Passes a secret to the server in this process. It overrides a stored one, and is not stored.
    pub fn pass_secret(&self, name: String, value: String) -> Outcome {
        let Some(embedded) = &self.embedded else {
            return Err(Failure::system(format!(
                "secret {name} cannot be passed: the server does not run in this process"
            )));
        };
        let passed = embedded.services.secrets.set_in_memory(name, value);
        passed.map_err(|error| Failure::usage(error.to_string()))
    }

    /// Returns the maximum tolerated outage: a server in this process recovers soon or never.
    pub const fn max_outage(&self) -> Duration {
        Duration::from_secs(if self.is_embedded() { 15 } else { 300 })
    }

    /// Returns what writes commands that act on it.
    pub const fn hints(&self) -> &CommandHints {
        &self.hints
    }

    /// Stops the server in this process, if there is one.
    pub async fn close(self) {
        let Some(EmbeddedHandle { shutdown, task, .. }) = self.embedded else { return };
        shutdown.cancel();
        if let Ok(Err(error)) = task.await {
            tracing::warn!(%error, "the embedded server failed");
        }
    }

    /// Calls the API, and retries while a remote deployment is unreachable or busy. The call must be idempotent.
    pub async fn with_retries<T>(&self, call: impl AsyncFn() -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut back_off = BackOff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut attempts = 1;
        let started = Instant::now();
        loop {
            match call().await {
                // An invalid certificate does not become valid within seconds.
                Err(error @ ApiError::Tls { .. }) => return Err(error),
                Err(error)
                    if error.is_transient()
                        && attempts < MAX_ATTEMPTS
                        && started.elapsed() < MAX_RETRY_TIME
                        && !self.is_embedded() =>
                {
                    tracing::debug!(%error, attempts, "retrying a call to the deployment");
                    tokio::time::sleep(back_off.next_delay()).await;
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    /// Sends a GET request and returns the body of the reply.
    pub async fn fetch(&self, path: &str) -> Outcome<Bytes> {
        let fetched = self.with_retries(async || self.api.fetch(path, None).await).await?;
        Ok(fetched.map(|fetched| fetched.body).unwrap_or_default())
    }

    /// Sends a GET request and parses the JSON reply.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let body = self.fetch(path).await?;
        self.parse_reply(path, &body)
    }

    fn parse_reply<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Outcome<T> {
        serde_json::from_slice(body).map_err(|error| {
            let error = printable(&error.to_string());
            Failure::system(format!("{}{path} returned an invalid reply: {error}", self.url))
        })
    }

    /// Sends an idempotent POST request and parses the JSON reply.
    pub async fn post<Q: Serialize, T: DeserializeOwned>(&self, path: &str, request: &Q) -> Outcome<T> {
        self.post_with(path, request, &[]).await
    }

    /// Sends a POST request that starts an execution. With `is_new` it has a new idempotency key, so that retries start only one
    /// execution; otherwise the server derives the key from the request.
    pub async fn start<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        is_new: bool,
    ) -> Outcome<T> {
        let trace = traceparent().map(|trace| (TRACEPARENT, trace));
        let mut headers: Vec<_> = trace.into_iter().collect();
        if is_new && !self.is_embedded() {
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
        Ok(self.with_retries(async || self.api.post_with(path, request, POST_TIMEOUT, headers).await).await?)
    }

    /// Uploads sources that remote workers cannot fetch, unless the server has them. Returns the source for workers, and the number
    /// of uploaded bytes.
    pub async fn upload_sources(&self, pack: SourcePack) -> Outcome<(Source, Option<u64>)> {
        if let Some(upload) = pack.previous_name() {
            let request = SourceUploadRequest { upload, size: None };
            let known: SourceUploadReply = self.post(path::SOURCE_UPLOAD, &request).await?;
            if known.url.is_none() {
                return Ok((pack.source_for(&request.upload), None));
            }
        }
        let written = tokio::task::spawn_blocking(move || pack.write().map(|written| (pack, written))).await;
        let (pack, written) = written
            .map_err(|error| Failure::system(error.to_string()))?
            .map_err(|error| Failure::system(error.to_string()))?;
        let size = written.file.metadata()?.len();
        let request = SourceUploadRequest { upload: written.name, size: Some(size) };
        let reply: SourceUploadReply = self.post(path::SOURCE_UPLOAD, &request).await?;
        let source = pack.source_for(&request.upload);
        // Another upload of the same pack may have finished meanwhile.
        let Some(url) = reply.url else { return Ok((source, None)) };
        self.api.put_file(&url, &reply.headers, &written.file).await?;
        Ok((source, Some(size)))
    }

    /// Fetches an execution with its jobs.
    pub async fn view(&self, id: ExecutionId) -> Outcome<ExecutionView> {
        let path = path::STATUS.replace("{executionId}", &id.to_string());
        let mut view: ExecutionView = self.get(&path).await?;
        let next = view.next_cursor.take();
        view.jobs.extend(self.with_retries(async || self.jobs_after(&path, next.clone()).await).await?);
        Ok(view)
    }

    /// Fetches the jobs after the first page of a view. They may be newer than the page.
    async fn jobs_after(&self, path: &str, mut cursor: Option<String>) -> Result<Vec<JobView>, ApiError> {
        let mut jobs = Vec::new();
        while let Some(from) = &cursor {
            let page = self.api.fetch(&format!("{path}?cursor={}", query_encoded(from)), None).await?;
            let page: ExecutionView =
                self.parse_view(path, &page.map(|page| page.body).unwrap_or_default())?;
            jobs.extend(page.jobs);
            cursor = page.next_cursor;
        }
        Ok(jobs)
    }

    fn parse_view(&self, path: &str, body: &[u8]) -> Result<ExecutionView, ApiError> {
        serde_json::from_slice(body).map_err(|error| ApiError::Unreachable {
            url: format!("{}{path}", self.url),
            message: format!("invalid reply: {error}"),
        })
    }

    /// Fetches the test results of an execution; they are empty if the server has none.
    pub async fn tests(&self, id: ExecutionId) -> Outcome<ExecutionTests> {
        let path = path::TESTS.replace("{executionId}", &id.to_string());
        match self.with_retries(async || self.api.fetch(&path, None).await).await {
            Err(ApiError::Rejected { status: 404, .. }) | Ok(None) => Ok(ExecutionTests::default()),
            Ok(Some(fetched)) => self.parse_reply(&path, &fetched.body),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches the list of summaries and annotations of an execution; it is empty if the server has none.
    pub async fn summaries(&self, id: ExecutionId) -> Outcome<SummaryList> {
        let path = path::SUMMARIES.replace("{executionId}", &id.to_string());
        match self.with_retries(async || self.api.fetch(&path, None).await).await {
            Err(ApiError::Rejected { status: 404, .. }) | Ok(None) => Ok(SummaryList::default()),
            Ok(Some(fetched)) => self.parse_reply(&path, &fetched.body),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches the summary of a job; `None` if it has expired.
    pub async fn summary_text(&self, job: JobId) -> Outcome<Option<String>> {
        let path = path::SUMMARY_TEXT.replace("{jobId}", &job.to_string());
        match self.with_retries(async || self.api.fetch(&path, None).await).await {
            Err(ApiError::Rejected { status: 404, .. }) | Ok(None) => Ok(None),
            Ok(Some(fetched)) => Ok(Some(String::from_utf8_lossy(&fetched.body).into_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the URL at which the records are served: the deployment's, or that of a server that runs beside this command.
    pub async fn server_url(&self, settings: &Settings) -> Outcome<Option<String>> {
        if !self.is_embedded() {
            return Ok(Some(self.url.clone()));
        }
        let Some(url) = data_dir::recorded_address(settings.data_dir()?) else { return Ok(None) };
        // A server that was killed has left its address. Another certificate than this machine's does not matter here.
        let health = ApiClient::new(&url, "").fetch(path::HEALTH, None).await;
        Ok(matches!(health, Ok(_) | Err(ApiError::Tls { .. })).then_some(url))
    }

    /// Waits until the entity tag of an execution differs from `tag`, and returns the execution with its tag. `None`: it did not
    /// change within the wait time.
    pub async fn view_after(
        &self,
        id: ExecutionId,
        tag: Option<&str>,
    ) -> Result<Option<(ExecutionView, String)>, ApiError> {
        let path = path::STATUS.replace("{executionId}", &id.to_string());
        let Some(fetched) = self.api.fetch(&format!("{path}?wait_ms={LONG_POLL_MS}"), tag).await? else {
            return Ok(None);
        };
        let tag = fetched.header("etag").unwrap_or_default().to_owned();
        let mut view = self.parse_view(&path, &fetched.body)?;
        // Jobs of the next pages may be newer than the tag, which then differs from that of the next reply.
        let next = view.next_cursor.take();
        view.jobs.extend(self.jobs_after(&path, next).await?);
        Ok(Some((view, tag)))
    }
}

/// Percent-encodes `text` as a value in a query.
pub fn query_encoded(text: &str) -> impl Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// Returns the trace that this process is part of, as the value of the header `traceparent` (W3C Trace Context).
fn traceparent() -> Option<String> {
    let context = TraceContext::parse(&std::env::var(env_vars::TRACEPARENT).ok()?)?;
    Some(context.to_string())
}

/// Returns the job of this name; without a name, the execution's only job.
pub fn find_job<'a>(view: &'a ExecutionView, name: Option<&str>) -> Outcome<&'a JobView> {
    match find_jobs(view, name)?.as_slice() {
        [only] => Ok(only),
        jobs => Err(several_jobs(jobs)),
    }
}

/// Returns the job of this name, or all jobs of its matrix; without a name, the execution's only job.
pub fn find_jobs<'a>(view: &'a ExecutionView, name: Option<&str>) -> Outcome<Vec<&'a JobView>> {
    let matches = match name {
        Some(name) => jobs_named(&view.jobs, name),
        None => view.jobs.iter().collect(),
    };
    match matches.as_slice() {
        [] => {
            let name = name.unwrap_or_default();
            Err(choices::unknown_job(&format::title(&view.execution), [view], name))
        }
        [_, _, ..] if name.is_none() => Err(several_jobs(&matches)),
        _ => Ok(matches),
    }
}

/// Returns the failure for several jobs that fit where one is needed.
fn several_jobs(jobs: &[&JobView]) -> Failure {
    let names: Vec<&str> = jobs.iter().map(|job| job.job_name.as_str()).collect();
    Failure::usage(format!("several jobs match; name one: {}", listed(&names)))
}
