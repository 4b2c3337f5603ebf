//! The group of machines that a deployment starts for its workers.

use crate::error::Result;
use async_trait::async_trait;
use std::{fmt, sync::Arc};
use tidemill_core::{
    pipeline::labels::Labels,
    scheduler::{FleetLimits, WorkerGroupState},
};

/// Starts and ends the machines of workers. The worker of each machine has the machine's id as its name.
#[async_trait]
pub trait WorkerGroup: Send + Sync {
    /// Returns the requested number of machines, and the machines.
    async fn state(&self) -> Result<WorkerGroupState>;
    /// Requests this number of machines, which is not less than that of the machines that are there.
    async fn set_desired(&self, number: u32) -> Result<()>;
    /// Requests this number of machines on demand. Called only if the state has a number of them.
    async fn set_fallback(&self, number: u32) -> Result<()>;
    /// Ends a machine. With `replace`, the group starts another one; otherwise the requested number becomes one less in the same step.
    /// Succeeds if the machine has ended already.
    async fn remove(&self, machine: &str, replace: bool) -> Result<()>;
}

/// Machines for jobs that go to one queue.
#[derive(Clone)]
pub struct WorkerPool {
    /// The labels of the queue, which the workers have; empty: the queue of jobs that require none.
    pub labels: Labels,
    /// The machines.
    pub group: Arc<dyn WorkerGroup>,
    /// How many of them there may be.
    pub limits: FleetLimits,
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("labels", &self.labels)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
