//! A running worker: starting, draining and stopping.

use super::{
    backend::Backend,
    metrics::{WorkerMetrics, WorkerReadings},
    presence::{Presence, RunningJobs},
    setup::{ServerConnection, Worker},
    slot::{Slots, StopSignal},
};
use crate::{
    client::ApiClient,
    error::WorkerError,
    queue::job_source::{JobSource, LongPoll},
    store::{FileLock, WorkerDirs},
};
use prometheus::Registry;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::{WorkerInfo, WorkerReport},
    ids::WorkerId,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How long a stopping worker waits for the removal of its containers and directories.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(8);

/// Time between two cleanups.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Time until the next cleanup if something could not be removed: a busy engine may need a while for a container.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How long a stopping worker waits for its last report.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    id: WorkerId,
    stop: StopSignal,
    registry: Registry,
    skip_cleanup: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<bool, WorkerError>>,
}

impl Worker {
    /// Starts to run jobs of the server in `client`.
    #[must_use]
    pub fn start(self, client: &ServerConnection) -> WorkerHandle {
        let api = ApiClient::new(&client.server, &client.token).with_insecure_http(client.insecure_http);
        let source = Arc::new(LongPoll::new(api.clone(), client.only_execution));
        self.start_with_source(source, api, client.only_execution.is_some())
    }

    /// Starts to run jobs of `source`, and reports to `api`. `is_only_worker` is whether no other worker will take jobs that this
    /// one does not.
    #[must_use]
    pub fn start_with_source(
        self,
        source: Arc<dyn JobSource>,
        api: ApiClient,
        is_only_worker: bool,
    ) -> WorkerHandle {
        let stop = StopSignal::default();
        let skip_cleanup = Arc::new(AtomicBool::new(false));
        self.backend.sources().set_upload_server(api.clone());
        let running = RunningJobs::default();
        // A worker of one execution is there only for the command that started it.
        let presence = (!is_only_worker).then(|| Presence {
            api: api.clone(),
            report: self.report(),
            directory: self.config.data_dir.clone(),
            running: running.clone(),
            drain: stop.drain.clone(),
        });
        let metrics = WorkerMetrics::new(WorkerReadings {
            running: running.clone(),
            slots: self.config.slots.max(1),
            drain: stop.drain.clone(),
            backend: self.backend.clone(),
            directory: self.config.data_dir.clone(),
        });
        let registry = metrics.registry();
        let slots = Slots::new(&self, source, api, is_only_worker, stop.clone(), (running, metrics));
        let Self { id, backend, store, lock, .. } = self;
        let state = WorkerState { backend, store, skip_cleanup: skip_cleanup.clone(), presence };
        WorkerHandle { id, stop, registry, skip_cleanup, task: tokio::spawn(state.run(slots, lock)) }
    }

    /// Returns the report of a worker that runs nothing.
    fn report(&self) -> WorkerReport {
        WorkerReport {
            worker: WorkerInfo { id: self.id, name: self.config.name.clone() },
            labels: self.config.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: u32::try_from(self.config.slots.max(1)).unwrap_or(u32::MAX),
            disk: None,
            running: Vec::new(),
            draining: false,
            stopped: false,
        }
    }
}

/// Stops a worker that something else waits for.
#[derive(Debug, Clone)]
pub struct WorkerStop(StopSignal);

impl WorkerStop {
    /// Like [`WorkerHandle::stop`].
    pub fn stop(&self) {
        self.0.all();
    }
}

impl WorkerHandle {
    /// Returns the worker's id, for [`clean_up`](super::clean_up).
    #[must_use]
    pub const fn id(&self) -> WorkerId {
        self.id
    }

    /// Returns the worker's metrics for Prometheus.
    #[must_use]
    pub fn metrics(&self) -> Registry {
        self.registry.clone()
    }

