//! The worker's loop: one for each slot, asking for a job and running it.

use crate::{
    client::{ApiClient, ApiError},
    engine::DockerManager,
    error::WorkerError,
    executor::JobExecutor,
    parking::ParkingLot,
    source,
    store::{FileLock, Store},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest, WorkerInfo},
    assignment::Preparation,
    ids::{ExecutionId, WorkerId},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The server: `http://host:port`.
    pub server: String,
    /// Its bearer token.
    pub token: String,
    /// The worker's name, for people.
    pub name: String,
    /// Jobs at the same time.
    pub slots: usize,
    /// Caches and working directories; everything of the worker is below it.
    pub data_dir: PathBuf,
    /// Run only jobs of this execution.
    pub only_execution: Option<ExecutionId>,
    /// The engine's address in the form of `DOCKER_HOST`; absent: the usual socket.
    pub docker_host: Option<String>,
}

/// A worker.
#[derive(Debug)]
pub struct Worker;

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    lot: Arc<ParkingLot>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    /// Starts a worker; it works once this returns.
    pub async fn start(config: WorkerConfig) -> Result<WorkerHandle, WorkerError> {
        let id = WorkerId(uuid::Uuid::now_v7());
        let (store, lock) = Store::open(&config.data_dir, &id.to_string())?;
        let engine =
            DockerManager::connect(config.docker_host.as_deref(), store.clone(), id.to_string()).await?;
        let engine = Arc::new(engine);
        let lot = Arc::new(ParkingLot::new(engine.clone(), config.slots.max(1)));
        let shutdown = CancellationToken::new();
        let working = Working { config, id, engine, lot: lot.clone(), store, shutdown: shutdown.clone() };
        let task = tokio::spawn(working.run(lock));
        Ok(WorkerHandle { lot, shutdown, task })
    }
}

impl WorkerHandle {
    /// Makes containers for jobs that will come soon.
    pub fn prepare(&self, upcoming: &[Preparation]) {
        self.lot.prepare(upcoming);
    }

    /// Stops: running jobs are given back, containers removed. With `hard` nothing is waited for: what is left ends by
    /// itself as its connection breaks, and the next start removes the rest.
    pub async fn shutdown(self, hard: bool) -> Result<(), WorkerError> {
        self.shutdown.cancel();
        if hard {
            self.task.abort();
            return Ok(());
        }
        self.join().await
    }

    async fn join(self) -> Result<(), WorkerError> {
        self.task.await.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string())))
    }
}

/// Works until `shutdown`, then gives running jobs back and cleans up.
pub async fn run(config: WorkerConfig, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut handle = Worker::start(config).await?;
    tokio::select! {
        done = &mut handle.task => done.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string()))),
        () = shutdown.cancelled() => handle.shutdown(false).await,
    }
}

#[derive(Clone)]
struct Working {
    config: WorkerConfig,
    id: WorkerId,
    engine: Arc<DockerManager>,
    lot: Arc<ParkingLot>,
    store: Store,
    shutdown: CancellationToken,
}

impl Working {
    async fn run(self, lock: FileLock) -> Result<(), WorkerError> {
        let cleaning = tokio::spawn(clean(self.engine.clone(), self.store.clone()));
        let api = ApiClient::new(&self.config.server, &self.config.token);
        let mut slots = JoinSet::new();
        for _ in 0..self.config.slots.max(1) {
            slots.spawn(self.clone().slot(api.clone()));
        }
        let mut result = Ok(());
        while let Some(ended) = slots.join_next().await {
            if let Ok(Err(error)) = ended {
                self.shutdown.cancel();
                result = Err(error);
            }
        }
        self.lot.clear().await;
        self.engine.settle().await;
        cleaning.abort();
        self.store.remove_own();
        drop(lock);
        result
    }

    async fn slot(self, api: ApiClient) -> Result<(), WorkerError> {
        let executor = JobExecutor { api: api.clone(), engine: self.engine.clone() };
        let request = JobExecuteRequest {
            worker: WorkerInfo { id: self.id, name: self.config.name.clone() },
            job_id: None,
            execution_id: self.config.only_execution,
            wait_ms: 20_000,
            lookahead: u32::try_from(self.config.slots).unwrap_or(u32::MAX),
        };
        let mut failures = 0_u32;
        loop {
            let reply = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                reply = api.execute(&request) => reply,
            };
            match reply {
                Ok(JobExecuteReply::Assigned { assignment, upcoming }) => {
                    failures = 0;
                    let parked = self.lot.take(&assignment.preparation);
                    let lot = self.lot.clone();
                    executor
                        .run(*assignment, parked, self.shutdown.clone(), move || lot.prepare(&upcoming))
                        .await;
                }
                Ok(JobExecuteReply::Nothing { reason }) => {
                    failures = 0;
                    tracing::trace!(%reason, "nothing to run");
                    // A server that does not hold the request must not be asked in a tight loop.
                    self.pause(Duration::from_millis(20)).await;
                }
                Err(ApiError::Refused { status: 401 | 403, message, .. }) => {
                    return Err(WorkerError::Refused(message));
                }
                Err(error @ ApiError::Address(_)) => return Err(WorkerError::Refused(error.to_string())),
                Err(error) => {
                    failures += 1;
                    tracing::debug!(%error, failures, "no job could be asked for");
                    self.pause(Duration::from_millis((100_u64 << failures.min(6)).min(5000))).await;
                }
            }
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

async fn clean(engine: Arc<DockerManager>, store: Store) {
    engine.remove_orphans().await;
    let cleaned = tokio::task::spawn_blocking(move || {
        store.remove_dead();
        source::prune(&store.cache());
    });
    let _ = cleaned.await;
}
