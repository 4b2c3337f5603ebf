//! The worker's loop: one for each slot, asking for a job and running it.

use crate::{
    artifact::{ArtifactCache, ArtifactMover},
    client::{ApiClient, ApiError},
    engine::DockerManager,
    error::WorkerError,
    executor::JobExecutor,
    parking::ParkingLot,
    source,
    store::{FileLock, Store},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest, WorkerInfo},
    assignment::Preparation,
    ids::{ExecutionId, WorkerId},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A slot that got no job for so long lets go of what is kept for one.
const IDLE: Duration = Duration::from_secs(10);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The worker's name, for people.
    pub name: String,
    /// Jobs at the same time.
    pub slots: usize,
    /// Caches and working directories; everything of the worker is below it.
    pub data_dir: PathBuf,
    /// The engine's address in the form of `DOCKER_HOST`; absent: the usual socket.
    pub docker_host: Option<String>,
}

/// Whom a worker works for.
#[derive(Debug, Clone)]
pub struct Client {
    /// The server: `http://host:port`.
    pub server: String,
    /// Its bearer token.
    pub token: String,
    /// Run only jobs of this execution.
    pub only_execution: Option<ExecutionId>,
}

/// A worker that has its engine and its directories, and no jobs yet.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    id: WorkerId,
    engine: Arc<DockerManager>,
    lot: Arc<ParkingLot>,
    store: Store,
    lock: FileLock,
}

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    id: WorkerId,
    shutdown: CancellationToken,
    leaving: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<bool, WorkerError>>,
}

impl Worker {
    /// Gets everything but jobs.
    pub async fn open(config: WorkerConfig) -> Result<Self, WorkerError> {
        let id = WorkerId(uuid::Uuid::now_v7());
        let (store, lock) = Store::open(&config.data_dir, &id.to_string())?;
        let engine =
            DockerManager::connect(config.docker_host.as_deref(), store.clone(), id.to_string()).await?;
        let engine = Arc::new(engine);
        let lot = Arc::new(ParkingLot::new(engine.clone(), config.slots.max(1)));
        Ok(Self { config, id, engine, lot, store, lock })
    }

    /// Makes containers for jobs that will come soon.
    pub fn prepare(&self, upcoming: &[Preparation]) {
        self.lot.prepare(upcoming);
    }

    /// Begins to ask `client` for jobs.
    #[must_use]
    pub fn work_for(self, client: Client) -> WorkerHandle {
        let shutdown = CancellationToken::new();
        let leaving = Arc::new(AtomicBool::new(false));
        let Self { config, id, engine, lot, store, lock } = self;
        let working = Working {
            config,
            client,
            id,
            engine,
            lot,
            store,
            shutdown: shutdown.clone(),
            leaving: leaving.clone(),
        };
        WorkerHandle { id, shutdown, leaving, task: tokio::spawn(working.run(lock)) }
    }

    /// Removes what was prepared, for nothing.
    pub async fn close(self) {
        self.lot.clear();
        self.engine.settle().await;
        self.store.remove_own();
    }
}

impl WorkerHandle {
    /// Stops: running jobs are given back; once this returns, all containers are removed.
    pub async fn shutdown(self) -> Result<(), WorkerError> {
        self.shutdown.cancel();
        self.join().await.map(drop)
    }

    /// Stops as [`Self::shutdown`] does, but does not wait for the engine: containers end by themselves. Names the
    /// worker if something of it is left, for [`clean_up`] in a process that lives longer.
    pub async fn leave(self) -> Result<Option<WorkerId>, WorkerError> {
        self.leaving.store(true, Ordering::Relaxed);
        self.shutdown.cancel();
        let id = self.id;
        Ok(self.join().await?.then_some(id))
    }

    async fn join(self) -> Result<bool, WorkerError> {
        self.task.await.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string())))
    }
}

/// Works until `shutdown`, then gives running jobs back and cleans up.
pub async fn run(
    config: WorkerConfig,
    client: Client,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let mut handle = Worker::open(config).await?.work_for(client);
    tokio::select! {
        done = &mut handle.task => {
            done.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string()))).map(drop)
        }
        () = shutdown.cancelled() => handle.shutdown().await,
    }
}

