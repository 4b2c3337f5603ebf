//! Documents in the table. The documents of a kind are one partition, ordered by name.

use super::{
    keys,
    table::{Change, Item, Key, Query, Table, WriteOutcome, get_number, get_text, number, text},
};
use async_trait::async_trait;
use tidemill_core::time::Timestamp;
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{Document, DocumentKey, Documents, NewDocument};
use uuid::Uuid;

/// Documents in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoDocuments {
    table: Table,
}

impl DynamoDocuments {
    /// Creates the documents port over a table.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    async fn write(&self, change: Change) -> Result<bool> {
        match self.table.write(vec![change]).await? {
            WriteOutcome::Committed => Ok(true),
            // Another writer committed first, so the version that was read is stale.
            WriteOutcome::ConditionFailed(_) | WriteOutcome::Contended => Ok(false),
        }
    }
}

fn document(item: &Item) -> Result<Document> {
    let damaged = || Error::storage("reading a document", "an item of the table lacks an attribute");
    let kind = get_text(item, "pk").and_then(keys::document_kind).ok_or_else(damaged)?;
    Ok(Document {
        key: DocumentKey::new(kind, get_text(item, "sk").ok_or_else(damaged)?),
        value: get_text(item, "doc").ok_or_else(damaged)?.to_owned(),
        due_at: get_number(item, "due").map(Timestamp),
        version: get_number(item, "v").ok_or_else(damaged)?,
    })
}

/// Returns a random first version of a document, so that no version read before a deletion is valid again.
fn first_version() -> u64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    (high >> 16) + 1
}

/// Returns the smallest string greater than all strings with this prefix; `None`: there is none.
fn end_of(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[async_trait]
impl Documents for DynamoDocuments {
    async fn get(&self, key: &DocumentKey) -> Result<Option<Document>> {
        let item = self.table.get(&keys::document(key), true).await?;
        item.as_ref().map(document).transpose()
    }

    async fn put(&self, document: NewDocument, if_version: Option<u64>) -> Result<bool> {
        let mut item = keys::document(&document.key).item();
        item.insert("doc".into(), text(document.value));
        item.insert("v".into(), number(if_version.map_or_else(first_version, |version| version + 1)));
        if let Some(due_at) = document.due_at {
            item.insert("dk".into(), text(keys::due_documents_partition(&document.key.kind)));
            item.insert("due".into(), number(due_at.0));
        }
        if let Some(expires_at) = document.expires_at {
            item.insert("ttl".into(), number(expires_at.0 / 1000));
        }
        let (condition, values) = match if_version {
            None => ("attribute_not_exists(pk)", Item::new()),
            Some(version) => ("v = :v", Item::from([(":v".to_owned(), number(version))])),
        };
        self.write(Change::Put { item, condition: Some(condition), values }).await
    }

    async fn delete(&self, key: &DocumentKey, if_version: Option<u64>) -> Result<bool> {
        let (condition, values) = match if_version {
            None => ("attribute_exists(pk)", Item::new()),
            Some(version) => ("v = :v", Item::from([(":v".to_owned(), number(version))])),
        };
        self.write(Change::DeleteIf { key: keys::document(key), condition, values }).await
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Document>, bool)> {
        let mut values = Item::from([(":pk".to_owned(), text(keys::documents(kind)))]);
        let from = after.map_or(prefix, |after| after.max(prefix));
        let (condition, skip) = match (from.is_empty(), end_of(prefix)) {
            (true, _) => ("pk = :pk", None),
            (false, Some(end)) => {
                values.insert(":from".to_owned(), text(from));
                values.insert(":end".to_owned(), text(end));
                ("pk = :pk AND sk BETWEEN :from AND :end", after)
            }
            (false, None) => {
                values.insert(":from".to_owned(), text(from));
                ("pk = :pk AND sk >= :from", after)
            }
        };
        // The first may be `after` itself, and the last the end of the prefix: read one more for each.
        let query = Query {
            condition,
            values,
            consistent: true,
            limit: Some(limit.saturating_add(3)),
            ..Query::default()
        };
        let mut found = Vec::new();
        for item in &self.table.query(query).await? {
            let one = document(item)?;
            if one.key.name.starts_with(prefix) && Some(one.key.name.as_str()) != skip {
                found.push(one);
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    async fn due(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<Document>> {
        let query = Query {
            index: Some(keys::BY_DUE),
            condition: "dk = :part AND due <= :now",
            values: Item::from([
                (":part".to_owned(), text(keys::due_documents_partition(kind))),
                (":now".to_owned(), number(now.0)),
            ]),
            limit: Some(limit),
            ..Query::default()
        };
        let mut due = Vec::new();
        for item in self.table.query(query).await? {
            let (Some(pk), Some(sk)) = (get_text(&item, "pk"), get_text(&item, "sk")) else { continue };
            // The index is eventually consistent; the table has the current due time.
            if let Some(item) = self.table.get(&Key::new(pk, sk), true).await? {
                due.push(document(&item)?);
            }
        }
        due.retain(|one| one.due_at.is_some_and(|at| at <= now));
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn prefix_end_sorts_after_every_name_with_prefix() {
        assert_eq!(end_of("ab").as_deref(), Some("ac"));
        assert_eq!(end_of("a\u{d7ff}").as_deref(), Some("a\u{e000}"), "surrogates are skipped");
        assert_eq!(end_of("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end_of("\u{10ffff}"), None);
        assert_eq!(end_of(""), None);
    }
}
