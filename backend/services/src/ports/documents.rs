//! Small records that people or events make: repositories, tokens, secrets, schedules, what is to be told to others.

use crate::error::Result;
use async_trait::async_trait;
use tidemill_core::time::Timestamp;

/// The most bytes of a document's value.
pub const MAX_DOCUMENT_SIZE: usize = 256 << 10;

/// Names a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// Its kind, such as `token`: lower-case letters and hyphens.
    pub kind: String,
    /// Its name among those of its kind: 1 to 500 bytes.
    pub name: String,
}

impl DocumentKey {
    /// The key of the document `name` of `kind`.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

/// A document to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// Its key.
    pub key: DocumentKey,
    /// What it says, as its kind has it (JSON); at most [`MAX_DOCUMENT_SIZE`].
    pub value: String,
    /// When something is to be done about it.
    pub due_at: Option<Timestamp>,
    /// When it may be forgotten, without a promise of when it is.
    pub expires_at: Option<Timestamp>,
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its key.
    pub key: DocumentKey,
    /// What it says.
    pub value: String,
    /// When something is to be done about it.
    pub due_at: Option<Timestamp>,
    /// Changes with every write of it; never 0.
    pub version: u64,
}

/// How many documents [`Documents::all`] reads at once.
const PAGE_SIZE: usize = 200;

/// Documents, each written on its own, conditionally. A write is visible to every read that starts after it was
/// acknowledged, save that [`Self::due`] may show it only later.
#[async_trait]
pub trait Documents: Send + Sync {
    /// A document.
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>>;
    /// Writes a document if its version is `if_version` (`None`: if it is not there). False: it is not so, and nothing was
    /// written.
    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool>;
    /// Removes a document if its version is `if_version` (`None`: whatever it is). False: it is not so, or not there.
    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool>;
    /// Documents of a kind whose names begin with `prefix` and come after `after`, in the order of their names (by bytes),
    /// at most `limit`, and whether there are more.
    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)>;
    /// All documents of a kind whose names begin with `prefix`, in the order of their names. For kinds of which there are few.
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
    /// Documents of a kind that are due at `now`, those that have been for the longest time first.
    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>>;
}
