//! The machines that a deployment starts for its workers.

use crate::{
    error::{Error, Result},
    ports::{DocumentKey, WorkerPool},
};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};
use tidemill_core::{
    pipeline::labels::{Labels, queue_name},
    scheduler::{CapacityGate, FleetMemory},
    time::Timestamp,
};

/// The kind of the documents with what a decision about machines remembers for the next, one for each pool.
pub(crate) const FLEET_KIND: &str = "fleet";
/// The document of the pool for jobs that require no labels. No labels have this name.
const DEFAULT_POOL: &str = "workers";

/// The pools of machines.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub pools: Vec<FleetPool>,
}

/// A pool of machines, and how often this process requests capacity of it.
pub(crate) struct FleetPool {
    pub pool: WorkerPool,
    gate: Mutex<CapacityGate>,
}

impl Fleet {
    pub fn new(pools: Vec<WorkerPool>) -> Self {
        let pools = pools.into_iter().map(|pool| FleetPool { pool, gate: Mutex::default() });
        Self { pools: pools.collect() }
    }

    /// Returns the index of the pool whose queue has these labels.
    pub fn pool_with(&self, labels: &Labels) -> Option<usize> {
        self.pools.iter().position(|known| known.pool.labels == *labels)
    }

    /// Returns a number of jobs above which more make no difference to any pool.
    pub fn max_jobs(&self) -> u32 {
        self.pools.iter().fold(0, |jobs: u32, known| jobs.saturating_add(known.pool.limits.max_jobs()))
    }
}

impl FleetPool {
    /// Whether to request capacity, now that `jobs` more jobs were queued.
    pub fn admits_request(&self, jobs: u32, now: Timestamp) -> bool {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).admits(jobs, now)
    }

    /// Returns the key of the document with what the last decision remembers.
    pub fn key(&self) -> DocumentKey {
        let labels = queue_name(&self.pool.labels);
        DocumentKey::new(FLEET_KIND, if labels.is_empty() { DEFAULT_POOL.to_owned() } else { labels })
    }
}

impl fmt::Debug for FleetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetPool").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Parses the document with what a decision about machines remembers for the next.
pub(crate) fn parse_memory(value: &str) -> Result<FleetMemory> {
    serde_json::from_str(value).map_err(|error| Error::storage("reading the state of the machines", error))
}