    /// Stops taking jobs. Jobs that still run after `grace` are given back. If called again, the shorter grace applies.
    pub fn drain(&self, grace: Duration) {
        self.stop.drain.cancel();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(grace) => stop.now.cancel(),
                () = stop.now.cancelled() => {}
            }
        });
    }

    /// Stops taking jobs, and gives running jobs back immediately.
    pub fn stop(&self) {
        self.stop.all();
    }

    /// Returns what stops the worker while something else waits for it.
    #[must_use]
    pub fn stop_signal(&self) -> WorkerStop {
        WorkerStop(self.stop.clone())
    }

    /// Waits until the worker has ended: it was drained or stopped, or failed. Must not be called again afterwards.
    pub async fn wait(&mut self) -> Result<(), WorkerError> {
        flatten((&mut self.task).await).map(drop)
    }

    /// Stops the worker. Running jobs are given back, and all containers are removed when this returns.
    pub async fn shutdown(mut self) -> Result<(), WorkerError> {
        self.stop();
        self.wait().await
    }

    /// Stops like [`Self::shutdown`], but does not wait for the engine, as containers exit by themselves. Returns the worker's id
    /// if something is left for [`clean_up`](super::clean_up) in a process that lives longer.
    pub async fn stop_without_cleanup(self) -> Result<Option<WorkerId>, WorkerError> {
        self.skip_cleanup.store(true, Ordering::Relaxed);
        self.stop();
        Ok(flatten(self.task.await)?.then_some(self.id))
    }
}

fn flatten(ended: Result<Result<bool, WorkerError>, tokio::task::JoinError>) -> Result<bool, WorkerError> {
    ended.unwrap_or_else(|error| Err(WorkerError::Panicked(error.to_string())))
}

/// Runs jobs until `shutdown`, then gives running jobs back and cleans up.
pub async fn run(
    worker: Worker,
    client: ServerConnection,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let mut handle = worker.start(&client);
    tokio::select! {
        ended = handle.wait() => ended,
        () = shutdown.cancelled() => handle.shutdown().await,
    }
}

struct WorkerState {
    backend: Backend,
    store: WorkerDirs,
    skip_cleanup: Arc<AtomicBool>,
    presence: Option<Presence>,
}

impl WorkerState {
    /// Runs until the slots have ended, then cleans up. Returns whether something is still being removed.
    async fn run(self, slots: Slots, lock: FileLock) -> Result<bool, WorkerError> {
        let stop = CancellationToken::new();
        let cleaning = clean_up_periodically(self.backend.clone(), self.store.clone(), stop.clone());
        let cleaning = AbortOnDropHandle::new(tokio::spawn(cleaning));
        let ended = CancellationToken::new();
        let reporting = self
            .presence
            .map(|presence| AbortOnDropHandle::new(tokio::spawn(presence.report_until(ended.clone()))));
        let result = slots.serve().await;
        ended.cancel();
        self.backend.clear();
        // Preparations are canceled by now. Their git processes must not outlive this process.
        let _ = tokio::time::timeout(CLEANUP_TIMEOUT, self.backend.sources().wait_until_idle()).await;
        if let Some(reporting) = reporting {
            // It is bounded itself, unless a report waits for an unreachable server.
            let _ = tokio::time::timeout(LAST_REPORT_TIMEOUT, reporting).await;
        }
        let skip_cleanup = self.skip_cleanup.load(Ordering::Relaxed);
        if skip_cleanup && result.is_ok() && self.backend.leave_removals().await {
            // The process keeps the lock until it exits, so that no other worker cleans up before.
            std::mem::forget(lock);
            return Ok(true);
        }
        stop.cancel();
        let removed = async {
            if skip_cleanup {
                drop(cleaning);
            } else {
                let _ = cleaning.await;
            }
            self.backend.settle().await;
            if let Ok(engine) = self.backend.engine() {
                engine.remove_unused_volumes().await;
            }
        };
        if tokio::time::timeout(CLEANUP_TIMEOUT, removed).await.is_err() {
            tracing::warn!("the cleanup is incomplete; the next worker finishes it");
        }
        self.store.remove_own();
        drop(lock);
        result.map(|()| false)
    }
}

/// Cleans up periodically until `stop`; a cleanup that has begun is completed. The second cleanup follows soon after the first: the
/// engine may have been creating something when another worker was killed, and lists it only afterwards.
async fn clean_up_periodically(backend: Backend, store: WorkerDirs, stop: CancellationToken) {
    let mut is_first = true;
    while !stop.is_cancelled() {
        let all_removed = backend.clean_up(store.clone()).await;
        let pause = if all_removed && !is_first { CLEANUP_INTERVAL } else { RETRY_INTERVAL };
        is_first = false;
        let _ = tokio::time::timeout(pause, stop.cancelled()).await;
    }
}
