//! What runs the jobs of a worker: a container engine, or processes of this machine.

use super::cleanup::clean_up_once;
use crate::{
    artifact::{ArtifactCache, ArtifactTransfer},
    client::ApiClient,
    engine::{ContainerPool, DockerManager, GuardError},
    job::{
        AdmittedJob, Executor, JobExecutor, ReportOutcome,
        debug::{Debugger, RemoteShells},
    },
    policy::Limits,
    process::{ProcessExecutor, ProcessHost},
    source::SourceCache,
    store::WorkerDirs,
};
use std::{sync::Arc, time::Duration};
use tidemill_core::execution::{
    assignment::{Assignment, Preparation},
    failure::FailureReason,
};
use tokio_util::sync::CancellationToken;

/// What runs the jobs of a worker.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A container engine.
    Containers {
        /// The engine.
        engine: Arc<DockerManager>,
        /// Containers and networks prepared for the next jobs.
        pool: Arc<ContainerPool>,
    },
    /// Processes of this machine.
    Processes(Arc<ProcessHost>),
}

impl Backend {
    /// Returns the engine, if there is one.
    pub fn engine(&self) -> Result<&Arc<DockerManager>, GuardError> {
        match self {
            Self::Containers { engine, .. } => Ok(engine),
            Self::Processes(_) => Err(GuardError::NoEngine),
        }
    }

    /// Returns what provides source trees.
    pub fn sources(&self) -> &SourceCache {
        match self {
            Self::Containers { engine, .. } => &engine.sources,
            Self::Processes(host) => &host.sources,
        }
    }

    /// Returns the limits of a job.
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Containers { engine, .. } => engine.limits(),
            Self::Processes(host) => &host.limits,
        }
    }

    /// Returns what runs attempts. `debugger` holds jobs in containers for shells; without one, users of the server may open them.
    pub fn executor(
        &self,
        api: ApiClient,
        cache: Option<ArtifactCache>,
        debugger: Option<Arc<dyn Debugger>>,
        is_only_worker: bool,
    ) -> WorkerExecutor {
        let limits = Arc::new(self.limits().clone());
        match self.clone() {
            Self::Containers { engine, pool } => {
                let artifacts =
                    ArtifactTransfer { api: api.clone(), engine: Some(engine.clone()), limits, cache };
                let of_server = || Arc::new(RemoteShells::new(api.clone())) as Arc<dyn Debugger>;
                let debugger = Some(debugger.unwrap_or_else(of_server));
                WorkerExecutor::Containers(JobExecutor {
                    api,
                    engine,
                    pool,
                    artifacts,
                    is_only_worker,
                    debugger,
                })
            }
            Self::Processes(host) => {
                let artifacts = ArtifactTransfer { api: api.clone(), engine: None, limits, cache };
                WorkerExecutor::Processes(ProcessExecutor { api, host, artifacts })
            }
        }
    }

    /// Prepares for jobs that will likely come.
    pub fn prepare(&self, upcoming: &[Preparation]) {
        if let Self::Containers { pool, .. } = self {
            pool.prepare(upcoming);
        }
    }

    /// Prepares for the first jobs of an execution whose id is not known yet, and which has `jobs` jobs in all.
    pub fn prepare_execution(&self, first: &[Preparation], jobs: usize) {
        if let Self::Containers { pool, .. } = self {
            pool.prepare_execution(first, jobs);
        }
    }

    /// Discards what was prepared and is not in use, as no job came for long.
    pub fn discard_idle(&self) {
        if let Self::Containers { pool, .. } = self {
            pool.discard_idle();
        }
    }

    /// Discards all that was prepared.
    pub fn clear(&self) {
        if let Self::Containers { pool, .. } = self {
            pool.clear();
        }
    }

    /// Whether it may be down and has not responded since.
    pub fn may_be_down(&self) -> bool {
        matches!(self, Self::Containers { engine, .. } if engine.may_be_down())
    }

    /// Whether it responds.
    pub async fn recover(&self) -> bool {
        match self {
            Self::Containers { engine, .. } => engine.recover().await,
            Self::Processes(_) => true,
        }
    }

    /// Leaves the removals in the background to another process, if it can. Returns whether something is left.
    pub async fn leave_removals(&self) -> bool {
        match self {
            Self::Containers { engine, .. } if engine.is_busy() => {
                engine.finish_creations().await;
                true
            }
            _ => false,
        }
    }

    /// Removes what ended workers of the data directory left. Returns whether all is removed.
    pub async fn clean_up(&self, store: WorkerDirs) -> bool {
        match self.clone() {
            Self::Containers { engine, .. } => clean_up_once(engine, store).await,
            Self::Processes(host) => {
                let cleaned = tokio::task::spawn_blocking(move || {
                    host.remove_ended_workers();
                    host.sources.prune();
                });
                cleaned.await.is_ok()
            }
        }
    }

    /// Waits until all removals have ended.
    pub async fn settle(&self) {
        match self {
            Self::Containers { engine, .. } => {
                engine.settle().await;
                engine.remove_own_network().await;
            }
            Self::Processes(host) => host.settle().await,
        }
    }
}

/// Runs attempts with what the worker has for that.
#[derive(Debug, Clone)]
pub enum WorkerExecutor {
    /// In containers.
    Containers(JobExecutor),
    /// As processes.
    Processes(ProcessExecutor),
}

impl Executor for WorkerExecutor {
    async fn run(
        &self,
        assignment: Assignment,
        admitted: AdmittedJob,
        shutdown: CancellationToken,
        started: impl FnOnce() + Send,
    ) -> ReportOutcome {
        match self {
            Self::Containers(executor) => executor.run(assignment, admitted, shutdown, started).await,
            Self::Processes(executor) => executor.run(assignment, admitted, shutdown, started).await,
        }
    }

    async fn decline(
        &self,
        assignment: &Assignment,
        reason: FailureReason,
        delay: Duration,
        shutdown: &CancellationToken,
    ) -> ReportOutcome {
        match self {
            Self::Containers(executor) => executor.decline(assignment, reason, delay, shutdown).await,
            Self::Processes(executor) => executor.decline(assignment, reason, delay, shutdown).await,
        }
    }
}
