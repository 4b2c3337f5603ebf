//! Records of artifacts.

use super::{fold::PlannedWrite, items, store::DynamoRecords};
use crate::{
    keys,
    table::{Change, Item, Query, number, text},
};
use tidemill_services::error::Result;
use tidemill_services::pack::{pack, unpack};
use tidemill_services::ports::ArtifactRecord;

/// Maximum size of an artifact's item; above it the list of files is stored in an object.
const MAX_INLINE_ARTIFACT_SIZE: usize = 50_000;

impl DynamoRecords {
    /// Plans the write of an artifact's item. A long list of files is stored in an object.
    pub(super) async fn artifact_change(&self, record: &ArtifactRecord) -> Result<PlannedWrite> {
        let mut item = items::artifact(record)?;
        if items::is_large(&item, MAX_INLINE_ARTIFACT_SIZE) {
            let without_files = ArtifactRecord { files: Vec::new(), ..record.clone() };
            let files = self.definitions.store(record.execution, pack(&record.files)?).await?;
            item = items::artifact(&without_files)?;
            item.insert("o".into(), text(files));
        }
        if let Some(expiry) = self.expiry() {
            item.insert("ttl".into(), number(expiry));
        }
        let change = Change::Put { item, condition: None, values: Item::new() };
        Ok(PlannedWrite { change, retryable: false })
    }

    pub(super) async fn artifact_record(&self, item: &Item) -> Result<ArtifactRecord> {
        let (mut record, files) = items::artifact_record(item)?;
        if let Some(key) = files {
            record.files = unpack(&self.definitions.load(&key).await?)?;
        }
        Ok(record)
    }

    /// Returns the artifacts of an execution, or of one job of it.
    pub(super) async fn artifacts_in(&self, home: &str, ix: Option<u32>) -> Result<Vec<ArtifactRecord>> {
        let mut values = Item::from([(":pk".to_owned(), text(keys::artifacts(home)))]);
        let condition = match ix {
            None => "pk = :pk",
            Some(ix) => {
                values.insert(":prefix".to_owned(), text(keys::artifact_prefix(ix)));
                "pk = :pk AND begins_with(sk, :prefix)"
            }
        };
        let items = self
            .table
            .query(Query {
                condition,
                values,
                // A job must find the artifacts that its needs have just stored.
                consistent: true,
                ..Query::default()
            })
            .await?;
        let mut records = Vec::with_capacity(items.len());
        for item in &items {
            records.push(self.artifact_record(item).await?);
        }
        Ok(records)
    }
}
