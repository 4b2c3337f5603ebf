//! Workers in this process.

use crate::{
    args::CleanUp,
    deployment::Deployment,
    failure::{Failure, Outcome},
    settings::Settings,
};
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};
use tidemill_core::{
    api::ExecutionView,
    assignment::Resources,
    ids::{ExecutionId, WorkerId},
    labels::Labels,
    repo::AddressPolicy,
    status::ExecutionStatus,
};
use tidemill_worker::{Client, Worker, WorkerConfig, WorkerHandle, source::SourceSettings};

/// How many jobs run at the same time unless told.
pub fn slots(told: Option<u16>) -> usize {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    told.map_or(processors.max(2), usize::from)
}

/// The name of this machine.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let name =
        read("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "worker".to_owned() } else { name.trim().to_owned() }
}

/// What a worker of this process is, below the data directory of this machine.
pub fn config(settings: &Settings, slots: usize, given: &[Labels], name: String) -> Outcome<WorkerConfig> {
    Ok(WorkerConfig {
        name,
        slots,
        data_dir: settings.data_dir()?.join("worker"),
        docker_host: docker_host(),
        labels: labels(given),
        capacity: Resources::default(),
        // What this person could fetch without Tidemill. Workers of servers say otherwise.
        addresses: AddressPolicy::unrestricted(),
        sources: sources()?,
        limits: settings.worker_file()?.limits,
    })
}

/// The labels that every worker has, and those that it was given.
pub fn labels(given: &[Labels]) -> Labels {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let implicit = [("arch", arch), ("os", std::env::consts::OS)];
    let given = given.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
    implicit.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Opens a worker for jobs of this process's own server; it has an engine once this returns.
pub async fn open(settings: &Settings, slots: usize, labels: &[Labels]) -> Outcome<Worker> {
    let name = format!("{}:{}", machine(), std::process::id());
    Ok(Worker::open(config(settings, slots, labels, name)?).await?)
}

/// Closes a worker that was opened for nothing.
pub async fn close(worker: Option<Worker>) {
    if let Some(worker) = worker {
        worker.close().await;
    }
}

/// Has `worker` run the jobs of one execution.
pub fn work_for(worker: Worker, deployment: &Deployment, execution: ExecutionId) -> WorkerHandle {
    worker.work_for(&Client {
        server: deployment.url.clone(),
        token: deployment.token.clone(),
        only_execution: Some(execution),
        insecure_http: false,
    })
}

/// Lets go of a worker whose execution was watched to its end, or not. Containers of one that ended by itself are
/// removed by a process that outlives this one, since the engine takes longer for that than anyone should wait.
pub async fn end(settings: &Settings, worker: WorkerHandle, watched: &Outcome<ExecutionView>) -> Outcome {
    let ended = watched.as_ref().is_ok_and(|last| last.execution.status != ExecutionStatus::Canceled);
    if !ended {
        return Ok(worker.shutdown().await?);
    }
    if let Some(worker) = worker.leave().await? {
        clean_up_later(settings, worker);
    }
    Ok(())
}

/// Has a process that outlives this one remove what `worker` leaves.
pub fn clean_up_later(settings: &Settings, worker: WorkerId) {
    let Ok(data_dir) = settings.data_dir() else { return };
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(["clean-up", &worker.to_string()])
            .env("TIDEMILL_DATA_DIR", data_dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the terminal is not meant for it.
            .process_group(0)
            .spawn()
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "what jobs left is removed at the next start");
    }
}

/// `tidemill clean-up`: removes what the worker of a process left that is about to end.
pub async fn clean_up(settings: &Settings, args: &CleanUp) -> Outcome {
    let own = settings.data_dir()?.join("worker");
    Ok(tidemill_worker::clean_up(&own, docker_host().as_deref(), sources()?, args.worker).await?)
}

/// How sources are fetched, and what is kept of them, as the environment says.
fn sources() -> Outcome<SourceSettings> {
    SourceSettings::from_variables(|name| std::env::var(name).ok()).map_err(Failure::usage)
}

fn docker_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty())
}
