//! A worker from its start to its end: what it has, how it is stopped, and what it leaves.

use crate::{
    capacity::{Amount, memory_for_jobs},
    client::ApiClient,
    engine::DockerManager,
    error::WorkerError,
    job_source::{JobSource, LongPoll},
    limits::Limits,
    metadata_guard::{self, METADATA},
    parking::ParkingLot,
    slot::{Slots, Stop},
    source::{Reach, SourceSettings, Sources},
    store::{FileLock, Store},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    assignment::{Preparation, Resources},
    ids::{ExecutionId, WorkerId},
    labels::Labels,
    repo::{AddressPolicy, Credentials, RepositoryAddress},
};
use tokio_util::sync::CancellationToken;

/// How often what is left is looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long a worker that stops waits until what its jobs left is removed.
const MAX_SETTLE: Duration = Duration::from_secs(8);
/// Less memory engines give to no container.
const MIN_MEMORY: u64 = 6 << 20;

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
    /// Labels; a job that demands others is not this worker's.
    pub labels: Labels,
    /// What jobs may ask for together; what is absent is the engine's machine's.
    pub capacity: Resources,
    /// Hosts of repositories that its operator allows, beside public ones and those that the server says are registered.
    pub addresses: AddressPolicy,
    /// How sources are fetched, and what is kept of them.
    pub sources: SourceSettings,
    /// What one job may use at most.
    pub limits: Limits,
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
    /// Whether the token may be sent to another machine without TLS.
    pub insecure_http: bool,
}

/// A worker that has its engine and its directories, and no jobs yet.
#[derive(Debug)]
pub struct Worker {
    pub(crate) config: WorkerConfig,
    pub(crate) id: WorkerId,
    pub(crate) capacity: Amount,
    pub(crate) most_per_job: Amount,
    pub(crate) engine: Arc<DockerManager>,
    pub(crate) lot: Arc<ParkingLot>,
    pub(crate) store: Store,
    lock: FileLock,
}

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    id: WorkerId,
    stop: Stop,
    leaving: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<bool, WorkerError>>,
}

impl Worker {
    /// Gets everything but jobs.
    pub async fn open(config: WorkerConfig) -> Result<Self, WorkerError> {
        let id = WorkerId(uuid::Uuid::now_v7());
        let (store, lock) = Store::open(&config.data_dir, &id.to_string())?;
        let mut engine =
            DockerManager::connect(config.docker_host.as_deref(), store.clone(), id.to_string()).await?;
        let reach = Reach::new(config.addresses.clone());
        engine.sources = Sources::new(store.cache(), reach, config.sources.clone());
        let capacity = capacity(&config.capacity, &engine).await;
        let mut limits = config.limits.clone();
        let or_most = |told: Option<u64>| told.unwrap_or(u64::MAX);
        let asked = Amount::asked(&Resources { cpus: limits.cpus, memory_bytes: limits.memory_bytes });
        let most_per_job = Amount {
            millicpus: or_most(limits.cpus.map(|_| asked.millicpus)),
            bytes: or_most(limits.memory_bytes),
        };
        // A job that says nothing of its memory must not take the machine's own.
        let of_machine = Some(capacity.bytes).filter(|bytes| (MIN_MEMORY..u64::MAX).contains(bytes));
        limits.memory_bytes = limits.memory_bytes.or(of_machine);
        let engine = Arc::new(engine.with_limits(limits));
        let lot = Arc::new(ParkingLot::new(engine.clone(), config.slots.max(1)));
        Ok(Self { config, id, capacity, most_per_job, engine, lot, store, lock })
    }

    /// Keeps job containers from instance metadata; or says why that cannot be had.
    pub async fn block_metadata(&self) -> Result<(), String> {
        let isolated = self.engine.isolated_bridges().into_iter();
        for bridge in isolated.chain([self.engine.bridge().await?]) {
            metadata_guard::block(&bridge, &METADATA).await?;
        }
        Ok(())
    }

    /// Keeps jobs from each other and from this machine, but for DNS and the TCP ports `allowed`; or says why that cannot be
    /// had. To be called before [`Self::block_metadata`], and before any job.
    pub async fn isolate(&self, allowed: &[u16]) -> Result<(), String> {
        self.engine.isolate(allowed).await
    }

    /// Signs in at the host of `address` with `credentials`, which are kept in this process's memory only.
    pub fn sign_in(&self, address: &RepositoryAddress, credentials: Credentials) {
        self.engine.sources.reach().sign_in(address, credentials);
    }

    /// Creates containers for the `first` jobs of an execution that will come soon, and has `jobs` jobs in all.
    pub fn prepare(&self, first: &[Preparation], jobs: usize) {
        self.lot.prepare_execution(first, jobs);
    }

    /// Begins to ask the server of `client` for jobs.
    #[must_use]
    pub fn work_for(self, client: &Client) -> WorkerHandle {
        let api = ApiClient::new(&client.server, &client.token).with_insecure_http(client.insecure_http);
        let source = Arc::new(LongPoll::new(api.clone(), client.only_execution));
        self.work_from(source, api, client.only_execution.is_some())
    }

