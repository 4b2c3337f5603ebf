//! The table: reads, and usage counts of all calls.

use super::item::{Item, Key, named_attributes};
use crate::{backoff::pause, failure::storage_error, meter::Meter};
use aws_sdk_dynamodb::{
    Client,
    types::{ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity},
};
use tidemill_core::execution::cost::Usage;
use tidemill_services::error::{Error, Result};

/// Maximum keys of one BatchGetItem (Amazon DynamoDB Developer Guide, quotas).
const MAX_BATCH_GETS: usize = 100;
/// Maximum rounds for the items that a batch call did not process, with growing pauses.
const MAX_ROUNDS: u32 = 12;

/// A query of one partition of the table or of an index.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The index; `None`: the table.
    pub index: Option<&'static str>,
    /// The key condition.
    pub condition: &'static str,
    /// Values in the condition.
    pub values: Item,
    /// Attributes to return; `None`: all.
    pub projection: Option<&'static str>,
    /// Whether to return the last item first.
    pub descending: bool,
    /// Whether the read is strongly consistent; never for an index.
    pub consistent: bool,
    /// Maximum items; `None`: no limit.
    pub limit: Option<usize>,
}

/// The DynamoDB table, shared by records, logs and documents.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: String,
    meter: Meter,
}

impl Table {
    /// Creates a handle of the table with this name.
    pub fn new(client: Client, name: String, meter: Meter) -> Self {
        Self { client, name, meter }
    }

    /// Returns the usage counter of the calls.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Returns an item.
    pub async fn get(&self, key: &Key, consistent: bool) -> Result<Option<Item>> {
        let reply = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .consistent_read(consistent)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| storage_error("reading the table", error))?;
        self.count_read(reply.consumed_capacity());
        Ok(reply.item)
    }

    /// Returns items by key, in no order, without those that do not exist.
    pub async fn get_all(
        &self,
        keys: &[Key],
        consistent: bool,
        projection: Option<&'static str>,
    ) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(keys.len());
        for part in keys.chunks(MAX_BATCH_GETS) {
            let mut remaining: Vec<Item> = part.iter().map(Key::item).collect();
            for round in 0.. {
                let request = KeysAndAttributes::builder()
                    .set_keys(Some(remaining))
                    .consistent_read(consistent)
                    .set_projection_expression(projection.map(str::to_owned))
                    .build()
                    .map_err(|error| Error::storage("reading the table", error))?;
                let reply = self
                    .client
                    .batch_get_item()
                    .request_items(&self.name, request)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
                    .await
                    .map_err(|error| storage_error("reading the table", error))?;
                self.count_reads(reply.consumed_capacity());
                items
                    .extend(reply.responses.and_then(|mut all| all.remove(&self.name)).into_iter().flatten());
                let unprocessed = reply.unprocessed_keys.and_then(|mut all| all.remove(&self.name));
                remaining = unprocessed.map(|unprocessed| unprocessed.keys).unwrap_or_default();
                if remaining.is_empty() {
                    break;
                }
                pause_or_fail(round, "reading the table").await?;
            }
        }
        Ok(items)
    }

    /// Returns the items of a query in key order.
    pub async fn query(&self, query: Query) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let remaining = query.limit.map(|limit| limit.saturating_sub(items.len()));
            let reply = self
                .client
                .query()
                .table_name(&self.name)
                .set_index_name(query.index.map(str::to_owned))
                .key_condition_expression(query.condition)
                .set_expression_attribute_values(Some(query.values.clone()))
                .set_projection_expression(query.projection.map(str::to_owned))
                .set_expression_attribute_names(query.projection.and_then(named_attributes))
                .scan_index_forward(!query.descending)
                .consistent_read(query.consistent)
                .set_limit(remaining.map(|remaining| i32::try_from(remaining).unwrap_or(i32::MAX)))
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| storage_error("reading the table", error))?;
            self.count_read(reply.consumed_capacity());
            items.extend(reply.items.unwrap_or_default());
            start = reply.last_evaluated_key;
            if start.is_none() || query.limit.is_some_and(|limit| items.len() >= limit) {
                return Ok(items);
            }
        }
    }

    fn count_read(&self, consumed: Option<&ConsumedCapacity>) {
        self.count_reads(consumed.map(std::slice::from_ref).unwrap_or_default());
    }

    fn count_reads(&self, consumed: &[ConsumedCapacity]) {
        let table_read_halves = consumed.iter().map(halves).sum();
        self.meter.count(Usage { table_requests: 1, table_read_halves, ..Usage::default() });
    }

    pub(super) fn count_writes(&self, items: u64, consumed: Option<&ConsumedCapacity>) {
        let table_write_halves = consumed.map_or(0, halves);
        self.meter.count(Usage {
            table_requests: 1,
            table_writes: items,
            table_write_halves,
            ..Usage::default()
        });
    }

    pub(super) fn count_write_capacity(&self, consumed: &[ConsumedCapacity]) {
        let table_write_halves = consumed.iter().map(halves).sum();
        self.meter.count(Usage { table_write_halves, ..Usage::default() });
    }
}

/// Returns the capacity in half units, the smallest step that DynamoDB bills.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn halves(consumed: &ConsumedCapacity) -> u64 {
    (consumed.capacity_units().unwrap_or(0.0) * 2.0).round().max(0.0) as u64
}

/// Pauses before another round; returns an error after the last.
pub(super) async fn pause_or_fail(round: u32, doing: &str) -> Result<()> {
    if round >= MAX_ROUNDS {
        return Err(Error::storage(doing, "the table throttles requests; try again later"));
    }
    pause(round).await;
    Ok(())
}
