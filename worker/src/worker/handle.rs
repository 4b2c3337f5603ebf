//! A running worker: how it is started, drained and stopped.

use super::{
    cleanup::keep_clean,
    setup::{Client, Worker},
    slot::{Slots, StopSignal},
};
use crate::{
    client::ApiClient,
    engine::{ContainerPool, DockerManager},
    error::WorkerError,
    queue::job_source::{JobSource, LongPoll},
    store::{FileLock, WorkerDirs},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::ids::WorkerId;
use tokio_util::sync::CancellationToken;

/// How long a worker that stops waits until what its jobs left is removed.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(8);

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    id: WorkerId,
    stop: StopSignal,
    leaving: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<bool, WorkerError>>,
}

impl Worker {
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
        let stop = StopSignal::default();
        let leaving = Arc::new(AtomicBool::new(false));
        self.engine.sources.take_uploads_from(api.clone());
        let slots = Slots::new(&self, source, api, alone, stop.clone());
        let Self { id, engine, pool, store, lock, .. } = self;
        let working = WorkerState { engine, pool, store, leaving: leaving.clone() };
        WorkerHandle { id, stop, leaving, task: tokio::spawn(working.run(slots, lock)) }
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

struct WorkerState {
    engine: Arc<DockerManager>,
    pool: Arc<ContainerPool>,
    store: WorkerDirs,
    leaving: Arc<AtomicBool>,
}

impl WorkerState {
    /// Whether something is still being removed when this returns.
    async fn run(self, slots: Slots, lock: FileLock) -> Result<bool, WorkerError> {
        let cleaning = tokio::spawn(keep_clean(self.engine.clone(), self.store.clone()));
        let result = slots.serve().await;
        self.pool.clear();
        // What was being prepared is canceled by now; its git processes must not outlive this one.
        let _ = tokio::time::timeout(CLEANUP_TIMEOUT, self.engine.sources.settle()).await;
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
        if tokio::time::timeout(CLEANUP_TIMEOUT, removed).await.is_err() {
            tracing::warn!("what jobs left is not removed yet; the next worker does it");
        }
        self.store.remove_own();
        drop(lock);
        result.map(|()| false)
    }
}
