//! AuditService: who did what. Entries are written after the effect and before the reply, and kept for 400 days.

use super::caller::Caller;
use crate::{
    context::{
        page::{no_cursor, page_size},
        service_context::Context,
    },
    error::{Error, Result},
    ports::{DocumentKey, NewDocument, repository_key},
};
use std::{fmt::Display, sync::Arc};
use tidemill_core::access::{AuditEntry, AuditList, AuditQuery};
use uuid::Uuid;

/// The kind of its documents.
const DOCUMENT_KIND: &str = "audit";
/// How long an entry is kept.
const RETENTION_MS: i64 = 400 * 24 * 3_600_000;
/// The most entries that one page looks at: a filter that few of them pass must not hold a reply for long.
const MAX_ENTRIES_SCANNED: usize = 2_000;
const BATCH_LEN: usize = 200;
/// Names count down from here, so that the newest entry is listed first.
const MAX_TIMESTAMP_MS: i64 = 0xfff_ffff_ffff;

/// The audit record.
#[derive(Debug, Clone)]
pub struct AuditService {
    context: Arc<Context>,
}

impl AuditService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Notes that `caller` did `action` (`thing.verb`, in the present tense) to `target`, and what came of it. What was done stays
    /// done if this cannot be written: then the server's log has it.
    pub async fn note(
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
            tracing::error!(%error, ?entry, "an entry of the audit record could not be written");
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
        // The name is new: there is nothing to lose against.
        self.context.stores.documents.put(document, None).await.map(drop)
    }

    /// A page of entries, the newest first.
    pub async fn list(&self, query: AuditQuery) -> Result<AuditList> {
        let limit = page_size(query.limit)? as usize;
        let is_name = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let mut after = match query.cursor.as_deref() {
            Some(cursor) => Some(Some(cursor).filter(is_name).ok_or_else(|| no_cursor(cursor))?.to_owned()),
            None => None,
        };
        let fits = |entry: &AuditEntry| {
            let is = |asked: &Option<String>, has: &str| asked.as_deref().is_none_or(|asked| asked == has);
            query
                .repo
                .as_deref()
                .is_none_or(|asked| entry.repo.as_deref().map(repository_key) == Some(repository_key(asked)))
                && is(&query.action, &entry.action)
                && query.who.as_deref().is_none_or(|asked| asked == entry.who || asked == entry.token)
        };
        let (mut entries, mut seen) = (Vec::new(), 0);
        let now = self.context.now();
        loop {
            let documents = &self.context.stores.documents;
            let (page, more) = documents.list(DOCUMENT_KIND, "", after.as_deref(), BATCH_LEN).await?;
            let last = page.len().saturating_sub(1);
            for (place, document) in page.into_iter().enumerate() {
                seen += 1;
                // One that a newer version wrote, and that this cannot read, must not hide the others.
                let entry: Option<AuditEntry> = serde_json::from_str(&document.value).ok();
                let kept = |entry: &AuditEntry| entry.at.plus_ms(RETENTION_MS) > now;
                entries.extend(entry.filter(|entry| kept(entry) && fits(entry)));
                let more = more || place < last;
                if (entries.len() >= limit || seen >= MAX_ENTRIES_SCANNED) && more {
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
