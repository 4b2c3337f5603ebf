//! Workers in this process.

use crate::{
    deployment::Deployment,
    failure::{Failure, Outcome},
};
use tidemill_core::ids::ExecutionId;
use tidemill_worker::{Worker, WorkerConfig, WorkerHandle};

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

/// Starts a worker for a deployment.
pub async fn start(
    deployment: &Deployment,
    slots: usize,
    name: Option<String>,
    only_execution: Option<ExecutionId>,
) -> Outcome<WorkerHandle> {
    let config = WorkerConfig {
        server: deployment.url.clone(),
        token: deployment.token.clone(),
        name: name.unwrap_or_else(|| format!("{}:{}", machine(), std::process::id())),
        slots,
        data_dir: deployment.data_dir.join("worker"),
        only_execution,
        docker_host: std::env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty()),
    };
    Worker::start(config).await.map_err(|error| Failure::system(error.to_string()))
}
