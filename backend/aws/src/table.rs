//! Calls to the table: counted, with errors in the project's words, and each written once.

use super::meter::Meter;
use aws_sdk_dynamodb::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, ConsumedCapacity, Delete, DeleteRequest, KeysAndAttributes, Put, PutRequest,
        ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
    },
};
use std::{collections::HashMap, error::Error as StdError, time::Duration};
use tidemill_core::execution::cost::Usage;
use tidemill_services::error::{Error, Result};
use uuid::Uuid;

/// An item, or part of one.
pub type Item = HashMap<String, AttributeValue>;

/// The most items of one BatchWriteItem, and the most keys of one BatchGetItem (Amazon DynamoDB Developer Guide, quotas).
const MAX_BATCH_WRITES: usize = 25;
const MAX_BATCH_GETS: usize = 100;
/// The most bytes of one BatchWriteItem that are sent; the limit is 16 MB.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Rounds for what a batch call left undone, with growing pauses.
const MAX_ROUNDS: u32 = 12;

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition.
    pub pk: String,
    /// Place in the partition.
    pub sk: String,
}

impl Key {
    /// The key `pk`, `sk`.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// The key as attributes.
    pub fn item(&self) -> Item {
        Item::from([("pk".to_owned(), text(&self.pk)), ("sk".to_owned(), text(&self.sk))])
    }
}

/// A string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub fn number(value: impl Copy + ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A binary attribute.
pub fn binary(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(value))
}

/// A conditional write of one item.
#[derive(Debug, Clone)]
pub enum Change {
    /// Puts the item.
    Put {
        /// All of it, key included.
        item: Item,
        /// Expression that must hold of what is there.
        condition: Option<&'static str>,
        /// Values in the expression.
        values: Item,
    },
    /// Changes attributes.
    Update {
        /// Which item.
        key: Key,
        /// Update expression.
        update: String,
        /// Expression that must hold of what is there.
        condition: &'static str,
        /// Values in both.
        values: Item,
    },
    /// Removes the item.
    Delete(Key),
    /// Removes the item under a condition.
    DeleteIf {
        /// Which item.
        key: Key,
        /// Expression that must hold of what is there.
        condition: &'static str,
        /// Values in it.
        values: Item,
    },
}

/// What became of a write of several items.
#[derive(Debug)]
pub enum Written {
    /// All were made.
    Done,
    /// None was; for each whose condition did not hold, what was there instead (empty: nothing).
    Refused(Vec<Option<Item>>),
    /// None was, since others wrote to the same items at the same time: try again.
    Contended,
}

/// A query of one partition of the table or of an index.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The index; `None`: the table.
    pub index: Option<&'static str>,
    /// Key condition.
    pub condition: &'static str,
    /// Values in it.
    pub values: Item,
    /// Attributes to return; `None`: all.
    pub projection: Option<&'static str>,
    /// From the last to the first.
    pub backwards: bool,
    /// Whether writes acknowledged before are seen for sure; never of an index.
    pub consistent: bool,
    /// The most items; `None`: all.
    pub limit: Option<usize>,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
    meter: Meter,
}

impl Table {
    /// The table of this name.
    pub fn new(client: Client, name: String, meter: Meter) -> Self {
        Self { client, name, meter }
    }

