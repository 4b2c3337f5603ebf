//! Builds images with the engine's BuildKit.

mod connection;
mod grpc;
mod messages;
mod progress;
mod session;

use super::logins::{JobLogins, LoginSearch};
use crate::engine::{
    failures::{engine_failure, pull_failure},
    manager::DockerManager,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::errors::Error as EngineError;
use bytes::{Bytes, BytesMut};
pub(in crate::engine) use connection::EngineHttp;
use connection::{error_text, failure};
use futures_util::Stream;
use messages::StatusResponse;
use progress::BuildProgress;
use prost::Message as _;
use reqwest::Body;
use serde::Deserialize;
use session::{BuildSession, SessionSettings};
use std::{collections::BTreeMap, io, path::PathBuf};
use tidemill_core::execution::{
    assignment::ImageBuild,
    failure::{FailureKind, FailureReason},
};

/// Maximum length of one report of the engine in bytes.
const MAX_REPORT_SIZE: usize = 16 << 20;
/// The name that built images have in the engine, with a tag for each.
pub const BUILT_NAME: &str = "tidemill/build";

/// An image to build.
pub struct BuildRequest {
    /// What the job asks for.
    pub build: ImageBuild,
    /// The values of its secrets, by their ids.
    pub secrets: Vec<(String, String)>,
    /// The logins of the job.
    pub logins: JobLogins,
    /// The images that the build names.
    pub images: Vec<String>,
    /// The socket of the SSH agent that it may use.
    pub ssh_agent: Option<PathBuf>,
}

/// Why an image was not built.
#[derive(Debug)]
pub struct BuildFailure {
    /// The reason.
    pub reason: FailureReason,
    /// The name of the step that failed, as in `[2/3] RUN make`.
    pub step: Option<String>,
}

impl From<FailureReason> for BuildFailure {
    fn from(reason: FailureReason) -> Self {
        Self { reason, step: None }
    }
}

/// A report of the engine about a build.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    aux: Option<serde_json::Value>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    detail: Option<ErrorDetail>,
    #[serde(default)]
    stream: Option<String>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: String,
}

impl DockerManager {
    /// Builds an image from `context`, a tar, and returns its id. `log` receives output. Dropping the future cancels the build.
    pub async fn build_image<C>(
        &self,
        order: BuildRequest,
        context: C,
        mut log: impl FnMut(Vec<u8>),
    ) -> Result<String, BuildFailure>
    where
        C: Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    {
        self.check_platform(&order.build).await?;
        let http = EngineHttp::new(self)?;
        let settings = SessionSettings {
            secrets: order.secrets,
            registries: self.registries.clone(),
            logins: order.logins,
            images: order.images,
            ssh_agent: order.ssh_agent,
        };
        let session = BuildSession::open(&http, settings).await?;
        let query = self.build_query(&order.build, &session.id);
        let mut reply = http.post("/build", &query, Body::wrap_stream(context)).await?;
        if !reply.status().is_success() {
            let is_request = reply.status().is_client_error();
            let message = error_text(reply).await;
            let kind = if is_request { FailureKind::ScriptFailed } else { FailureKind::EngineFailed };
            return Err(FailureReason::new(kind, format!("the engine rejects the build: {message}")).into());
        }
        let mut progress = BuildProgress::default();
        let mut received = BytesMut::new();
        let mut image = None;
        while let Some(chunk) =
            reply.chunk().await.map_err(|error| failure(&error.without_url().to_string()))?
        {
            received.extend_from_slice(&chunk);
            while let Some(end) = memchr::memchr(b'\n', &received) {
                let line = received.split_to(end + 1);
                // Reports of unknown kinds are skipped.
                let Ok(report) = serde_json::from_slice::<Report>(&line) else { continue };
                match (report.id.as_deref(), report.aux) {
                    (Some("moby.buildkit.trace"), Some(serde_json::Value::String(trace))) => {
                        let change = STANDARD
                            .decode(trace)
                            .ok()
                            .and_then(|bytes| StatusResponse::decode(&*bytes).ok());
                        let lines = change.map(|change| progress.lines(change)).unwrap_or_default();
                        if !lines.is_empty() {
                            log(lines);
                        }
                    }
                    (_, Some(aux)) => {
                        image = aux.get("ID").and_then(|id| id.as_str()).map(str::to_owned).or(image);
                    }
                    (_, None) => {}
                }
                if let Some(text) = report.stream {
                    log(text.into_bytes());
                }
                if let Some(error) = report.error.or(report.detail.map(|detail| detail.message)) {
                    return Err(build_failure(&progress, &error));
                }
            }
            if received.len() > MAX_REPORT_SIZE {
                return Err(failure("a message of the engine is longer than 16 MiB").into());
            }
        }
        Ok(image.ok_or_else(|| failure("the build ended without an image"))?)
    }

