//! Over how many partitions of the due index nodes are spread. A partition takes some 1,000 writes a second, and each read of due
//! nodes reads all partitions: so their number doubles while there are many nodes, and halves when they have gone.
//!
//! The numbers are in one item. Each process that writes nodes reads it at most once a minute.

use super::store::DynamoRecords;
use crate::{
    keys,
    table::{Change, Item, Query, get_number, number, text},
};
use std::sync::{Mutex, PoisonError};
use tidemill_core::time::Timestamp;
use tidemill_services::error::Result;

/// Number of partitions while there are few nodes.
const MIN_PARTITIONS: u32 = 4;
/// Maximum number of partitions.
const MAX_PARTITIONS: u32 = 256;
/// Nodes that are due soon in one partition from which on their number doubles.
const MANY_NODES: usize = 500;
/// Nodes that are due soon in one partition below which their number halves.
const FEW_NODES: usize = 20;
/// How far ahead nodes count: each queued or running job is due within this time.
const HORIZON_MS: i64 = 16 * 60_000;
/// How long a process uses a number that it has read.
const CACHE_MS: i64 = 60_000;
/// How long partitions are read after the last write to them, at least: longer than any function runs.
const SETTLE_MS: i64 = 16 * 60_000;

/// The number of partitions of the due index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spread {
    /// Nodes are written to this many.
    written: u32,
    /// Nodes may be in this many.
    read: u32,
    /// When `written` changed.
    since: Timestamp,
}

impl Spread {
    const INITIAL: Self = Self { written: MIN_PARTITIONS, read: MIN_PARTITIONS, since: Timestamp(0) };

    fn parse(item: &Item) -> Self {
        let of =
            |name| get_number(item, name).filter(|number| (MIN_PARTITIONS..=MAX_PARTITIONS).contains(number));
        let written = of("w").unwrap_or(MIN_PARTITIONS);
        let read = of("r").unwrap_or(MIN_PARTITIONS).max(written);
        Self { written, read, since: Timestamp(get_number(item, "t").unwrap_or(0)) }
    }

    /// Returns the next numbers, given how many nodes are due soon in the last partition that is written.
    fn adapted(self, nodes: usize, now: Timestamp) -> Self {
        if nodes >= MANY_NODES && self.written < MAX_PARTITIONS {
            let written = self.written * 2;
            return Self { written, read: self.read.max(written), since: now };
        }
        if nodes < FEW_NODES && self.written > MIN_PARTITIONS && self.is_settled(now) {
            return Self { written: self.written / 2, since: now, ..self };
        }
        self
    }

    /// Whether no process writes to more than [`Self::written`] partitions any more.
    fn is_settled(self, now: Timestamp) -> bool {
        now.0.saturating_sub(self.since.0) > SETTLE_MS
    }
}

/// What a process knows of the numbers.
#[derive(Debug, Default)]
pub(super) struct SpreadCache {
    /// The number of partitions to write to, and when it was read.
    written: Mutex<Option<(Timestamp, u32)>>,
    /// When the numbers were adapted last.
    adapted: Mutex<Option<Timestamp>>,
}

/// Whether `at` is less than [`CACHE_MS`] before `now`.
fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    (0..CACHE_MS).contains(&now.0.saturating_sub(at.0))
}

impl DynamoRecords {
    /// Returns the number of partitions of the due index over which written nodes are spread.
    pub(super) async fn due_partitions(&self) -> Result<u32> {
        let now = self.clock.now();
        let known = *self.spread.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, written)) = known.filter(|(at, _)| is_fresh(*at, now)) {
            return Ok(written);
        }
        Ok(self.stored_spread(now).await?.written)
    }

    /// Returns the number of partitions in which nodes may be. Once a minute, it adapts the numbers to the load.
    pub(super) async fn read_due_partitions(&self) -> Result<u32> {
        let now = self.clock.now();
        let spread = self.stored_spread(now).await?;
        {
            let mut adapted = self.spread.adapted.lock().unwrap_or_else(PoisonError::into_inner);
            if adapted.is_some_and(|at| is_fresh(at, now)) {
                return Ok(spread.read);
            }
            *adapted = Some(now);
        }
        if let Err(error) = self.adapt(spread, now).await {
            tracing::warn!(%error, "cannot adapt the number of partitions of the due index; the next sweep does");
        }
        // What was read holds all nodes that were written before this call.
        Ok(spread.read)
    }

    async fn stored_spread(&self, now: Timestamp) -> Result<Spread> {
        let item = self.get_item(&keys::due_spread()).await?;
        let spread = item.as_ref().map_or(Spread::INITIAL, Spread::parse);
        *self.spread.written.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, spread.written));
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

#[cfg(test)]
mod tests {
    use super::{FEW_NODES, MANY_NODES, MAX_PARTITIONS, MIN_PARTITIONS, SETTLE_MS, Spread};
    use crate::keys::due_partition;
    use std::collections::{BTreeMap, BTreeSet};
    use tidemill_core::{ids::ExecutionId, time::Timestamp};
    use uuid::Uuid;

    #[test]
    fn partitions_double_under_load_and_halve_after_it() {
        let mut spread = Spread::INITIAL;
        let mut now = Timestamp(1_000_000);
        for _ in 0..20 {
            let next = spread.adapted(MANY_NODES, now);
            assert!(next.read >= next.written && next.read >= spread.read);
            spread = next;
        }
        assert_eq!((spread.written, spread.read), (MAX_PARTITIONS, MAX_PARTITIONS));
        assert_eq!(spread.adapted(FEW_NODES, now), spread, "not few, not many");
        assert_eq!(spread.adapted(0, now), spread, "writers may still use the number");
        for _ in 0..20 {
            now = now.plus_ms(SETTLE_MS + 1);
            spread = spread.adapted(0, now);
            assert_eq!(spread.read, MAX_PARTITIONS, "nodes may still be there");
        }
        assert_eq!(spread.written, MIN_PARTITIONS);
    }

    #[test]
    fn small_executions_and_nodes_of_a_large_one_are_spread() {
        for partitions in [4, 64] {
            let mut counts = BTreeMap::<String, u32>::new();
            for _ in 0..6_400 {
                *counts.entry(due_partition(ExecutionId(Uuid::now_v7()), 0, partitions)).or_default() += 1;
            }
            let share = 6_400 / partitions;
            assert_eq!(counts.len(), partitions as usize);
            assert!(counts.values().all(|count| (share / 2..share * 2).contains(count)), "{counts:?}");
            let one = ExecutionId(Uuid::now_v7());
            let parts: BTreeSet<String> = (0..64).map(|ix| due_partition(one, ix, partitions)).collect();
            assert_eq!(parts.len(), partitions as usize);
        }
    }
}
