//! Workers that run in this process.

use crate::{
    args::CleanUp,
    deployment::Deployment,
    env_vars,
    execution::{clean_up, watch},
    failure::Outcome,
    settings::{Settings, worker_file::WorkerFile},
};
use std::{path::Path, time::Duration};
use tidemill_core::execution::{assignment::Resources, status::ExecutionStatus};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::repository::AddressPolicy;
use tidemill_core::{
    api::ExecutionView,
    ids::{ExecutionId, WorkerId},
};
use tidemill_worker::source::SourceSettings;
use tidemill_worker::{
    EndCondition, ExecutorKind, ProcessSettings, ServerConnection, Worker, WorkerConfig, WorkerHandle,
};

/// Returns the number of concurrent jobs: as requested, otherwise the number of processors, at least 2.
pub fn slots(requested: Option<u16>) -> usize {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    requested.map_or(processors.max(2), usize::from)
}

/// Returns the host name of this machine, or `worker` if it is unknown.
pub fn machine_name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname")
        .or_else(|| std::env::var(env_vars::HOSTNAME).ok())
        .unwrap_or_default();
    if name.trim().is_empty() { "worker".to_owned() } else { name.trim().to_owned() }
}

/// Returns the configuration of a worker in this process, with the settings of `file`.
pub fn config(
    settings: &Settings,
    slots: usize,
    custom_labels: &[Labels],
    name: String,
    file: WorkerFile,
) -> Outcome<WorkerConfig> {
    let slot_count = u64::try_from(slots).unwrap_or(u64::MAX).max(1);
    Ok(WorkerConfig {
        name,
        slots,
        data_dir: settings.data_dir()?.join("worker"),
        executor: executor(file.executor)?,
        docker_host: settings.docker_host.clone(),
        labels: labels(custom_labels),
        capacity: Resources::default(),
        // The user can fetch from any host anyway. The workers of a server have a stricter policy.
        addresses: AddressPolicy::unrestricted(),
        sources: SourceSettings { templates: file.templates, ..settings.sources.clone() },
        limits: file.limits,
        permissions: file.permissions,
        jobs: file.jobs,
        registries: settings.registries.clone(),
        slot_price: file.machine_price / slot_count,
        end: EndCondition::default(),
    })
}

/// Completes how jobs run: this program supervises those that are plain processes.
fn executor(kind: ExecutorKind) -> Outcome<ExecutorKind> {
    Ok(match kind {
        ExecutorKind::Containers => ExecutorKind::Containers,
        ExecutorKind::Processes(settings) => {
            // Its file may be replaced while it runs.
            let own = Path::new("/proc/self/exe");
            let program = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
            let supervisor = vec![program.into_os_string(), "supervise".into()];
            ExecutorKind::Processes(ProcessSettings { supervisor, ..settings })
        }
    })
}

/// Returns a worker's automatic labels `arch` and `os`, overridden and extended by custom ones.
pub fn labels(custom: &[Labels]) -> Labels {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let automatic = [("arch", arch), ("os", std::env::consts::OS)];
    let custom = custom.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
    automatic.into_iter().chain(custom).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Opens a worker for jobs of the server in this process, and connects it to the engine. `templates` is a directory of templates for
/// included files, instead of that of worker.toml.
pub async fn open(
    settings: &Settings,
    slots: usize,
    labels: &[Labels],
    templates: Option<&Path>,
) -> Outcome<Worker> {
    let name = format!("{}:{}", machine_name(), std::process::id());
    let mut file = settings.own_worker_file()?;
    if let Some(directory) = templates {
        file.templates = Some(std::path::absolute(directory)?);
    }
    Ok(Worker::open(config(settings, slots, labels, name, file)?).await?)
}

/// Closes a worker that did not run anything, if there is one.
pub async fn close(worker: Option<Worker>) {
    if let Some(worker) = worker {
        worker.close().await;
    }
}

/// Starts running the jobs of one execution on `worker`.
pub fn work_for(worker: Worker, deployment: &Deployment, execution: ExecutionId) -> WorkerHandle {
    let handle = worker.start(&ServerConnection {
        server: deployment.url.clone(),
        token: deployment.token.clone(),
        only_execution: Some(execution),
        insecure_http: false,
    });
    deployment.set_worker(&handle);
    handle
}

/// Stops a worker after its execution was watched. If the execution ended without a cancel, a background process removes the
/// containers, because the engine is slow at that.
pub async fn shut_down(
    settings: &Settings,
    worker: WorkerHandle,
    watched: &Outcome<ExecutionView>,
) -> Outcome {
    let has_ended = watched.as_ref().is_ok_and(|last| last.execution.status != ExecutionStatus::Canceled);
    if !has_ended {
        return Ok(worker.shutdown().await?);
    }
    if let Some(worker) = worker.stop_without_cleanup().await? {
        clean_up_in_background(settings, worker);
    }
    Ok(())
}

/// Starts a background process that removes the leftover containers and files of `worker`.
pub fn clean_up_in_background(settings: &Settings, worker: WorkerId) {
    if let Ok(data_dir) = settings.data_dir() {
        clean_up::start(data_dir, worker, None);
    }
}

/// `tidemill clean-up`: removes the leftover containers and files of an exiting worker, and awaits the end of the execution whose
/// jobs it ran: the leases that it held must expire, which a server sees.
pub async fn clean_up(settings: &Settings, args: &CleanUp) -> Outcome {
    let data_dir = settings.data_dir()?.join("worker");
    let sources = settings.sources.clone();
    let removed = tidemill_worker::clean_up(&data_dir, settings.docker_host.as_deref(), sources, args.worker);
    let (removed, ended) = tokio::join!(removed, Box::pin(await_end(settings, args.execution)));
    removed?;
    ended
}

/// Maximum time in which an execution ends whose worker is gone: that of its leases, and of what the server does then.
const MAX_END_TIME: Duration = Duration::from_secs(90);

/// Waits in a server of this process until a canceled execution has ended.
async fn await_end(settings: &Settings, execution: Option<ExecutionId>) -> Outcome {
    let Some(id) = execution else { return Ok(()) };
    let deployment = Deployment::connect(settings).await?;
    watch::cancel_within(&deployment, id, MAX_END_TIME).await;
    deployment.close().await;
    Ok(())
}