/// Removes what the worker `left` of `data_dir` leaves, once its process is no more: containers and directories.
pub async fn clean_up(data_dir: &Path, docker_host: Option<&str>, left: WorkerId) -> Result<(), WorkerError> {
    let id = WorkerId(uuid::Uuid::now_v7()).to_string();
    let (store, lock) = Store::open(data_dir, &id)?;
    let engine = DockerManager::connect(docker_host, store.clone(), id).await?;
    let waiting = store.clone();
    let gone = tokio::task::spawn_blocking(move || waiting.wait_for_end(&left.to_string())).await;
    if let Ok(Err(error)) = gone {
        tracing::debug!(%error, "the end of the worker's process cannot be seen");
    }
    clean(Arc::new(engine), store.clone()).await;
    store.remove_own();
    drop(lock);
    Ok(())
}

#[derive(Clone)]
struct Working {
    config: WorkerConfig,
    client: Client,
    id: WorkerId,
    engine: Arc<DockerManager>,
    lot: Arc<ParkingLot>,
    store: Store,
    shutdown: CancellationToken,
    leaving: Arc<AtomicBool>,
}

impl Working {
    async fn run(self, lock: FileLock) -> Result<bool, WorkerError> {
        let cleaning = tokio::spawn(clean(self.engine.clone(), self.store.clone()));
        let api = ApiClient::new(&self.client.server, &self.client.token);
        self.engine.sources.take_uploads_from(api.clone());
        let mut slots = JoinSet::new();
        for _ in 0..self.config.slots.max(1) {
            slots.spawn(self.clone().slot(api.clone()));
        }
        let mut result = Ok(false);
        while let Some(ended) = slots.join_next().await {
            if let Ok(Err(error)) = ended {
                self.shutdown.cancel();
                result = Err(error);
            }
        }
        self.lot.clear();
        if self.leaving.load(Ordering::Relaxed) && result.is_ok() {
            // The lock goes with the process: until then nobody takes what is left for a dead worker's.
            std::mem::forget(lock);
            return Ok(self.engine.is_busy());
        }
        self.engine.settle().await;
        cleaning.abort();
        self.store.remove_own();
        drop(lock);
        result
    }

    async fn slot(self, api: ApiClient) -> Result<(), WorkerError> {
        // A server on this machine has them at hand: a copy would only fill the disk.
        let far = !api.is_on_this_machine();
        let cache = far.then(|| ArtifactCache::new(self.store.cache().join("artifacts")));
        let artifacts = ArtifactMover { api: api.clone(), engine: self.engine.clone(), cache };
        let executor =
            JobExecutor { api: api.clone(), engine: self.engine.clone(), lot: self.lot.clone(), artifacts };
        let request = JobExecuteRequest {
            worker: WorkerInfo { id: self.id, name: self.config.name.clone() },
            job_id: None,
            execution_id: self.client.only_execution,
            wait_ms: 20_000,
            lookahead: u32::try_from(self.config.slots).unwrap_or(u32::MAX),
        };
        let mut failures = 0_u32;
        let mut idle_since = Instant::now();
        loop {
            let reply = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                reply = api.execute(&request) => reply,
            };
            match reply {
                Ok(JobExecuteReply::Assigned { assignment, upcoming }) => {
                    failures = 0;
                    let lot = self.lot.clone();
                    executor.run(*assignment, self.shutdown.clone(), move || lot.prepare(&upcoming)).await;
                    idle_since = Instant::now();
                }
                Ok(JobExecuteReply::Nothing { reason }) => {
                    failures = 0;
                    tracing::trace!(%reason, "nothing to run");
                    if idle_since.elapsed() > IDLE {
                        self.lot.rest();
                    }
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
    // A directory goes after the container that has it mounted.
    let gone = engine.remove_orphans().await;
    let cleaned = tokio::task::spawn_blocking(move || {
        if gone {
            store.remove_dead();
        }
        source::prune(&store.cache());
    });
    let _ = cleaned.await;
}
