//! A worker's configuration, and its set-up: the engine, the directories and the resources for jobs.

use crate::{
    engine::{
        ContainerPool, DockerManager,
        metadata_guard::{self, METADATA},
    },
    error::WorkerError,
    limits::Limits,
    queue::capacity::{ResourceAmount, memory_for_jobs},
    source::{HostPolicy, SourceCache, SourceSettings},
    store::{FileLock, WorkerDirs},
};
use std::{path::PathBuf, sync::Arc};
use tidemill_core::execution::assignment::{Preparation, Resources};
use tidemill_core::ids::{ExecutionId, WorkerId};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::repository::{AddressPolicy, Credentials, RepositoryAddress};

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
    pub(crate) capacity: ResourceAmount,
    pub(crate) most_per_job: ResourceAmount,
    pub(crate) engine: Arc<DockerManager>,
    pub(crate) pool: Arc<ContainerPool>,
    pub(crate) store: WorkerDirs,
    pub(crate) lock: FileLock,
}

impl Worker {
    /// Gets everything but jobs.
    pub async fn open(config: WorkerConfig) -> Result<Self, WorkerError> {
        let id = WorkerId(uuid::Uuid::now_v7());
        let (store, lock) = WorkerDirs::open(&config.data_dir, &id.to_string())?;
        let mut engine =
            DockerManager::connect(config.docker_host.as_deref(), store.clone(), id.to_string()).await?;
        let reach = HostPolicy::new(config.addresses.clone());
        engine.sources = SourceCache::new(store.cache(), reach, config.sources.clone());
        let capacity = capacity(&config.capacity, &engine).await;
        let mut limits = config.limits.clone();
        let or_most = |configured: Option<u64>| configured.unwrap_or(u64::MAX);
        let asked =
            ResourceAmount::asked(&Resources { cpus: limits.cpus, memory_bytes: limits.memory_bytes });
        let most_per_job = ResourceAmount {
            millicpus: or_most(limits.cpus.map(|_| asked.millicpus)),
            bytes: or_most(limits.memory_bytes),
        };
        // A job that says nothing of its memory must not take the machine's own.
        let of_machine = Some(capacity.bytes).filter(|bytes| (MIN_MEMORY..u64::MAX).contains(bytes));
        limits.memory_bytes = limits.memory_bytes.or(of_machine);
        let engine = Arc::new(engine.with_limits(limits));
        let pool = Arc::new(ContainerPool::new(engine.clone(), config.slots.max(1)));
        Ok(Self { config, id, capacity, most_per_job, engine, pool, store, lock })
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

    /// Makes containers for jobs that will come soon.
    pub fn prepare(&self, first: &[Preparation], jobs: usize) {
        self.pool.prepare_execution(first, jobs);
    }

    /// Removes what was prepared, for nothing.
    pub async fn close(self) {
        self.pool.clear();
        self.engine.settle().await;
        self.engine.remove_own_network().await;
        self.store.remove_own();
    }
}

/// Resources for jobs together: as configured, else those of the engine's machine.
async fn capacity(configured: &Resources, engine: &DockerManager) -> ResourceAmount {
    let configured = ResourceAmount::asked(configured);
    let found = match (configured.millicpus, configured.bytes) {
        (1.., 1..) => ResourceAmount::default(),
        _ => engine.machine_resources().await,
    };
    let or = |configured: u64, found: u64| if configured > 0 { configured } else { found };
    ResourceAmount {
        millicpus: or(configured.millicpus, found.millicpus),
        bytes: or(configured.bytes, memory_for_jobs(found.bytes)),
    }
}
