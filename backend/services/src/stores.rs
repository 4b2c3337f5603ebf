//! The ports that one deployment runs on.

use crate::ports::{Clock, Documents, Ids, JobQueue, KeyStore, Logs, Objects, Records};
use std::{fmt, sync::Arc};

/// All storage, queue, clock and id ports of a deployment; cheap to clone.
#[derive(Clone)]
pub struct Stores {
    /// Executions, jobs and artifacts.
    pub records: Arc<dyn Records>,
    /// Repositories, tokens, secrets, schedules, and notifications to deliver.
    pub documents: Arc<dyn Documents>,
    /// Keys that seal secrets.
    pub keys: Arc<dyn KeyStore>,
    /// Ids of queued jobs.
    pub queue: Arc<dyn JobQueue>,
    /// Bytes of artifacts, caches and uploaded sources.
    pub objects: Arc<dyn Objects>,
    /// Logs of attempts.
    pub logs: Arc<dyn Logs>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Generator of ids.
    pub ids: Arc<dyn Ids>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}
