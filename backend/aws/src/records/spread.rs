//! Over how many partitions of the due index nodes are spread. A partition takes some 1,000 writes a second, and each read of due
//! nodes reads all partitions: so their number doubles while there are many nodes, and halves when they have gone.
//!
//! The numbers are in one item. Each process that writes nodes reads it at most once a minute.

use crate::table::{Item, get_number};
use std::sync::{Mutex, PoisonError};
use tidemill_core::time::Timestamp;

/// Number of partitions while there are few nodes.
const MIN_PARTITIONS: u32 = 4;
/// Maximum number of partitions.
const MAX_PARTITIONS: u32 = 256;
/// Nodes that are due soon in one partition from which on their number doubles.
pub(super) const MANY_NODES: usize = 500;
/// Nodes that are due soon in one partition below which their number halves.
const FEW_NODES: usize = 20;
/// How far ahead nodes count: each queued or running job is due within this time.
pub(super) const HORIZON_MS: i64 = 16 * 60_000;
/// How long a process uses a number that it has read.
const CACHE_MS: i64 = 60_000;
/// How long partitions are read after the last write to them, at least: longer than any function runs.
const SETTLE_MS: i64 = 16 * 60_000;

/// The number of partitions of the due index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    /// Nodes are written to this many.
    pub written: u32,
    /// Nodes may be in this many.
    pub read: u32,
    /// When `written` changed.
    pub since: Timestamp,
}

impl Spread {
    /// While nothing is stored.
    pub const INITIAL: Self = Self { written: MIN_PARTITIONS, read: MIN_PARTITIONS, since: Timestamp(0) };

    /// Returns the stored numbers of an item.
    pub fn parse(item: &Item) -> Self {
        let of =
            |name| get_number(item, name).filter(|number| (MIN_PARTITIONS..=MAX_PARTITIONS).contains(number));
        let written = of("w").unwrap_or(MIN_PARTITIONS);
        let read = of("r").unwrap_or(MIN_PARTITIONS).max(written);
        Self { written, read, since: Timestamp(get_number(item, "t").unwrap_or(0)) }
    }

    /// Returns the next numbers, given how many nodes are due soon in the last partition that is written.
    pub fn adapted(self, nodes: usize, now: Timestamp) -> Self {
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
    pub fn is_settled(self, now: Timestamp) -> bool {
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

impl SpreadCache {
    /// Returns the number of partitions to write to, if it was read less than a minute before `now`.
    pub fn written(&self, now: Timestamp) -> Option<u32> {
        let known = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(at, _)| is_fresh(*at, now)).map(|(_, written)| written)
    }

    /// Stores the number of partitions to write to.
    pub fn set_written(&self, written: u32, now: Timestamp) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, written));
    }

    /// Whether the numbers are to be adapted at `now`: for one caller in a minute.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let mut adapted = self.adapted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = !adapted.is_some_and(|at| is_fresh(at, now));
        if is_due {
            *adapted = Some(now);
        }
        is_due
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
