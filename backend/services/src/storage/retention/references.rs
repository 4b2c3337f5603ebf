//! Which executions need which others. An execution that reuses results of another one records that before it is created, and then
//! checks that the other one is not being removed. A removal marks the execution first, and then checks that nothing refers to it. So
//! of a reference and a removal at the same moment, at least one sees the other. The same holds for a removal of artifacts alone: what
//! is reused is chosen after the reference is recorded, by the marks of that moment.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, NewDocument},
};
use serde::{Deserialize, Serialize};
use tidemill_core::{ids::ExecutionId, retention::decision::RetentionState, time::Timestamp};

const DOCUMENT_KIND: &str = "execution-reference";
/// How long a reference counts without its execution: the request that creates it may still run.
const MAX_CREATION_MS: u64 = 3_600_000;
const PAGE_SIZE: usize = 50;

#[derive(Debug, Serialize, Deserialize)]
struct ReferenceRecord {
    at: Timestamp,
}

impl Context {
    /// Records that execution `by`, which is about to be created, needs `of`. Returns what of it was removed, or is being removed.
    pub(crate) async fn refer(&self, of: ExecutionId, by: ExecutionId) -> Result<RetentionState> {
        let key = key(of, by);
        let value = serde_json::to_string(&ReferenceRecord { at: self.now() })
            .map_err(|error| Error::storage("recording a reference", error))?;
        let new = NewDocument { key: key.clone(), value, due_at: None, expires_at: None };
        // If it exists, the request is repeated.
        self.stores.documents.put(new, None).await?;
        let state = self.stores.records.execution_state(of).await?;
        if let Some((state, _)) = state.filter(|(state, _)| !state.retention.removing) {
            return Ok(state.retention);
        }
        self.stores.documents.delete(&key, None).await?;
        Err(Error::NotFound(format!("execution {of} was removed, as its retention has ended")))
    }

    /// Returns an execution that needs `of`, if there is one. References of executions that do not exist are removed, unless they may
    /// be about to be created.
    pub(super) async fn needing(&self, of: ExecutionId) -> Result<Option<ExecutionId>> {
        let (prefix, mut after) = (format!("{of}/"), None::<String>);
        loop {
            let documents = &self.stores.documents;
            let (page, has_more) =
                documents.list(DOCUMENT_KIND, &prefix, after.as_deref(), PAGE_SIZE).await?;
            for document in &page {
                let by = document.key.name.strip_prefix(&prefix).and_then(|name| name.parse().ok());
                let Some(by) = by else { continue };
                let record: ReferenceRecord = serde_json::from_str(&document.value)
                    .map_err(|error| Error::storage("reading a reference", error))?;
                let is_recent = self.now().since_ms(record.at) < MAX_CREATION_MS;
                if is_recent || self.stores.records.execution_state(by).await?.is_some() {
                    return Ok(Some(by));
                }
                documents.delete(&document.key, Some(document.version)).await?;
            }
            after = page.last().map(|last| last.key.name.clone()).filter(|_| has_more);
            if after.is_none() {
                return Ok(None);
            }
        }
    }
}

fn key(of: ExecutionId, by: ExecutionId) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, format!("{of}/{by}"))
}
