//! The job queue in SQS. A standard queue delivers at least once and in no order, which the port allows.

use super::{backoff::pause, failure::storage_error, meter::Meter};
use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    error::ProvideErrorMetadata,
    types::{BatchResultErrorEntry, Message as SqsMessage, SendMessageBatchRequestEntry},
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tidemill_core::execution::cost::Usage;
use tidemill_core::ids::{ExecutionId, JobId};
use tidemill_core::pipeline::labels::{Labels, route};
use tidemill_services::error::{Error, Result};
use tidemill_services::ports::{JobQueue, Message, MessageContext, NodeKey, QueuedJob};
use tokio::time::Instant;

/// Maximum messages of one SendMessageBatch (Amazon SQS Developer Guide, quotas).
const MAX_BATCH_LEN: usize = 10;
/// Batches that are sent at the same time: the ids of 10,000 jobs are 1,000 batches.
const MAX_CONCURRENT_SENDS: usize = 16;
/// Maximum wait of one ReceiveMessage, in seconds.
const MAX_WAIT_S: u64 = 20;
/// Maximum delay of a message, in seconds (ibid.).
const MAX_DELAY_S: i32 = 900;
/// Maximum attempts to send a batch.
const MAX_ROUNDS: u32 = 8;
/// What a failed call was doing.
const SENDING: &str = "sending job ids to the queue";
/// Calls of the worker for each message: receive and delete.
const WORKER_REQUESTS_PER_MESSAGE: u64 = 2;

/// The body of a message. Readers of every version ignore unknown fields and need only these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBody {
    /// The version of the format.
    pub v: u32,
    /// The execution.
    pub execution_id: ExecutionId,
    /// The job.
    pub job_id: JobId,
    /// The job's index in the execution.
    pub ix: u32,
    /// The trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// An SQS queue, and the queues for jobs with labels.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    /// URLs of the queues for jobs with labels.
    labelled: BTreeMap<Labels, String>,
    meter: Meter,
}

impl SqsQueue {
    pub(super) const fn new(
        client: Client,
        url: String,
        labelled: BTreeMap<Labels, String>,
        meter: Meter,
    ) -> Self {
        Self { client, url, labelled, meter }
    }

    /// Returns the labels of the queue for jobs that require `labels`, and its URL.
    fn queue_of(&self, labels: &Labels) -> Option<(&Labels, &str)> {
        let labels = route(labels, self.labelled.keys())?;
        self.labelled.get(labels).map(|url| (labels, url.as_str()))
    }

    fn count(&self, queue_requests: u64) {
        self.meter.count(Usage { queue_requests, ..Usage::default() });
    }

    async fn send_batch(&self, url: &str, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()> {
        let doing = SENDING;
        let entry = |(ix, message): (usize, &QueuedJob)| batch_entry(ix, message, context);
        let mut entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>>>()?;
        for round in 0..MAX_ROUNDS {
            self.count(1);
            let reply = self
                .client
                .send_message_batch()
                .queue_url(url)
                .set_entries(Some(entries.clone()))
                .send()
                .await
                .map_err(|error| storage_error(doing, error))?;
            let failed: Vec<&str> = reply.failed().iter().map(BatchResultErrorEntry::id).collect();
            if failed.is_empty() {
                return Ok(());
            }
            entries.retain(|entry| failed.contains(&entry.id()));
            pause(round).await;
        }
        Err(Error::storage(doing, "the queue throttles requests; the sweep sends the remaining ids"))
    }

    async fn set_visibility(&self, receipt: &str, seconds: i32) -> Result<()> {
        self.count(1);
        let sent = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt)
            .visibility_timeout(seconds)
            .send()
            .await;
        match sent {
            Err(error) if is_stale(error.code()) => Ok(()),
            sent => {
                sent.map(drop).map_err(|error| storage_error("changing the visibility of a message", error))
            }
        }
    }
}

/// Returns the entry of a message in a batch.
fn batch_entry(
    ix: usize,
    QueuedJob { node, delay_ms, .. }: &QueuedJob,
    context: MessageContext<'_>,
) -> Result<SendMessageBatchRequestEntry> {
    let job_id = JobId::of(node.execution, node.ix);
    let trace = context.trace.map(str::to_owned);
    let body = MessageBody { v: 1, execution_id: node.execution, job_id, ix: node.ix, trace };
    let body = serde_json::to_string(&body).map_err(|error| Error::storage(SENDING, error))?;
    let delay_s = i32::try_from(delay_ms.div_ceil(1000)).unwrap_or(MAX_DELAY_S).min(MAX_DELAY_S);
    // With a group, the standard queue is a fair one: messages of other groups come before those of one with many in flight.
    let group = Some(context.group).filter(|group| !group.is_empty()).map(str::to_owned);
    let entry = SendMessageBatchRequestEntry::builder().id(ix.to_string()).message_body(body);
    let entry = entry.set_delay_seconds((delay_s > 0).then_some(delay_s)).set_message_group_id(group);
    entry.build().map_err(|error| Error::storage(SENDING, error))
}

/// Whether an error code means that a receipt is stale: the message was deleted, or is visible again.
fn is_stale(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        ["ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidReceiptHandle"]
            .iter()
            .any(|known| code.ends_with(known))
    })
}

/// Returns the node of a message; `None`: the message is not from Tidemill.
fn node_of(message: &SqsMessage) -> Option<NodeKey> {
    let body: MessageBody = serde_json::from_str(message.body()?).ok()?;
    Some(NodeKey { execution: body.execution_id, ix: body.ix })
}

