//! Builds the image of a job: after its script, or instead of one.

use super::{context::BuildContext, dockerfile, sharing::store_image};
use crate::{
    engine::{BuildRequest, Container, JobLogins},
    job::{
        attempt::{Attempt, EarlyEnd, Signals},
        job_executor::JobExecutor,
        reporter::Reporter,
        script_run::FinishedScript,
    },
    workspace::{FileOwner, HostWorkspace},
};
use futures_util::stream;
use std::{sync::Arc, time::Duration};
use tidemill_core::{
    api::AttemptEnd,
    execution::{
        assignment::{Assignment, ImageBuild},
        failure::{FailureKind, FailureReason},
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// Maximum number of unsent chunks of a context.
const MAX_QUEUED_CHUNKS: usize = 16;
/// How long the reporter may take for the script's last output.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(60);

/// An image that was built.
struct BuiltImage {
    /// Its id in the engine.
    id: String,
    /// Under which later jobs use it: the first name that it was pushed under, by its digest; otherwise its id.
    reference: String,
}

/// Builds the image of an attempt without a script.
pub async fn build_only(
    executor: &JobExecutor,
    attempt: &mut Attempt,
    build: &ImageBuild,
) -> Result<AttemptEnd, EarlyEnd> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let started = Instant::now();
    reporter.phase("preparing");
    let work = async {
        let sources = executor.engine.checkout(&assignment.preparation, FileOwner::Worker).await?;
        let broken = |error: std::io::Error| {
            let message = format!("the workspace of the build could not be prepared: {error}");
            FailureReason::new(FailureKind::WorkerFailed, message)
        };
        let directory = executor.engine.temporary_directory().map_err(broken)?;
        let open = |path| HostWorkspace::directory_at(path).map(Arc::new).map_err(broken);
        let own = open(directory.path())?;
        for artifact in assignment.files() {
            executor.artifacts.restore_into(&own, artifact).await?;
        }
        let mut layers = vec![own];
        if let Some(sources) = &sources {
            layers.push(open(&sources.path)?);
        }
        build_and_push(executor, assignment, reporter, build, &layers).await
    };
    let built = tokio::select! {
        built = work => built,
        end = stop_reason(signals, started, assignment.timeout_s) => match end {
            EarlyEnd::Failed(reason) => Err(reason),
            EarlyEnd::LeaseLost => return Err(EarlyEnd::LeaseLost),
        },
    };
    Ok(attempt_end(reporter, built).await)
}

/// Builds the image of an attempt whose script has ended, if it succeeded. Returns the end; `None`: its lease is lost.
pub async fn build_after_script(
    executor: &JobExecutor,
    attempt: &mut Attempt,
    script: &mut FinishedScript<Container>,
    end: AttemptEnd,
    started: Instant,
) -> Option<AttemptEnd> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let Some(build) = assignment.extras.build.as_ref().filter(|_| end.failure.is_none()) else {
        return Some(end);
    };
    // The script's output comes first.
    if let Ok(Ok(pipe)) = tokio::time::timeout(MAX_DRAIN_TIME, &mut script.output).await {
        let (sender, receiver) = oneshot::channel();
        drop(sender.send(pipe));
        script.output = receiver;
    }
    let work = async {
        let Some(workspace) = executor.engine.host_workspace(&script.sandbox.workspace).await else {
            let message = "the worker cannot read the job's workspace, as its engine is on another machine; build the image in a job \
                           without `script`, which gets its files as artifacts";
            return Err(FailureReason::new(FailureKind::WorkerFailed, message));
        };
        build_and_push(executor, assignment, reporter, build, &[workspace]).await
    };
    let built = tokio::select! {
        built = work => built,
        end = stop_reason(signals, started, assignment.timeout_s) => match end {
            EarlyEnd::Failed(reason) => Err(reason),
            EarlyEnd::LeaseLost => return None,
        },
    };
    let built = attempt_end(reporter, built).await;
    Some(AttemptEnd { exit_code: end.exit_code, ..built })
}

async fn attempt_end(reporter: &Reporter, built: Result<BuiltImage, FailureReason>) -> AttemptEnd {
    match built {
        Ok(image) => AttemptEnd {
            outputs: [("IMAGE_ID", image.id), ("IMAGE_REFERENCE", image.reference)]
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
            ..AttemptEnd::default()
        },
        Err(reason) => {
            reporter.log(format!("{}\n", reason.message).as_bytes()).await;
            AttemptEnd { failure: Some(reason), ..AttemptEnd::default() }
        }
    }
}

