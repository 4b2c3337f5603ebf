//! The group of machines that a deployment starts for its workers.

use crate::error::Result;
use async_trait::async_trait;
use tidemill_core::scheduler::WorkerGroupState;

/// Starts and ends the machines of workers. The worker of each machine has the machine's id as its name.
#[async_trait]
pub trait WorkerGroup: Send + Sync {
    /// Returns the requested number of machines, and the machines.
    async fn state(&self) -> Result<WorkerGroupState>;
    /// Requests this number of machines, which is not less than before.
    async fn set_desired(&self, number: u32) -> Result<()>;
    /// Ends a machine. With `replace`, the group starts another one; otherwise the requested number becomes one less in the same step.
    /// Succeeds if the machine has ended already.
    async fn remove(&self, machine: &str, replace: bool) -> Result<()>;
}