    fn build_query(&self, build: &ImageBuild, session: &str) -> Vec<(&'static str, String)> {
        let mut args: BTreeMap<String, String> =
            self.settings.proxies.variables(std::iter::empty()).into_iter().collect();
        args.extend(build.args.clone());
        if build.inline_cache {
            args.insert("BUILDKIT_INLINE_CACHE".into(), "1".into());
        }
        let json = |value: serde_json::Value| value.to_string();
        let mut query = vec![
            ("version", "2".to_owned()),
            ("session", session.to_owned()),
            ("buildid", session.to_owned()),
            ("t", format!("{BUILT_NAME}:{session}")),
            ("dockerfile", build.dockerfile.clone()),
            ("buildargs", json(serde_json::json!(args))),
            ("labels", json(serde_json::json!(build.labels))),
            ("rm", "1".to_owned()),
        ];
        if let Some(target) = &build.target {
            query.push(("target", target.clone()));
        }
        if !build.cache_from.is_empty() {
            query.push(("cachefrom", json(serde_json::json!(build.cache_from))));
        }
        if build.pull {
            query.push(("pull", "1".to_owned()));
        }
        query
    }

    /// Returns a failure if the build is for another platform than the engine's.
    async fn check_platform(&self, build: &ImageBuild) -> Result<(), FailureReason> {
        let Some(asked) = &build.platform else { return Ok(()) };
        let version = self.docker.version().await;
        let version = version.map_err(|error| engine_failure("its version could not be read", &error))?;
        let own = format!("{}/{}", version.os.unwrap_or_default(), version.arch.unwrap_or_default());
        let asked = &asked.replace("/x86_64", "/amd64").replace("/aarch64", "/arm64");
        if *asked == own || asked.strip_prefix(&own).is_some_and(|rest| rest.starts_with('/')) {
            return Ok(());
        }
        let message = format!(
            "the job builds an image for `{asked}`, and its worker builds images for `{own}` only; choose a worker of that platform \
             with `runs_on`, and build for each platform in a job of its own"
        );
        Err(FailureReason::new(FailureKind::NotAllowed, message))
    }
}

/// Returns why a build failed: because of an image that could not be pulled, or because of the Dockerfile.
fn build_failure(progress: &BuildProgress, error: &str) -> BuildFailure {
    let Some((name, message)) = progress.failed() else {
        let engine = EngineError::DockerStreamError { error: error.to_owned() };
        let reason = match engine_failure("the image could not be built", &engine) {
            full if full.kind == FailureKind::DiskFull => full,
            _ => FailureReason::new(
                FailureKind::ScriptFailed,
                format!("the image could not be built: {error}"),
            ),
        };
        return reason.into();
    };
    let engine = EngineError::DockerStreamError { error: message.to_owned() };
    if let Some(image) = pulled_image(name) {
        let reason = pull_failure(image, &LoginSearch::default(), &engine);
        return BuildFailure { reason, step: Some(name.to_owned()) };
    }
    let reason = match engine_failure("the image could not be built", &engine) {
        // The error of a `RUN` contains its command, which can have any text.
        full if full.kind == FailureKind::DiskFull && !is_run(name) => full,
        _ => FailureReason::new(FailureKind::ScriptFailed, message.to_owned()),
    };
    BuildFailure { reason, step: Some(name.to_owned()) }
}

/// Whether a step runs a command.
fn is_run(step: &str) -> bool {
    step.split_once("] ").is_some_and(|(_, instruction)| instruction.starts_with("RUN "))
}

/// Returns the image that a step looks up or pulls.
fn pulled_image(step: &str) -> Option<&str> {
    if let Some(image) = step.strip_prefix("[internal] load metadata for ") {
        return Some(image.trim());
    }
    let (_, instruction) = step.strip_prefix('[')?.split_once("] ")?;
    instruction.strip_prefix("FROM ").map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::pulled_image;

    #[test]
    fn image_of_a_step_is_the_one_that_it_looks_up_or_pulls() {
        assert_eq!(
            pulled_image("[internal] load metadata for docker.io/library/a:1"),
            Some("docker.io/library/a:1")
        );
        assert_eq!(
            pulled_image("[base 1/2] FROM localhost:5000/b:1@sha256:0"),
            Some("localhost:5000/b:1@sha256:0")
        );
        assert_eq!(pulled_image("[2/2] RUN echo FROM x"), None);
        assert_eq!(pulled_image("importing cache manifest from a:1"), None);
    }
}