    /// Begins to ask `source` for jobs, and reports them to `api`; `alone` says that no other worker will take what
    /// this one does not.
    #[must_use]
    pub fn work_from(self, source: Arc<dyn JobSource>, api: ApiClient, alone: bool) -> WorkerHandle {
        let stop = Stop::default();
        let leaving = Arc::new(AtomicBool::new(false));
        self.engine.sources.take_uploads_from(api.clone());
        let slots = Slots::new(&self, source, api, alone, stop.clone());
        let Self { id, engine, lot, store, lock, .. } = self;
        let working = Working { engine, lot, store, leaving: leaving.clone() };
        WorkerHandle { id, stop, leaving, task: tokio::spawn(working.run(slots, lock)) }
    }

    /// Removes what was prepared, for nothing.
    pub async fn close(self) {
        self.lot.clear();
        self.engine.settle().await;
        self.engine.remove_own_network().await;
        self.store.remove_own();
    }
}

impl WorkerHandle {
    /// The worker's id, by which [`clean_up`] removes what it leaves.
    #[must_use]
    pub const fn id(&self) -> WorkerId {
        self.id
    }

    /// Takes no more jobs; those that still run after `grace` are given back. Called again, the shorter grace counts.
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

    /// Has running jobs given back now.
    pub fn stop(&self) {
        self.stop.all();
    }

    /// Waits until the worker is done: it was drained or stopped, or cannot go on. Not to be called again afterwards.
    pub async fn done(&mut self) -> Result<(), WorkerError> {
        joined((&mut self.task).await).map(drop)
    }

    /// Stops: running jobs are given back; once this returns, all containers are removed.
    pub async fn shutdown(mut self) -> Result<(), WorkerError> {
        self.stop();
        self.done().await
    }

    /// Stops as [`Self::shutdown`] does, but does not wait for the engine: containers end by themselves. Names the
    /// worker if something of it is left, for [`clean_up`] in a process that lives longer.
    pub async fn leave(self) -> Result<Option<WorkerId>, WorkerError> {
        self.leaving.store(true, Ordering::Relaxed);
        self.stop();
        Ok(joined(self.task.await)?.then_some(self.id))
    }
}

fn joined(ended: Result<Result<bool, WorkerError>, tokio::task::JoinError>) -> Result<bool, WorkerError> {
    ended.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string())))
}

/// Works until `shutdown`, then gives running jobs back and cleans up.
pub async fn run(worker: Worker, client: Client, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut handle = worker.work_for(&client);
    tokio::select! {
        done = handle.done() => done,
        () = shutdown.cancelled() => handle.shutdown().await,
    }
}

/// Removes what the worker `left` of `data_dir` leaves, once its process is no more: containers and directories.
pub async fn clean_up(
    data_dir: &Path,
    docker_host: Option<&str>,
    sources: SourceSettings,
    left: WorkerId,
) -> Result<(), WorkerError> {
    let id = WorkerId(uuid::Uuid::now_v7()).to_string();
    let (store, lock) = Store::open(data_dir, &id)?;
    let mut engine = DockerManager::connect(docker_host, store.clone(), id).await?;
    engine.sources = Sources::new(store.cache(), Reach::default(), sources);
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

struct Working {
    engine: Arc<DockerManager>,
    lot: Arc<ParkingLot>,
    store: Store,
    leaving: Arc<AtomicBool>,
}

impl Working {
    /// Whether something is still being removed when this returns.
    async fn run(self, slots: Slots, lock: FileLock) -> Result<bool, WorkerError> {
        let cleaning = tokio::spawn(keep_clean(self.engine.clone(), self.store.clone()));
        let result = slots.serve().await;
        self.lot.clear();
        // What was being prepared is canceled by now; its git processes must not outlive this one.
        let _ = tokio::time::timeout(MAX_SETTLE, self.engine.sources.settle()).await;
        if self.leaving.load(Ordering::Relaxed) && result.is_ok() && self.engine.is_busy() {
            // The lock goes with the process: until then nobody takes what is left for a dead worker's.
            std::mem::forget(lock);
            return Ok(true);
        }
        cleaning.abort();
        let removed = async {
            self.engine.settle().await;
            self.engine.remove_own_network().await;
            self.engine.remove_unused_volumes().await;
        };
        if tokio::time::timeout(MAX_SETTLE, removed).await.is_err() {
            tracing::warn!("what jobs left is not removed yet; the next worker does it");
        }
        self.store.remove_own();
        drop(lock);
        result.map(|()| false)
    }
}

/// What jobs may ask for together: as told, else what the engine's machine has.
async fn capacity(told: &Resources, engine: &DockerManager) -> Amount {
    let told = Amount::asked(told);
    let found = match (told.millicpus, told.bytes) {
        (1.., 1..) => Amount::default(),
        _ => engine.machine().await,
    };
    let or = |told: u64, found: u64| if told > 0 { told } else { found };
    Amount {
        millicpus: or(told.millicpus, found.millicpus),
        bytes: or(told.bytes, memory_for_jobs(found.bytes)),
    }
}

/// Removes what is left, and what is not to be kept, again and again.
async fn keep_clean(engine: Arc<DockerManager>, store: Store) {
    loop {
        clean(engine.clone(), store.clone()).await;
        tokio::time::sleep(CLEAN_EVERY).await;
    }
}

/// Removes what dead workers of the same data directory left, and of sources what is not to be kept.
pub(crate) async fn clean(engine: Arc<DockerManager>, store: Store) {
    // A directory goes after the container that has it mounted.
    let gone = engine.remove_orphans().await;
    engine.remove_unused_volumes().await;
    engine.remove_unused_networks().await;
    let cleaned = tokio::task::spawn_blocking(move || {
        if gone {
            store.remove_dead();
        }
        engine.sources.prune();
    });
    let _ = cleaned.await;
}
