//! Reads and adapts the number of partitions of the due index.

use super::{
    spread::{HORIZON_MS, MANY_NODES, Spread},
    store::DynamoRecords,
};
use crate::{
    keys,
    table::{Change, Item, Query, number, text},
};
use tidemill_core::time::Timestamp;
use tidemill_services::error::Result;

impl DynamoRecords {
    /// Returns the number of partitions of the due index over which written nodes are spread.
    pub(super) async fn due_partitions(&self) -> Result<u32> {
        let now = self.clock.now();
        match self.spread.written(now) {
            Some(written) => Ok(written),
            None => Ok(self.stored_spread(now).await?.written),
        }
    }

    /// Returns the number of partitions in which nodes may be. Once a minute, it adapts the numbers to the load.
    pub(super) async fn read_due_partitions(&self) -> Result<u32> {
        let now = self.clock.now();
        let spread = self.stored_spread(now).await?;
        if !self.spread.is_due(now) {
            return Ok(spread.read);
        }
        if let Err(error) = self.adapt(spread, now).await {
            tracing::warn!(%error, "cannot adapt the number of partitions of the due index; the next sweep does");
        }
        // What was read holds all nodes that were written before this call.
        Ok(spread.read)
    }

    async fn stored_spread(&self, now: Timestamp) -> Result<Spread> {
        // An old number is as good: it only makes a node late, or reads an empty partition.
        let item = self.table.get(&keys::due_spread(), false).await?;
        let spread = item.as_ref().map_or(Spread::INITIAL, Spread::parse);
        self.spread.set_written(spread.written, now);
        Ok(spread)
    }

    async fn adapt(&self, spread: Spread, now: Timestamp) -> Result<()> {
        // The last partition has only nodes that were written with this number of partitions.
        let last = keys::due_partition_at(spread.written - 1);
        let soon = Timestamp(now.0.saturating_add(HORIZON_MS));
        let mut next = spread.adapted(self.due_keys(last, soon, MANY_NODES).await?.len(), now);
        if next == spread && spread.read > spread.written && spread.is_settled(now) {
            next.read = self.highest_with_nodes(spread).await?;
        }
        if next == spread {
            return Ok(());
        }
        tracing::info!(written = next.written, read = next.read, "the due index has other partitions");
        let change = Change::Update {
            key: keys::due_spread(),
            update: "SET w = :w, r = :r, t = :t".to_owned(),
            condition: "attribute_not_exists(pk) OR (w = :w0 AND r = :r0)",
            values: Item::from([
                (":w".to_owned(), number(next.written)),
                (":r".to_owned(), number(next.read)),
                (":t".to_owned(), number(next.since.0)),
                (":w0".to_owned(), number(spread.written)),
                (":r0".to_owned(), number(spread.read)),
            ]),
        };
        // If the condition fails, another process has adapted them.
        self.table.write(vec![change]).await.map(|_| ())
    }

    /// Returns how many partitions must be read, so that all with nodes are: a power of two.
    async fn highest_with_nodes(&self, spread: Spread) -> Result<u32> {
        let mut read = spread.read;
        while read > spread.written {
            for part in (read / 2)..read {
                let query = Query {
                    index: Some(keys::BY_DUE),
                    condition: "dk = :part",
                    values: Item::from([(":part".to_owned(), text(keys::due_partition_at(part)))]),
                    limit: Some(1),
                    ..Query::default()
                };
                if !self.table.query(query).await?.is_empty() {
                    return Ok(read);
                }
            }
            read /= 2;
        }
        Ok(read)
    }
}
