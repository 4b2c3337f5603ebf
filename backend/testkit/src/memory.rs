//! Adapters that store everything in memory, for simulations of many executions. They pass the conformance suite.

mod documents;
mod keys;
mod logs;
mod objects;
mod queue;
mod records;
mod worker_group;

pub use documents::MemoryDocuments;
pub use keys::MemoryKeys;
pub use logs::MemoryLogs;
pub use objects::MemoryObjects;
pub use queue::MemoryQueue;
pub use records::{Change, MemoryRecords, Observer};
pub use worker_group::{GroupCall, MemoryWorkerGroup};

use std::sync::Arc;
use tidemill_services::RandomIds;
use tidemill_services::Stores;
use tidemill_services::ports::Clock;

/// Opens empty stores.
#[must_use]
pub fn open(clock: Arc<dyn Clock>) -> Stores {
    Stores {
        records: Arc::new(MemoryRecords::default()),
        documents: Arc::new(MemoryDocuments::default()),
        keys: Arc::new(MemoryKeys),
        queue: Arc::new(MemoryQueue::new(clock.clone())),
        objects: Arc::new(MemoryObjects::default()),
        logs: Arc::new(MemoryLogs::default()),
        clock,
        ids: Arc::new(RandomIds),
    }
}
