//! The audit log. An entry is written after the effect and before the reply, and kept for 400 days.

use super::caller::Caller;
use crate::{
    context::{page::page_size, service_context::Context},
    error::{Error, Result},
    ports::{DocumentKey, NewDocument, repository_key},
};
use std::{fmt::Display, sync::Arc};
use tidemill_core::access::{AuditEntry, AuditList, AuditQuery};
use uuid::Uuid;

/// Kind of the documents of entries.
const DOCUMENT_KIND: &str = "audit";
/// Retention of an entry.
const RETENTION_MS: i64 = 400 * 24 * 3_600_000;
/// Maximum number of entries that one request scans, so that a selective filter does not delay the reply.
const MAX_ENTRIES_SCANNED: usize = 2_000;
const BATCH_LEN: usize = 200;
/// Names count down from this time, so that the newest entry is listed first.
const MAX_TIMESTAMP_MS: i64 = 0xfff_ffff_ffff;

/// Service for the audit log.
#[derive(Debug, Clone)]
pub struct AuditService {
    context: Arc<Context>,
}

impl AuditService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Records that `caller` did `action` (`noun.verb`, in the present tense) to `target`, with its outcome. If the entry cannot be
    /// written, the action is not undone, and the entry goes to the server's log.
    pub async fn record(
        &self,
        caller: &Caller,
        action: &str,
        target: impl Display + Send,
        repo: Option<&str>,
        outcome: &str,
    ) {
        let entry = AuditEntry {
            at: self.context.now(),
            token: caller.id.to_string(),
            who: caller.name.to_string(),
            action: action.to_owned(),
            target: target.to_string(),
            repo: repo.map(str::to_owned),
            from: caller.from.map(|address| address.to_string()),
            outcome: outcome.to_owned(),
        };
        if let Err(error) = self.write(&entry).await {
            tracing::error!(%error, ?entry, "cannot write an entry of the audit log");
        }
    }

    async fn write(&self, entry: &AuditEntry) -> Result<()> {
        let left = MAX_TIMESTAMP_MS.saturating_sub(entry.at.0).max(0);
        let document = NewDocument {
            key: DocumentKey::new(DOCUMENT_KIND, format!("{left:011x}-{}", Uuid::new_v4())),
            value: serde_json::to_string(entry)
                .map_err(|error| Error::storage("writing an audit entry", error))?,
            due_at: None,
            expires_at: Some(entry.at.plus_ms(RETENTION_MS)),
        };
        // The name is unique: no other writer can conflict.
        self.context.stores.documents.put(document, None).await.map(drop)
    }

    /// Returns a page of entries, newest first.
    pub async fn list(&self, query: AuditQuery) -> Result<AuditList> {
        let limit = page_size(query.limit)? as usize;
        let is_name = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let mut after = match query.cursor.as_deref() {
            Some(cursor) => {
                Some(Some(cursor).filter(is_name).ok_or_else(|| Error::invalid_cursor(cursor))?.to_owned())
            }
            None => None,
        };
        let fits = |entry: &AuditEntry| {
            let matches =
                |filter: &Option<String>, value: &str| filter.as_deref().is_none_or(|filter| filter == value);
            query
                .repo
                .as_deref()
                .is_none_or(|repo| entry.repo.as_deref().map(repository_key) == Some(repository_key(repo)))
                && matches(&query.action, &entry.action)
                && query.who.as_deref().is_none_or(|who| who == entry.who || who == entry.token)
        };
        let (mut entries, mut scanned) = (Vec::new(), 0);
        let now = self.context.now();
        loop {
            let documents = &self.context.stores.documents;
            let (page, more) = documents.list(DOCUMENT_KIND, "", after.as_deref(), BATCH_LEN).await?;
            let last = page.len().saturating_sub(1);
            for (position, document) in page.into_iter().enumerate() {
                scanned += 1;
                // An entry that a newer version wrote may be unreadable here; it must not hide the others.
                let entry: Option<AuditEntry> = serde_json::from_str(&document.value).ok();
                let is_retained = |entry: &AuditEntry| entry.at.plus_ms(RETENTION_MS) > now;
                entries.extend(entry.filter(|entry| is_retained(entry) && fits(entry)));
                let more = more || position < last;
                if (entries.len() >= limit || scanned >= MAX_ENTRIES_SCANNED) && more {
                    return Ok(AuditList { entries, next_cursor: Some(document.key.name) });
                }
                after = Some(document.key.name);
            }
            if !more {
                return Ok(AuditList { entries, next_cursor: None });
            }
        }
    }
}
