//! The executions that streams of events follow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as StdMutex, PoisonError, Weak, atomic::AtomicU64},
};
use tidemill_core::{execution::status::ExecutionStatus, ids::ExecutionId};
use tokio::{sync::Mutex, time::Instant};

/// The executions that are followed.
#[derive(Debug, Default)]
pub struct FollowedExecutions(StdMutex<HashMap<ExecutionId, Weak<FollowedExecution>>>);

/// An execution that is read once for all that follow it.
#[derive(Debug, Default)]
pub struct FollowedExecution {
    /// Number of reads that were asked for.
    pub asked: AtomicU64,
    /// The last read.
    pub last: Mutex<LastRead>,
}

/// What was read of a followed execution.
#[derive(Debug, Default)]
pub struct LastRead {
    /// It is as new as this one of the reads that were asked for.
    pub covers: u64,
    /// When it was read.
    pub at: Option<Instant>,
    /// The revision of the execution's view.
    pub revision: u64,
    /// Whether the execution had ended.
    pub has_ended: bool,
    /// Statuses of the executions that it started.
    pub statuses: HashMap<ExecutionId, ExecutionStatus>,
}

impl FollowedExecutions {
    /// Returns an execution for one more that follows it.
    pub fn get(&self, id: ExecutionId) -> Arc<FollowedExecution> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(execution) = all.get(&id).and_then(Weak::upgrade) {
            return execution;
        }
        all.retain(|_, execution| execution.strong_count() > 0);
        let execution = Arc::new(FollowedExecution::default());
        all.insert(id, Arc::downgrade(&execution));
        execution
    }
}
