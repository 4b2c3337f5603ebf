//! The DynamoDB records, and the reads that several operations share.

use super::{
    definition::Definitions,
    items::{self, SpecLocation},
    spread::SpreadCache,
};
use crate::{
    keys,
    table::{Item, Key, Query, Table, get_number, get_text, number, text},
};
use std::sync::Arc;
use tidemill_core::{ids::ExecutionId, time::Timestamp};
use tidemill_services::error::{Error, Result};
use tidemill_services::pack::unpack;
use tidemill_services::ports::{Clock, ExecutionRecord, Node};

/// Maximum attempts to write a batch under contention; the pauses between them add up to about 30 s.
pub(super) const MAX_ROUNDS: u32 = 150;

/// The records in a DynamoDB table.
pub struct DynamoRecords {
    pub(super) table: Table,
    pub(super) definitions: Definitions,
    pub(super) clock: Arc<dyn Clock>,
    /// Days after which the table deletes a record.
    keep_days: Option<u32>,
    /// Over how many partitions of the due index nodes are spread.
    pub(super) spread: SpreadCache,
}

impl std::fmt::Debug for DynamoRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoRecords").field("table", &self.table).finish_non_exhaustive()
    }
}

impl DynamoRecords {
    /// Creates the records port over a table.
    pub(crate) fn new(
        table: Table,
        definitions: Definitions,
        clock: Arc<dyn Clock>,
        keep_days: Option<u32>,
    ) -> Self {
        Self { table, definitions, clock, keep_days, spread: SpreadCache::default() }
    }

    pub(super) async fn get_item(&self, key: &Key) -> Result<Option<Item>> {
        self.table.get(key, true).await
    }

    pub(super) async fn load_record(&self, item: &Item) -> Result<ExecutionRecord> {
        let packed = match items::spec_location(item)? {
            SpecLocation::Inline(packed) => packed,
            SpecLocation::Object(key) => self.definitions.load(&key).await?,
        };
        items::execution(item, unpack(&packed)?)
    }

    /// Returns the node of an item; its spec comes from the definition when the item has none.
    pub(super) async fn load_node(&self, item: &Item) -> Result<Node> {
        if let Some(spec) = items::node_spec(item)? {
            return items::node(item, spec);
        }
        let ix = get_text(item, "sk").and_then(keys::node_ix).unwrap_or_default();
        let home = get_text(item, "pk").map(keys::home_of_partition).unwrap_or_default();
        let spec = self.definitions.node_spec(home, ix).await?;
        items::node(
            item,
            spec.ok_or_else(|| Error::storage("reading a record", "the definition of a node is missing"))?,
        )
    }

    pub(super) async fn execution_items(&self, id: ExecutionId) -> Result<Vec<Item>> {
        self.table.meter().attribute_to(&id.partition());
        self.table
            .query(Query {
                condition: "pk = :pk",
                values: Item::from([(":pk".to_owned(), text(keys::home(id)))]),
                consistent: true,
                ..Query::default()
            })
            .await
    }

    pub(super) fn expiry(&self) -> Option<i64> {
        self.keep_days.map(|days| self.clock.now().0 / 1000 + i64::from(days) * 86_400)
    }

    /// Returns due times and keys in one partition of the due index, in the order of due time.
    pub(super) async fn due_keys(
        &self,
        partition: String,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Key)>> {
        let items = self
            .table
            .query(Query {
                index: Some(keys::BY_DUE),
                condition: "dk = :part AND due <= :now",
                values: Item::from([
                    (":part".to_owned(), text(partition)),
                    (":now".to_owned(), number(now.0)),
                ]),
                limit: Some(limit),
                ..Query::default()
            })
            .await?;
        let entry = |item: &Item| {
            let due = Timestamp(get_number(item, "due")?);
            Some((due, Key::new(get_text(item, "pk")?, get_text(item, "sk")?)))
        };
        Ok(items.iter().filter_map(entry).collect())
    }
}
