//! Documents in SQLite.

use crate::sqlite::{Database, TaskOutcome};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;
use tidemill_core::time::Timestamp;
use tidemill_services::error::Result;
use tidemill_services::ports::{Clock, Document, DocumentKey, Documents, NewDocument};

const WRITE_OPERATION: &str = "writing a document";
const READ_OPERATION: &str = "reading documents";

/// Documents in an SQLite file.
pub struct SqliteDocuments {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
}

impl SqliteDocuments {
    /// Creates the store over a database.
    pub fn new(database: Arc<Database>, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        key: DocumentKey { kind: row.get(0)?, name: row.get(1)? },
        value: row.get(2)?,
        due_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
        version: row.get::<_, i64>(4)?.unsigned_abs(),
    })
}

fn to_i64(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

#[async_trait]
impl Documents for SqliteDocuments {
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>> {
        self.database.read(READ_OPERATION, |conn| {
            conn.prepare_cached(
                "SELECT kind, name, value, due_at, version FROM documents WHERE kind = ?1 AND name = ?2",
            )?
            .query_row([&key.kind, &key.name], document)
            .optional()
        })
    }

    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool> {
        let now = self.clock.now();
        let work = move |conn: &rusqlite::Connection| {
            // Each put deletes up to four expired documents, so that they cannot accumulate.
            conn.prepare_cached(
                "DELETE FROM documents WHERE (kind, name) IN
                 (SELECT kind, name FROM documents WHERE expires_at <= ?1 LIMIT 4)",
            )?
            .execute([now.0])?;
            let NewDocument { key, value, due_at, expires_at } = &document;
            let (due_at, expires_at) = (due_at.map(|at| at.0), expires_at.map(|at| at.0));
            // A document that is created again after its deletion must not get a version that a caller has read before.
            let changed = match if_version {
                None => conn
                    .prepare_cached(
                        "INSERT INTO documents (kind, name, value, due_at, expires_at, version)
                         VALUES (?1, ?2, ?3, ?4, ?5, abs(random() >> 1) + 1) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![key.kind, key.name, value, due_at, expires_at])?,
                Some(version) => conn
                    .prepare_cached(
                        "UPDATE documents SET value = ?3, due_at = ?4, expires_at = ?5, version = version + 1
                         WHERE kind = ?1 AND name = ?2 AND version = ?6",
                    )?
                    .execute(params![key.kind, key.name, value, due_at, expires_at, to_i64(version)])?,
            };
            Ok(TaskOutcome::Commit(changed == 1))
        };
        self.database.write(WRITE_OPERATION, work).await
    }

    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool> {
        let key = key.clone();
        let work = move |conn: &rusqlite::Connection| {
            let changed = conn
                .prepare_cached(
                    "DELETE FROM documents WHERE kind = ?1 AND name = ?2 AND (?3 IS NULL OR version = ?3)",
                )?
                .execute(params![key.kind, key.name, if_version.map(to_i64)])?;
            Ok(TaskOutcome::Commit(changed == 1))
        };
        self.database.write(WRITE_OPERATION, work).await
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)> {
        let mut documents: Vec<Document> = self.database.read(READ_OPERATION, |conn| {
            conn.prepare_cached(
                "SELECT kind, name, value, due_at, version FROM documents
                 WHERE kind = ?1 AND name >= ?2 AND substr(name, 1, length(?2)) = ?2 AND name > ?3
                 ORDER BY name LIMIT ?4",
            )?
            .query_map(params![kind, prefix, after.unwrap_or_default(), to_i64(limit as u64 + 1)], document)?
            .collect()
        })?;
        let more = documents.len() > limit;
        documents.truncate(limit);
        Ok((documents, more))
    }

    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>> {
        self.database.read(READ_OPERATION, |conn| {
            conn.prepare_cached(
                "SELECT kind, name, value, due_at, version FROM documents
                 WHERE kind = ?1 AND due_at <= ?2 ORDER BY due_at, name LIMIT ?3",
            )?
            .query_map(params![kind, now.0, to_i64(limit as u64)], document)?
            .collect()
        })
    }
}
