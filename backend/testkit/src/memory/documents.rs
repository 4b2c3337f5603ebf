//! Documents in memory.

use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tidemill_core::time::Timestamp;
use tidemill_services::error::Result;
use tidemill_services::ports::{Document, DocumentKey, Documents, NewDocument};

/// Documents in memory.
#[derive(Debug, Default)]
pub struct MemoryDocuments {
    state: Mutex<DocumentsState>,
    /// Number of reads: of a document, or of a page of a listing.
    reads: AtomicUsize,
}

#[derive(Debug, Default)]
struct DocumentsState {
    documents: BTreeMap<DocumentKey, Document>,
    writes: u64,
}

impl MemoryDocuments {
    /// Returns how many reads there were so far: of a document, or of a page of a listing.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, DocumentsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Documents for MemoryDocuments {
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.lock().documents.get(key).cloned())
    }

    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool> {
        let mut inner = self.lock();
        if inner.documents.get(&document.key).map(|current| current.version) != if_version {
            return Ok(false);
        }
        inner.writes += 1;
        let NewDocument { key, value, due_at, .. } = document;
        let version = inner.writes;
        inner.documents.insert(key.clone(), Document { key, value, due_at, version });
        Ok(true)
    }

    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool> {
        let mut inner = self.lock();
        let version = inner.documents.get(key).map(|document| document.version);
        if version.is_none() || (if_version.is_some() && if_version != version) {
            return Ok(false);
        }
        Ok(inner.documents.remove(key).is_some())
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let inner = self.lock();
        let of_kind = inner.documents.values().filter(|document| document.key.kind == kind);
        let mut documents: Vec<Document> = of_kind
            .filter(|document| {
                document.key.name.starts_with(prefix)
                    && after.is_none_or(|after| document.key.name.as_str() > after)
            })
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        let more = documents.len() > limit;
        documents.truncate(limit);
        Ok((documents, more))
    }

    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>> {
        let inner = self.lock();
        let of_kind = inner.documents.values().filter(|document| document.key.kind == kind);
        let mut due: Vec<Document> =
            of_kind.filter(|document| document.due_at.is_some_and(|at| at <= now)).cloned().collect();
        due.sort_by_key(|document| document.due_at);
        due.truncate(limit);
        Ok(due)
    }
}
