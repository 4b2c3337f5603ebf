//! A worker's configuration, and its set-up: engine, directories and resources for jobs.

use super::backend::Backend;
use crate::{
    engine::{
        ContainerPool, DockerManager, GuardError, RegistrySettings, local_machine,
        metadata_guard::{self, METADATA_ADDRESSES},
    },
    error::WorkerError,
    job::debug::Debugger,
    policy::{JobSettings, Limits, Permissions},
    process::{ProcessHost, ProcessSettings},
    queue::capacity::{ResourceAmount, memory_for_jobs},
    source::{HostPolicy, SourceCache, SourceSettings},
    store::{FileLock, WorkerDirs},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tidemill_core::execution::assignment::{Preparation, Resources};
use tidemill_core::ids::{ExecutionId, WorkerId};
use tidemill_core::pipeline::labels::{EXECUTOR_LABEL, Labels, PROCESS_EXECUTOR, asks_for_process};
use tidemill_core::repository::{AddressPolicy, Credentials, RepositoryAddress};

/// The minimum memory limit that engines accept.
const MIN_MEMORY: u64 = 6 << 20;

/// Configuration of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The worker's name, for people.
    pub name: String,
    /// Maximum number of concurrent jobs.
    pub slots: usize,
    /// The directory of caches and working directories.
    pub data_dir: PathBuf,
    /// What runs jobs.
    pub executor: ExecutorKind,
    /// The engine's address in the form of `DOCKER_HOST`; `None`: the first default socket that answers.
    pub docker_host: Option<String>,
    /// Labels. The worker does not run jobs that require others.
    pub labels: Labels,
    /// Resources for all jobs together. Missing values are those of the engine's machine.
    pub capacity: Resources,
    /// Hosts of repositories that the operator allows, in addition to public ones and those of registered repositories.
    pub addresses: AddressPolicy,
    /// How sources are fetched and retained.
    pub sources: SourceSettings,
    /// Limits of one job.
    pub limits: Limits,
    /// What jobs may ask for.
    pub permissions: Permissions,
    /// What every job gets.
    pub jobs: JobSettings,
    /// Where the worker finds logins at registries.
    pub registries: RegistrySettings,
    /// What a slot costs, in millionths of a dollar for an hour; 0 if it has no price.
    pub slot_price: u64,
    /// When the worker ends by itself.
    pub end: EndCondition,
}

/// What runs the jobs of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExecutorKind {
    /// A container engine.
    #[default]
    Containers,
    /// Processes of this machine.
    Processes(ProcessSettings),
}

impl ExecutorKind {
    /// Sets the label that says how a worker runs jobs: only that decides which ones it gets.
    pub fn set_label(&self, labels: &mut Labels) {
        match self {
            Self::Containers if asks_for_process(labels) => drop(labels.remove(EXECUTOR_LABEL)),
            Self::Containers => {}
            Self::Processes(_) => {
                drop(labels.insert(EXECUTOR_LABEL.to_owned(), PROCESS_EXECUTOR.to_owned()));
            }
        }
    }
}

/// When a worker ends by itself. By default it never does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndCondition {
    /// After it has run one job. A job that is too large for the worker, and is given back, does not count.
    pub after_one_job: bool,
    /// Once it has run no job for this time.
    pub max_idle: Option<Duration>,
}

/// The connection of a worker to its server.
#[derive(Debug, Clone)]
pub struct ServerConnection {
    /// The server: `http://host:port`.
    pub server: String,
    /// Its bearer token.
    pub token: String,
    /// Run only jobs of this execution; `None`: all jobs.
    pub only_execution: Option<ExecutionId>,
    /// Whether the token may be sent to another machine without TLS.
    pub insecure_http: bool,
}

/// A worker with its engine and directories, but without jobs yet.
#[derive(Debug)]
pub struct Worker {
    pub(crate) config: WorkerConfig,
    pub(crate) id: WorkerId,
    pub(crate) capacity: ResourceAmount,
    pub(crate) max_per_job: ResourceAmount,
    pub(crate) backend: Backend,
    pub(crate) store: WorkerDirs,
    pub(crate) lock: FileLock,
    pub(crate) debugger: Option<Arc<dyn Debugger>>,
}

