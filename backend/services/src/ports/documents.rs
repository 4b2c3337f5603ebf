//! The documents port: small records such as repositories, tokens, secrets, schedules and notifications.

use crate::error::Result;
use async_trait::async_trait;
use tidemill_core::time::Timestamp;

/// Maximum size of a document's value, in bytes.
pub const MAX_DOCUMENT_SIZE: usize = 256 << 10;

/// Key of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// Kind, such as `token`: lower-case letters and hyphens.
    pub kind: String,
    /// Name, unique within the kind: 1 to 500 bytes.
    pub name: String,
}

impl DocumentKey {
    /// Creates the key of the document `name` of `kind`.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

/// A document to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// Key.
    pub key: DocumentKey,
    /// JSON in the format of its kind; at most [`MAX_DOCUMENT_SIZE`].
    pub value: String,
    /// When the document is due.
    pub due_at: Option<Timestamp>,
    /// When the store may remove it; there is no promise of when it does.
    pub expires_at: Option<Timestamp>,
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Key.
    pub key: DocumentKey,
    /// JSON in the format of its kind.
    pub value: String,
    /// When the document is due.
    pub due_at: Option<Timestamp>,
    /// Changes with every write; never 0.
    pub version: u64,
}

/// Number of documents that [`Documents::all`] reads at once.
const PAGE_SIZE: usize = 200;

/// Documents, each written on its own and conditionally. An acknowledged write is visible to every read that starts after it, except
/// that [`Self::due`] may return it later.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Returns a document.
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>>;
    /// Writes a document if its version is `if_version` (`None`: if it does not exist). Returns false, and writes nothing, if it is not.
    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool>;
    /// Removes a document if its version is `if_version` (`None`: any version). Returns false if it is not, or if it does not exist.
    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool>;
    /// Returns at most `limit` documents of a kind whose names start with `prefix` and are greater than `after`, in byte order of their
    /// names, and whether there are more.
    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)>;
    /// Returns all documents of a kind whose names start with `prefix`, in the order of their names. For kinds with few documents.
    async fn all(&self, kind: &str, prefix: &str) -> Result<Vec<Document>> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = self.list(kind, prefix, after.as_deref(), PAGE_SIZE).await?;
            after = page.last().map(|last| last.key.name.clone());
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }
    /// Returns documents of a kind that are due at `now`, the longest due first.
    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>>;
}
