//! Documents between which and the services a test stands.

use async_trait::async_trait;
use std::sync::Arc;
use tidemill_core::time::Timestamp;
use tidemill_services::error::Result;
use tidemill_services::ports::{Document, DocumentKey, Documents, NewDocument};

/// A write of documents.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    /// Stores this document.
    Put(&'a NewDocument),
    /// Removes the document with this key.
    Delete(&'a DocumentKey),
}

impl Write<'_> {
    /// Returns the key of the document that is written.
    #[must_use]
    pub fn key(&self) -> &DocumentKey {
        match self {
            Self::Put(document) => &document.key,
            Self::Delete(key) => key,
        }
    }
}

/// What a test does before each write of documents.
#[async_trait]
pub trait BeforeWrite: Send + Sync {
    /// Returns the outcome of a write to `documents`; `None` if it takes place.
    async fn before_write(&self, documents: &dyn Documents, write: Write<'_>) -> Option<Result<bool>>;
}

/// Documents whose writes a test delays, repeats or lets fail.
pub struct InterceptedDocuments<T> {
    /// The documents.
    pub documents: Arc<dyn Documents>,
    /// What happens before each write.
    pub before: T,
}

impl<T: BeforeWrite> InterceptedDocuments<T> {
    /// Creates them over other documents.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, before: T) -> Self {
        Self { documents, before }
    }
}

#[async_trait]
impl<T: BeforeWrite> Documents for InterceptedDocuments<T> {
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>> {
        self.documents.get(key).await
    }

    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool> {
        match self.before.before_write(&*self.documents, Write::Put(&document)).await {
            Some(outcome) => outcome,
            None => self.documents.put(document, if_version).await,
        }
    }

    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool> {
        match self.before.before_write(&*self.documents, Write::Delete(key)).await {
            Some(outcome) => outcome,
            None => self.documents.delete(key, if_version).await,
        }
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)> {
        self.documents.list(kind, prefix, after, limit).await
    }

    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>> {
        self.documents.due(kind, now, limit).await
    }
}
