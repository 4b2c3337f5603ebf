//! Unconditional writes of many items.

use super::{
    client::{Table, pause_or_fail},
    item::{Item, Key, size},
};
use crate::failure::storage_error;
use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, ReturnConsumedCapacity, WriteRequest};
use tidemill_services::error::{Error, Result};

/// Maximum items of one BatchWriteItem (Amazon DynamoDB Developer Guide, quotas).
const MAX_BATCH_WRITES: usize = 25;
/// Maximum bytes sent in one BatchWriteItem; the service's limit is 16 MB.
const MAX_BATCH_BYTES: usize = 4 << 20;

impl Table {
    /// Puts items without a condition, many in one request; not atomic.
    pub async fn put_all(&self, items: Vec<Item>) -> Result<()> {
        let puts = items.into_iter().map(|item| {
            let size = size(&item);
            let put = PutRequest::builder().set_item(Some(item)).build();
            put.map(|put| (WriteRequest::builder().put_request(put).build(), size))
        });
        let puts = puts.collect::<Result<Vec<_>, _>>();
        self.batch(puts.map_err(|error| Error::storage("writing to the table", error))?).await
    }

    /// Deletes items, many in one request; not atomic.
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
        // A few at a time, so that a large pipeline does not delay its caller by one round trip for each batch.
        let sent = batches.into_iter().map(|batch| self.batch_one(batch));
        futures_util::stream::TryStreamExt::try_collect(futures_util::stream::StreamExt::buffer_unordered(
            futures_util::stream::iter(sent),
            8,
        ))
        .await
    }

    async fn batch_one(&self, mut left: Vec<WriteRequest>) -> Result<()> {
        for round in 0.. {
            let count = left.len() as u64;
            let reply = self
                .client
                .batch_write_item()
                .request_items(&self.name, left)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| storage_error("writing to the table", error))?;
            left = reply.unprocessed_items.and_then(|mut all| all.remove(&self.name)).unwrap_or_default();
            self.count_writes(count - left.len() as u64, None);
            self.count_write_capacity(reply.consumed_capacity.as_deref().unwrap_or_default());
            if left.is_empty() {
                break;
            }
            pause_or_fail(round, "writing to the table").await?;
        }
        Ok(())
    }
}
