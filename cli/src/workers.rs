//! Workers that run in this process.

use crate::{args::CleanUp, deployment::Deployment, env_vars, failure::Outcome, settings::Settings};
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};
use tidemill_core::execution::{assignment::Resources, status::ExecutionStatus};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::repository::AddressPolicy;
use tidemill_core::{
    api::ExecutionView,
    ids::{ExecutionId, WorkerId},
};
use tidemill_worker::{Client, Worker, WorkerConfig, WorkerHandle};

/// Number of concurrent jobs: as requested, otherwise the number of processors, at least 2.
pub fn slots(requested: Option<u16>) -> usize {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    requested.map_or(processors.max(2), usize::from)
}

/// The name of this machine.
pub fn machine_name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname")
        .or_else(|| std::env::var(env_vars::HOSTNAME).ok())
        .unwrap_or_default();
    if name.trim().is_empty() { "worker".to_owned() } else { name.trim().to_owned() }
}

/// Configuration of a worker in this process.
pub fn config(settings: &Settings, slots: usize, given: &[Labels], name: String) -> Outcome<WorkerConfig> {
    Ok(WorkerConfig {
        name,
        slots,
        data_dir: settings.data_dir()?.join("worker"),
        docker_host: settings.docker_host.clone(),
        labels: labels(given),
        capacity: Resources::default(),
        // The user can fetch from any host anyway. Workers of servers have a stricter policy.
        addresses: AddressPolicy::unrestricted(),
        sources: settings.sources.clone(),
        limits: settings.worker_file()?.limits,
    })
}

/// The automatic labels of a worker, and the given ones.
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

/// Opens a worker for jobs of this process's own server. It is connected to the engine once this returns.
pub async fn open(settings: &Settings, slots: usize, labels: &[Labels]) -> Outcome<Worker> {
    let name = format!("{}:{}", machine_name(), std::process::id());
    Ok(Worker::open(config(settings, slots, labels, name)?).await?)
}

/// Closes a worker that is not needed.
pub async fn close(worker: Option<Worker>) {
    if let Some(worker) = worker {
        worker.close().await;
    }
}

/// Lets `worker` run the jobs of one execution.
pub fn work_for(worker: Worker, deployment: &Deployment, execution: ExecutionId) -> WorkerHandle {
    worker.work_for(&Client {
        server: deployment.url.clone(),
        token: deployment.token.clone(),
        only_execution: Some(execution),
        insecure_http: false,
    })
}

/// Stops a worker after its execution was watched. If the execution ended by itself, a process that outlives this one removes the
/// containers, since the engine is slow at that.
pub async fn end(settings: &Settings, worker: WorkerHandle, watched: &Outcome<ExecutionView>) -> Outcome {
    let ended = watched.as_ref().is_ok_and(|last| last.execution.status != ExecutionStatus::Canceled);
    if !ended {
        return Ok(worker.shutdown().await?);
    }
    if let Some(worker) = worker.leave().await? {
        clean_up_in_background(settings, worker);
    }
    Ok(())
}

/// Starts a process that outlives this one and removes what `worker` leaves.
pub fn clean_up_in_background(settings: &Settings, worker: WorkerId) {
    let Ok(data_dir) = settings.data_dir() else { return };
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(["clean-up", &worker.to_string()])
            .env(env_vars::DATA_DIR, data_dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the terminal must not end it.
            .process_group(0)
            .spawn()
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "clean-up was not started; the next start removes what jobs left");
    }
}

/// `tidemill clean-up`: removes what the worker of an ending process leaves.
pub async fn clean_up(settings: &Settings, args: &CleanUp) -> Outcome {
    let own = settings.data_dir()?.join("worker");
    Ok(tidemill_worker::clean_up(
        &own,
        settings.docker_host.as_deref(),
        settings.sources.clone(),
        args.worker,
    )
    .await?)
}
