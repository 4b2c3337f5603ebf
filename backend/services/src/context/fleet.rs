//! The machines that a deployment starts for its workers.

use crate::ports::WorkerGroup;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::{
    scheduler::{CapacityGate, FleetLimits},
    time::Timestamp,
};

/// The group of machines, its limits, and how often this process requests capacity of it.
pub(crate) struct Fleet {
    pub group: Arc<dyn WorkerGroup>,
    pub limits: FleetLimits,
    gate: Mutex<CapacityGate>,
}

impl Fleet {
    pub fn new(group: Arc<dyn WorkerGroup>, limits: FleetLimits) -> Self {
        Self { group, limits, gate: Mutex::default() }
    }

    /// Whether to request capacity, now that `jobs` more jobs were queued.
    pub fn admits_request(&self, jobs: u32, now: Timestamp) -> bool {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).admits(jobs, now)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("limits", &self.limits).finish_non_exhaustive()
    }
}