    /// The counter of its calls.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// An item.
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
            .map_err(|error| failed("reading the table", error))?;
        self.read(reply.consumed_capacity());
        Ok(reply.item)
    }

    /// Items by key, in no order; those that are not there are left out.
    pub async fn get_all(
        &self,
        keys: &[Key],
        consistent: bool,
        projection: Option<&'static str>,
    ) -> Result<Vec<Item>> {
        let mut found = Vec::with_capacity(keys.len());
        for part in keys.chunks(MAX_BATCH_GETS) {
            let mut left: Vec<Item> = part.iter().map(Key::item).collect();
            for round in 0.. {
                let wanted = KeysAndAttributes::builder()
                    .set_keys(Some(left))
                    .consistent_read(consistent)
                    .set_projection_expression(projection.map(str::to_owned))
                    .build()
                    .map_err(|error| Error::storage("reading the table", error))?;
                let reply = self
                    .client
                    .batch_get_item()
                    .request_items(&self.name, wanted)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
                    .await
                    .map_err(|error| failed("reading the table", error))?;
                self.read_each(reply.consumed_capacity());
                found
                    .extend(reply.responses.and_then(|mut all| all.remove(&self.name)).into_iter().flatten());
                let undone = reply.unprocessed_keys.and_then(|mut all| all.remove(&self.name));
                left = undone.map(|undone| undone.keys).unwrap_or_default();
                if left.is_empty() {
                    break;
                }
                again(round, "reading the table").await?;
            }
        }
        Ok(found)
    }

    /// The items of a query in the order of their keys.
    pub async fn query(&self, query: Query) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        let mut start = None;
        loop {
            let left = query.limit.map(|limit| limit.saturating_sub(found.len()));
            let reply = self
                .client
                .query()
                .table_name(&self.name)
                .set_index_name(query.index.map(str::to_owned))
                .key_condition_expression(query.condition)
                .set_expression_attribute_values(Some(query.values.clone()))
                .set_projection_expression(query.projection.map(str::to_owned))
                .scan_index_forward(!query.backwards)
                .consistent_read(query.consistent)
                .set_limit(left.map(|left| i32::try_from(left).unwrap_or(i32::MAX)))
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| failed("reading the table", error))?;
            self.read(reply.consumed_capacity());
            found.extend(reply.items.unwrap_or_default());
            start = reply.last_evaluated_key;
            if start.is_none() || query.limit.is_some_and(|limit| found.len() >= limit) {
                return Ok(found);
            }
        }
    }

    /// Makes all changes, or none. One alone is no transaction, which costs half.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Written> {
        let number = changes.len();
        let mut changes = changes.into_iter();
        match (number, changes.next()) {
            (_, None) => Ok(Written::Done),
            (1, Some(only)) => self.write_one(only).await,
            (_, Some(first)) => self.transact(std::iter::once(first).chain(changes).collect()).await,
        }
    }

    async fn write_one(&self, change: Change) -> Result<Written> {
        let doing = "writing to the table";
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        let total = ReturnConsumedCapacity::Total;
        match change {
            Change::Put { item, condition, values } => {
                let sent = self
                    .client
                    .put_item()
                    .table_name(&self.name)
                    .set_item(Some(item))
                    .set_condition_expression(condition.map(str::to_owned))
                    .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
                    .return_consumed_capacity(total)
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await;
                match sent {
                    Ok(reply) => self.wrote(1, reply.consumed_capacity()),
                    Err(error) => {
                        use aws_sdk_dynamodb::operation::put_item::PutItemError as Kind;
                        return match error.as_service_error() {
                            Some(Kind::ConditionalCheckFailedException(refused)) => {
                                Ok(Written::Refused(vec![Some(refused.item.clone().unwrap_or_default())]))
                            }
                            Some(Kind::TransactionConflictException(_)) => Ok(Written::Contended),
                            _ => Err(failed(doing, error)),
                        };
                    }
                }
            }
            Change::Update { key, update, condition, values } => {
                let sent = self
                    .client
                    .update_item()
                    .table_name(&self.name)
                    .set_key(Some(key.item()))
                    .update_expression(update)
                    .condition_expression(condition)
                    .set_expression_attribute_values(Some(values))
                    .return_consumed_capacity(total)
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await;
                match sent {
                    Ok(reply) => self.wrote(1, reply.consumed_capacity()),
                    Err(error) => {
                        use aws_sdk_dynamodb::operation::update_item::UpdateItemError as Kind;
                        return match error.as_service_error() {
                            Some(Kind::ConditionalCheckFailedException(refused)) => {
                                Ok(Written::Refused(vec![Some(refused.item.clone().unwrap_or_default())]))
                            }
                            Some(Kind::TransactionConflictException(_)) => Ok(Written::Contended),
                            _ => Err(failed(doing, error)),
                        };
                    }
                }
            }
            Change::Delete(key) => {
                let reply = self
                    .client
                    .delete_item()
                    .table_name(&self.name)
                    .set_key(Some(key.item()))
                    .return_consumed_capacity(total)
                    .send()
                    .await
                    .map_err(|error| failed(doing, error))?;
                self.wrote(1, reply.consumed_capacity());
            }
            Change::DeleteIf { key, condition, values } => {
                let sent = self
                    .client
                    .delete_item()
                    .table_name(&self.name)
                    .set_key(Some(key.item()))
                    .condition_expression(condition)
                    .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
                    .return_consumed_capacity(total)
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await;
                match sent {
                    Ok(reply) => self.wrote(1, reply.consumed_capacity()),
                    Err(error) => {
                        use aws_sdk_dynamodb::operation::delete_item::DeleteItemError as Kind;
                        return match error.as_service_error() {
                            Some(Kind::ConditionalCheckFailedException(refused)) => {
                                Ok(Written::Refused(vec![Some(refused.item.clone().unwrap_or_default())]))
                            }
                            Some(Kind::TransactionConflictException(_)) => Ok(Written::Contended),
                            _ => Err(failed(doing, error)),
                        };
                    }
                }
            }
        }
        Ok(Written::Done)
    }

    async fn transact(&self, changes: Vec<Change>) -> Result<Written> {
        let doing = "writing to the table";
        let number = changes.len() as u64;
        let items = changes.into_iter().map(|change| self.transact_item(change)).collect::<Result<_>>()?;
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            // The same in each of the SDK's own tries, so that one whose reply was lost is not made twice.
            .client_request_token(Uuid::new_v4().simple().to_string())
            .send()
            .await;
        let error = match sent {
            Ok(reply) => {
                self.wrote(number, None);
                self.wrote_each(reply.consumed_capacity());
                return Ok(Written::Done);
            }
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                let reasons = canceled.cancellation_reasons();
                let is = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
                if is("ConditionalCheckFailed") {
                    let old = |reason: &aws_sdk_dynamodb::types::CancellationReason| {
                        (reason.code() == Some("ConditionalCheckFailed"))
                            .then(|| reason.item().cloned().unwrap_or_default())
                    };
                    return Ok(Written::Refused(reasons.iter().map(old).collect()));
                }
                let passing =
                    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"].map(is);
                if passing.contains(&true) {
                    return Ok(Written::Contended);
                }
                Err(failed(doing, error))
            }
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(Written::Contended),
            _ => Err(failed(doing, error)),
        }
    }

    fn transact_item(&self, change: Change) -> Result<TransactWriteItem> {
        let doing = |error| Error::storage("writing to the table", error);
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        let item = TransactWriteItem::builder();
        Ok(match change {
            Change::Put { item: put, condition, values } => {
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(put))
                    .set_condition_expression(condition.map(str::to_owned))
                    .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
                    .return_values_on_condition_check_failure(old);
                item.put(put.build().map_err(doing)?)
            }
            Change::Update { key, update, condition, values } => {
                let update = Update::builder()
                    .table_name(&self.name)
                    .set_key(Some(key.item()))
                    .update_expression(update)
                    .condition_expression(condition)
                    .set_expression_attribute_values(Some(values))
                    .return_values_on_condition_check_failure(old);
                item.update(update.build().map_err(doing)?)
            }
            Change::Delete(key) => {
                let delete = Delete::builder().table_name(&self.name).set_key(Some(key.item()));
                item.delete(delete.build().map_err(doing)?)
            }
            Change::DeleteIf { key, condition, values } => {
                let delete = Delete::builder()
                    .table_name(&self.name)
                    .set_key(Some(key.item()))
                    .condition_expression(condition)
                    .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
                    .return_values_on_condition_check_failure(old);
                item.delete(delete.build().map_err(doing)?)
            }
        }
        .build())
    }

    /// Puts items without a condition, many in one request; not all or nothing.
    pub async fn put_all(&self, items: Vec<Item>) -> Result<()> {
        let puts = items.into_iter().map(|item| {
            let size = size(&item);
            let put = PutRequest::builder().set_item(Some(item)).build();
            put.map(|put| (WriteRequest::builder().put_request(put).build(), size))
        });
        let puts = puts.collect::<Result<Vec<_>, _>>();
        self.batch(puts.map_err(|error| Error::storage("writing to the table", error))?).await
    }

    /// Removes items, many in one request; not all or nothing.
    pub async fn delete_all(&self, keys: &[Key]) -> Result<()> {
        let deletes = keys.iter().map(|key| {
            let delete = DeleteRequest::builder().set_key(Some(key.item())).build();
            delete.map(|delete| (WriteRequest::builder().delete_request(delete).build(), 0))
        });
        let deletes = deletes.collect::<Result<Vec<_>, _>>();
        self.batch(deletes.map_err(|error| Error::storage("writing to the table", error))?).await
    }

    async fn batch(&self, requests: Vec<(WriteRequest, usize)>) -> Result<()> {
        let mut batches: Vec<Vec<WriteRequest>> = Vec::new();
        let mut bytes = 0;
        for (request, size) in requests {
            bytes += size;
            match batches.last_mut() {
                Some(batch) if batch.len() < MAX_BATCH_WRITES && bytes <= MAX_BATCH_BYTES => {
                    batch.push(request);
                }
                _ => {
                    bytes = size;
                    batches.push(vec![request]);
                }
            }
        }
        // A few at a time: a large pipeline must not take its time from the caller one batch after the other.
        let sent = batches.into_iter().map(|batch| self.batch_one(batch));
        futures_util::stream::TryStreamExt::try_collect(futures_util::stream::StreamExt::buffer_unordered(
            futures_util::stream::iter(sent),
            8,
        ))
        .await
    }

    async fn batch_one(&self, mut left: Vec<WriteRequest>) -> Result<()> {
        for round in 0.. {
            let number = left.len() as u64;
            let reply = self
                .client
                .batch_write_item()
                .request_items(&self.name, left)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| failed("writing to the table", error))?;
            left = reply.unprocessed_items.and_then(|mut all| all.remove(&self.name)).unwrap_or_default();
            self.wrote(number - left.len() as u64, None);
            self.wrote_each(reply.consumed_capacity.as_deref().unwrap_or_default());
            if left.is_empty() {
                break;
            }
            again(round, "writing to the table").await?;
        }
        Ok(())
    }

    fn read(&self, consumed: Option<&ConsumedCapacity>) {
        self.read_each(consumed.map(std::slice::from_ref).unwrap_or_default());
    }

    fn read_each(&self, consumed: &[ConsumedCapacity]) {
        let table_read_halves = consumed.iter().map(halves).sum();
        self.meter.count(Usage { table_requests: 1, table_read_halves, ..Usage::default() });
    }

    fn wrote(&self, items: u64, consumed: Option<&ConsumedCapacity>) {
        let table_write_halves = consumed.map_or(0, halves);
        self.meter.count(Usage {
            table_requests: 1,
            table_writes: items,
            table_write_halves,
            ..Usage::default()
        });
    }

    fn wrote_each(&self, consumed: &[ConsumedCapacity]) {
        let table_write_halves = consumed.iter().map(halves).sum();
        self.meter.count(Usage { table_write_halves, ..Usage::default() });
    }
}

/// Capacity units in halves, which is what they come in.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn halves(consumed: &ConsumedCapacity) -> u64 {
    (consumed.capacity_units().unwrap_or(0.0) * 2.0).round().max(0.0) as u64
}

/// About the bytes of an item.
pub fn size(item: &Item) -> usize {
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 8,
    };
    item.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// Pauses before another round, or gives up.
async fn again(round: u32, doing: &str) -> Result<()> {
    if round >= MAX_ROUNDS {
        return Err(Error::storage(doing, "the table takes no more for now; try again later"));
    }
    pause(round).await;
    Ok(())
}

/// Waits before try number `round` + 1: up to twice as long each time, at most 400 ms, spread at random so that those who
/// met do not meet again.
pub async fn pause(round: u32) {
    let most = (4_u64 << round.min(7)).min(400);
    let random = Uuid::new_v4().as_u64_pair().1 % most;
    tokio::time::sleep(Duration::from_millis(1 + random)).await;
}

/// A failure of AWS while `doing` something.
pub fn failed<E, R>(doing: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().map(|code| format!(" ({code})")).unwrap_or_default();
    Error::storage(format!("{doing}{code}"), DisplayErrorContext(error).to_string())
}