#[async_trait]
impl JobQueue for SqsQueue {
    async fn send(&self, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()> {
        let mut by_queue: BTreeMap<&str, Vec<QueuedJob>> = BTreeMap::new();
        for message in messages {
            // An execution is rejected when no queue exists for its labels. If a queue is removed later, any worker may receive
            // the job's id; it does not get the job.
            let labelled = if message.labels.is_empty() { None } else { self.queue_of(&message.labels) };
            let url = labelled.map_or(self.url.as_str(), |(_, url)| url);
            by_queue.entry(url).or_default().push(message.clone());
        }
        let batches = by_queue
            .iter()
            .flat_map(|(url, messages)| messages.chunks(MAX_BATCH_LEN).map(move |batch| (*url, batch)));
        let sent = batches.map(|(url, batch)| self.send_batch(url, batch, context)).collect::<Vec<_>>();
        stream::iter(sent).buffer_unordered(MAX_CONCURRENT_SENDS).try_collect::<()>().await?;
        self.count(WORKER_REQUESTS_PER_MESSAGE * messages.len() as u64);
        Ok(())
    }

    fn route(&self, labels: &Labels) -> Option<Labels> {
        if labels.is_empty() {
            return Some(Labels::new());
        }
        self.queue_of(labels).map(|(labels, _)| labels.clone())
    }

    /// Receives only from the queue for jobs without labels. Workers long-poll the other queues themselves.
    async fn receive(
        &self,
        execution: Option<ExecutionId>,
        _: &Labels,
        hide_ms: u64,
        wait: Duration,
    ) -> Result<Option<Message>> {
        let until = Instant::now() + wait;
        let hide_s = i32::try_from(hide_ms.div_ceil(1000)).unwrap_or(i32::MAX);
        loop {
            let wait_s = until.saturating_duration_since(Instant::now()).as_secs().min(MAX_WAIT_S);
            self.count(1);
            let reply = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(1)
                .visibility_timeout(hide_s)
                .wait_time_seconds(i32::try_from(wait_s).unwrap_or(0))
                .send()
                .await
                .map_err(|error| storage_error("receiving from the queue", error))?;
            for message in reply.messages() {
                let receipt = message.receipt_handle().unwrap_or_default();
                match node_of(message) {
                    Some(node) if execution.is_none_or(|execution| execution == node.execution) => {
                        return Ok(Some(Message { node, receipt: receipt.to_owned() }));
                    }
                    // Hidden for a second, or the queue might return the same message again and again.
                    Some(_) => self.set_visibility(receipt, 1).await?,
                    // It stays hidden, and moves to the dead-letter queue after some deliveries.
                    None => tracing::warn!(
                        id = message.message_id(),
                        "ignoring a message that is not from Tidemill"
                    ),
                }
            }
            if reply.messages().is_empty() && Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    async fn delete(&self, message: &Message) -> Result<()> {
        self.count(1);
        let delete = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        match delete.send().await {
            Err(error) if is_stale(error.code()) => Ok(()),
            sent => sent.map(drop).map_err(|error| storage_error("deleting a message from the queue", error)),
        }
    }

    async fn give_back(&self, message: &Message) -> Result<()> {
        self.set_visibility(&message.receipt, 0).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_DELAY_S, MessageBody, batch_entry};
    use tidemill_core::ids::ExecutionId;
    use tidemill_services::ports::{MessageContext, NodeKey, QueuedJob, message_group};
    use uuid::Uuid;

    #[test]
    fn message_is_sent_in_the_group_of_its_repository() {
        let node = NodeKey { execution: ExecutionId(Uuid::now_v7()), ix: 3 };
        let group = message_group("https://github.com/acme/app.git");
        assert_eq!(group, message_group("github.com/acme/app"), "however the address is written");
        assert!(group.len() <= 128 && group.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{group}");
        let context = MessageContext { group: &group, trace: Some("00-aa-bb-01") };
        let sent = batch_entry(7, &QueuedJob::delayed(node, 1), context).unwrap();
        assert_eq!((sent.id(), sent.message_group_id(), sent.delay_seconds()), ("7", Some(&*group), Some(1)));
        let body: MessageBody = serde_json::from_str(sent.message_body()).unwrap();
        assert_eq!(
            (body.execution_id, body.ix, body.trace.as_deref()),
            (node.execution, 3, Some("00-aa-bb-01"))
        );
        let plain = batch_entry(0, &QueuedJob::immediate(node), MessageContext::default()).unwrap();
        assert_eq!((plain.message_group_id(), plain.delay_seconds()), (None, None));
        let late = batch_entry(0, &QueuedJob::delayed(node, u64::MAX), context).unwrap();
        assert_eq!(late.delay_seconds(), Some(MAX_DELAY_S));
    }

    #[test]
    fn queue_messages_of_every_version_are_parsed() {
        for (name, text) in [
            ("v1", include_str!("../tests/fixtures/message-1.json")),
            ("later", include_str!("../tests/fixtures/message-later.json")),
        ] {
            let body: MessageBody = serde_json::from_str(text).unwrap();
            assert_eq!((body.ix, body.job_id.ix()), (3, 3), "{name}");
            assert_eq!(body.job_id.partition(), body.execution_id.partition(), "{name}");
        }
    }
}
