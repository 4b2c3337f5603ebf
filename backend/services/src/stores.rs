//! The ports that one deployment runs on.

use crate::ports::{Clock, Documents, Ids, JobQueue, KeyStore, Logs, Objects, Records};
use std::{fmt, sync::Arc};

/// Everything that the services need of the world; cheap to clone.
#[derive(Clone)]
pub struct Stores {
    /// Executions, jobs and artifacts.
    pub records: Arc<dyn Records>,
    /// Repositories, tokens, secrets, schedules, and what is to be told to others.
    pub documents: Arc<dyn Documents>,
    /// The key of what must be readable again.
    pub keys: Arc<dyn KeyStore>,
    /// Ids of jobs that are ready.
    pub queue: Arc<dyn JobQueue>,
    /// Artifacts' bytes.
    pub objects: Arc<dyn Objects>,
    /// Logs of attempts.
    pub logs: Arc<dyn Logs>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New identifiers.
    pub ids: Arc<dyn Ids>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}