impl Worker {
    /// Opens the directories, and connects to the engine if there is one.
    pub async fn open(mut config: WorkerConfig) -> Result<Self, WorkerError> {
        let id = WorkerId(uuid::Uuid::now_v7());
        config.executor.set_label(&mut config.labels);
        let (store, lock) = WorkerDirs::open(&config.data_dir, &id.to_string())?;
        let reach = HostPolicy::new(config.addresses.clone());
        let sources = SourceCache::new(store.cache(), reach, config.sources.clone());
        let mut limits = config.limits.clone();
        let or_unlimited = |configured: Option<u64>| configured.unwrap_or(u64::MAX);
        let configured =
            ResourceAmount::requested(&Resources { cpus: limits.cpus, memory_bytes: limits.memory_bytes });
        let max_per_job = ResourceAmount {
            millicpus: or_unlimited(limits.cpus.map(|_| configured.millicpus)),
            bytes: or_unlimited(limits.memory_bytes),
        };
        let (backend, capacity) = match config.executor.clone() {
            ExecutorKind::Processes(settings) => {
                let capacity = capacity(&config.capacity, async { local_machine() }).await;
                // A job has no memory limit unless one is set: the machine's other processes would have none either.
                let names = (store.clone(), id.to_string());
                let policies = (config.registries.clone(), config.jobs.clone(), limits);
                (
                    Backend::Processes(Arc::new(ProcessHost::open(settings, names, sources, policies)?)),
                    capacity,
                )
            }
            ExecutorKind::Containers => {
                let mut engine =
                    DockerManager::connect(config.docker_host.as_deref(), store.clone(), id.to_string())
                        .await?;
                engine.sources = sources;
                engine.permissions = config.permissions.clone();
                engine.settings = config.jobs.clone();
                engine.registries = config.registries.clone();
                let capacity = capacity(&config.capacity, engine.machine_resources()).await;
                // A job without a memory limit must not use the memory reserved for the machine.
                let of_machine = Some(capacity.bytes).filter(|bytes| (MIN_MEMORY..u64::MAX).contains(bytes));
                limits.memory_bytes = limits.memory_bytes.or(of_machine);
                let engine = Arc::new(engine.with_limits(limits));
                let pool = Arc::new(ContainerPool::new(engine.clone(), config.slots.max(1)));
                (Backend::Containers { engine, pool }, capacity)
            }
        };
        Ok(Self { config, id, capacity, max_per_job, backend, store, lock, debugger: None })
    }

    /// Holds jobs where `debugger` says so, for shells in their containers.
    pub fn set_debugger(&mut self, debugger: Arc<dyn Debugger>) {
        self.debugger = Some(debugger);
    }

    /// Whether jobs run in containers.
    #[must_use]
    pub fn has_containers(&self) -> bool {
        self.backend.engine().is_ok()
    }

    /// Blocks instance metadata for job containers. Fails if that is impossible.
    pub async fn block_metadata(&self) -> Result<(), GuardError> {
        let engine = self.backend.engine()?;
        let isolated = engine.isolated_bridges().into_iter();
        for bridge in isolated.chain([engine.bridge().await?]) {
            metadata_guard::block(&bridge, &METADATA_ADDRESSES).await?;
        }
        Ok(())
    }

    /// Isolates jobs from each other and from this machine, except for DNS and the TCP ports `allowed_ports`. Fails if
    /// that is impossible. Must be called before [`Self::block_metadata`] and before any job.
    pub async fn isolate(&self, allowed_ports: &[u16]) -> Result<(), GuardError> {
        self.backend.engine()?.isolate(allowed_ports).await
    }

    /// Uses `credentials` for the host of `address`. They are stored in this process's memory only.
    pub fn set_credentials(&self, address: &RepositoryAddress, credentials: Credentials) {
        self.backend.sources().host_policy().set_credentials(address, credentials);
    }

    /// Creates standby containers for the `first` of an execution's `jobs` jobs.
    pub fn prepare_standby_containers(&self, first: &[Preparation], jobs: usize) {
        self.backend.prepare_execution(first, jobs);
    }

    /// Removes the standby containers and the directories of a worker that never started.
    pub async fn close(self) {
        self.backend.clear();
        self.backend.settle().await;
        self.store.remove_own();
    }
}

/// Returns the resources for all jobs together: as configured, otherwise those of the `machine`.
async fn capacity(configured: &Resources, machine: impl Future<Output = ResourceAmount>) -> ResourceAmount {
    let configured = ResourceAmount::requested(configured);
    let machine = match (configured.millicpus, configured.bytes) {
        (1.., 1..) => ResourceAmount::default(),
        _ => machine.await,
    };
    let or = |configured: u64, default: u64| if configured > 0 { configured } else { default };
    ResourceAmount {
        millicpus: or(configured.millicpus, machine.millicpus),
        bytes: or(configured.bytes, memory_for_jobs(machine.bytes)),
    }
}
