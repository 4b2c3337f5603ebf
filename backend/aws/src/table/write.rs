//! Conditional writes of one item, or of several in a transaction.

use super::{
    client::Table,
    item::{Item, Key, get_number, named_attributes, number},
};
use crate::failure::storage_error;
use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{
        Delete, Put, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, Update,
    },
};
use tidemill_services::error::{Error, Result};
use uuid::Uuid;

/// A conditional write of one item.
#[derive(Debug, Clone)]
pub enum Change {
    /// Puts an item.
    Put {
        /// The item with its key.
        item: Item,
        /// Condition on the stored item.
        condition: Option<&'static str>,
        /// Values in the condition.
        values: Item,
    },
    /// Updates attributes of an item.
    Update {
        /// The item's key.
        key: Key,
        /// The update expression.
        update: String,
        /// Condition on the stored item.
        condition: &'static str,
        /// Values in both expressions.
        values: Item,
    },
    /// Deletes an item.
    Delete(Key),
    /// Deletes an item if a condition holds.
    DeleteIf {
        /// The item's key.
        key: Key,
        /// Condition on the stored item.
        condition: &'static str,
        /// Values in the condition.
        values: Item,
    },
}

/// The result of a write.
#[derive(Debug)]
pub enum WriteOutcome {
    /// All changes were written.
    Committed,
    /// Nothing was written, because conditions did not hold. For each failed condition: the stored item (empty: none exists).
    ConditionFailed(Vec<Option<Item>>),
    /// Nothing was written, because of concurrent writes to the same items: try again.
    Contended,
}

/// The operation in errors of the store.
const WRITING: &str = "writing to the table";

/// The errors of the three writes of one item: different types of the SDK, with the same variants.
trait ItemWriteError: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static {
    /// Returns the outcome if the table rejected the write; `None` for every other error.
    fn outcome(&self) -> Option<WriteOutcome>;
}

macro_rules! item_write_errors {
    ($($error:ty)*) => {
        $(
            impl ItemWriteError for $error {
                fn outcome(&self) -> Option<WriteOutcome> {
                    match self {
                        Self::ConditionalCheckFailedException(failure) => {
                            let stored = failure.item.clone().unwrap_or_default();
                            Some(WriteOutcome::ConditionFailed(vec![Some(stored)]))
                        }
                        Self::TransactionConflictException(_) => Some(WriteOutcome::Contended),
                        _ => None,
                    }
                }
            }
        )*
    };
}
item_write_errors!(PutItemError UpdateItemError DeleteItemError);

/// Returns the outcome of a failed write of one item.
fn rejected<E: ItemWriteError, R>(error: SdkError<E, R>) -> Result<WriteOutcome>
where
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error.as_service_error().and_then(ItemWriteError::outcome) {
        Some(outcome) => Ok(outcome),
        None => Err(storage_error(WRITING, error)),
    }
}

impl Table {
    /// Writes all changes or none. A single change needs no transaction, which halves its cost.
    pub async fn write(&self, changes: Vec<Change>) -> Result<WriteOutcome> {
        let count = changes.len();
        let mut changes = changes.into_iter();
        match (count, changes.next()) {
            (_, None) => Ok(WriteOutcome::Committed),
            (1, Some(only)) => self.write_one(only).await,
            (_, Some(first)) => self.transact(std::iter::once(first).chain(changes).collect()).await,
        }
    }

    async fn write_one(&self, change: Change) -> Result<WriteOutcome> {
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
                    Ok(reply) => self.count_writes(1, reply.consumed_capacity()),
                    Err(error) => return rejected(error),
                }
            }
            Change::Update { key, update, condition, values } => {
                let sent = self
                    .client
                    .update_item()
                    .table_name(&self.name)
                    .set_key(Some(key.item()))
                    .set_expression_attribute_names(named_attributes(&update))
                    .update_expression(update)
                    .condition_expression(condition)
                    .set_expression_attribute_values(Some(values))
                    .return_consumed_capacity(total)
                    .return_values_on_condition_check_failure(old)
                    .send()
                    .await;
                match sent {
                    Ok(reply) => self.count_writes(1, reply.consumed_capacity()),
                    Err(error) => return rejected(error),
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
                    .map_err(|error| storage_error(WRITING, error))?;
                self.count_writes(1, reply.consumed_capacity());
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
                    Ok(reply) => self.count_writes(1, reply.consumed_capacity()),
                    Err(error) => return rejected(error),
                }
            }
        }
        Ok(WriteOutcome::Committed)
    }

    async fn transact(&self, changes: Vec<Change>) -> Result<WriteOutcome> {
        let count = changes.len() as u64;
        let items = changes.into_iter().map(|change| self.transact_item(change)).collect::<Result<_>>()?;
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            // The token is the same in each retry of the SDK, so that a transaction whose reply was lost runs once.
            .client_request_token(Uuid::new_v4().simple().to_string())
            .send()
            .await;
        let error = match sent {
            Ok(reply) => {
                self.count_writes(count, None);
                self.count_write_capacity(reply.consumed_capacity());
                return Ok(WriteOutcome::Committed);
            }
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                let reasons = canceled.cancellation_reasons();
                let has = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
                if has("ConditionalCheckFailed") {
                    let old = |reason: &aws_sdk_dynamodb::types::CancellationReason| {
                        (reason.code() == Some("ConditionalCheckFailed"))
                            .then(|| reason.item().cloned().unwrap_or_default())
                    };
                    return Ok(WriteOutcome::ConditionFailed(reasons.iter().map(old).collect()));
                }
                let transient =
                    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"].map(has);
                if transient.contains(&true) {
                    return Ok(WriteOutcome::Contended);
                }
                Err(storage_error(WRITING, error))
            }
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(WriteOutcome::Contended),
            _ => Err(storage_error(WRITING, error)),
        }
    }

    /// Adds 1 to the number `c` of an item, which begins at 0, and returns it. Each returned number is another one; if the SDK repeats
    /// a call whose reply was lost, one is skipped.
    pub async fn increment(&self, key: &Key) -> Result<u64> {
        let reply = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .update_expression("ADD c :one")
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::UpdatedNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| storage_error(WRITING, error))?;
        self.count_writes(1, reply.consumed_capacity());
        reply
            .attributes()
            .and_then(|item| get_number(item, "c"))
            .ok_or_else(|| Error::storage(WRITING, "the reply has no number"))
    }

    fn transact_item(&self, change: Change) -> Result<TransactWriteItem> {
        let doing = |error| Error::storage(WRITING, error);
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
                    .set_expression_attribute_names(named_attributes(&update))
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
}