/// Waits until a build has to stop: when it is canceled, at the job's time limit, or when the worker stops.
async fn stop_reason(signals: &mut Signals, started: Instant, timeout_s: u64) -> EarlyEnd {
    tokio::select! {
        end = signals.stopped() => match end {
            EarlyEnd::Failed(reason) if reason.kind == FailureKind::Canceled => {
                let message = "the job was canceled while its image was built";
                FailureReason::new(FailureKind::Canceled, message).into()
            }
            end => end,
        },
        () = tokio::time::sleep_until(started + Duration::from_secs(timeout_s)) => {
            let message = format!(
                "the image was still being built at the job's timeout of {timeout_s} s; raise `timeout`, or make the build faster"
            );
            FailureReason::new(FailureKind::TimedOut, message).into()
        }
    }
}

/// Builds the image from the workspace that consists of `layers`, and pushes it.
async fn build_and_push(
    executor: &JobExecutor,
    assignment: &Assignment,
    reporter: &Reporter,
    build: &ImageBuild,
    layers: &[Arc<HostWorkspace>],
) -> Result<BuiltImage, FailureReason> {
    reporter.phase("building the image");
    let engine = &executor.engine;
    let (opened, own) = (layers.to_vec(), build.clone());
    let context = blocking(move || BuildContext::open(&opened, &own.context, &own.dockerfile)).await?;
    let secrets = assignment.extras.secrets.iter().filter(|secret| build.secrets.contains(&secret.variable));
    let logins = JobLogins::of(assignment);
    let base = dockerfile::base_images(&context.dockerfile);
    let order = BuildRequest {
        build: build.clone(),
        secrets: secrets.map(|secret| (secret.variable.clone(), secret.value.clone())).collect(),
        logins: logins.clone(),
        images: build.tags.iter().chain(&build.cache_from).cloned().chain(base).collect(),
        ssh_agent: engine.permissions.ssh_agent(&assignment.preparation.origin).filter(|_| build.ssh),
    };
    let (sender, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let chunks = stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) });
    let (packed, max) = (context.clone(), engine.limits().artifact_bytes);
    let packing = tokio::task::spawn_blocking(move || packed.pack(&sender, max));
    let built = logged(reporter, async |lines| {
        engine.build_image(order, chunks, |text| drop(lines.send(text))).await
    });
    let image = match built.await {
        Ok(image) => image,
        Err(failure) => {
            // The engine only sees a tar that ends early.
            if let Ok(Err(reason)) = packing.await {
                return Err(reason);
            }
            let reason = failure.reason;
            let line = failure
                .step
                .as_deref()
                .and_then(|step| Some((dockerfile::line_of_step(&context.dockerfile, step)?, step)));
            return Err(match line {
                Some((line, step)) if reason.kind == FailureKind::ScriptFailed => {
                    let message = format!(
                        "the build failed at line {line} of {}: {step}: {}",
                        build.dockerfile, reason.message
                    );
                    FailureReason::new(reason.kind, message)
                }
                _ => reason,
            });
        }
    };
    reporter.log(format!("Built {image}\n").as_bytes()).await;
    let mut pushed = None;
    if build.push {
        reporter.phase("pushing the image");
        for tag in &build.tags {
            let reference = logged(reporter, async |lines| {
                engine.push_image(&image, tag, &logins, |line| drop(lines.send(line.into_bytes()))).await
            })
            .await?;
            pushed.get_or_insert(reference);
        }
    }
    engine.built.insert(assignment.preparation.execution_id, &image);
    if !build.push {
        store_image(executor, assignment, reporter, &image).await?;
    }
    engine.remove_expired_builds().await;
    Ok(BuiltImage { reference: pushed.unwrap_or_else(|| image.clone()), id: image })
}

/// Runs `work`, and adds what it sends to the log.
async fn logged<T>(reporter: &Reporter, work: impl AsyncFnOnce(mpsc::UnboundedSender<Vec<u8>>) -> T) -> T {
    let (sender, mut lines) = mpsc::unbounded_channel::<Vec<u8>>();
    let show = async {
        while let Some(text) = lines.recv().await {
            reporter.log(&text).await;
        }
    };
    tokio::join!(work(sender), show).0
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FailureReason> + Send + 'static,
) -> Result<T, FailureReason> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(FailureReason::new(FailureKind::Internal, error.to_string())))
}
