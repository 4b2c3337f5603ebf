//! The queue in memory.

use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::pipeline::labels::{Labels, matches};
use tidemill_core::scheduler::FairOrder;
use tidemill_core::{ids::ExecutionId, time::Timestamp};
use tidemill_services::error::Result;
use tidemill_services::ports::{Clock, JobQueue, Message, MessageContext, NodeKey, QueuedJob};
use tokio::{sync::watch, time};

/// How often a waiting receiver checks for messages that became visible again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct QueuedMessage {
    visible_at: Timestamp,
    /// The order of messages that become visible at the same time.
    sequence: u64,
    receipt: Option<u64>,
    labels: Labels,
    group: String,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: BTreeMap<NodeKey, QueuedMessage>,
    count: u64,
    order: FairOrder,
}

/// A queue with visibility time-outs.
pub struct MemoryQueue {
    inner: Mutex<QueueState>,
    clock: Arc<dyn Clock>,
    sent: watch::Sender<u64>,
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl MemoryQueue {
    /// Creates an empty queue; `clock` decides which messages are visible.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Mutex::default(), clock, sent: watch::Sender::new(0) }
    }

    fn change<T>(&self, work: impl FnOnce(&mut QueueState, Timestamp) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }

    /// Returns the number of messages, visible or not.
    pub fn len(&self) -> usize {
        self.change(|inner, _| inner.messages.len())
    }

    /// Whether the queue has no messages.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all messages.
    pub fn clear(&self) {
        self.change(|inner, _| inner.messages.clear());
    }

    /// Makes every message visible, including received ones.
    pub fn make_all_visible(&self) {
        self.change(|inner, now| inner.messages.values_mut().for_each(|message| message.visible_at = now));
    }

    fn take(&self, of: Option<ExecutionId>, labels: &Labels, hide_ms: u64) -> Option<Message> {
        self.change(|inner, now| {
            let visible = inner.messages.iter().filter(|(node, message)| {
                message.visible_at <= now
                    && of.is_none_or(|execution| execution == node.execution)
                    && matches(&message.labels, labels)
            });
            let order = |message: &QueuedMessage| (message.visible_at, message.sequence);
            let node = if of.is_some() {
                *visible.min_by_key(|(_, message)| order(message))?.0
            } else {
                let chosen = inner.order.choose(
                    visible,
                    |(_, message)| message.group.as_str(),
                    |(_, message)| order(message),
                );
                *chosen?.0
            };
            let first = inner.messages.get_mut(&node)?;
            if of.is_none() {
                inner.order.record(&first.group);
            }
            inner.count += 1;
            first.visible_at = now.plus_ms(i64::try_from(hide_ms).unwrap_or(i64::MAX));
            first.receipt = Some(inner.count);
            Some(Message { node, receipt: inner.count.to_string() })
        })
    }
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn send(&self, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()> {
        self.change(|inner, now| {
            for QueuedJob { node, delay_ms, labels } in messages {
                let visible_at = now.plus_ms(i64::try_from(*delay_ms).unwrap_or(i64::MAX));
                inner.count += 1;
                let sequence = inner.count;
                let message = inner.messages.entry(*node).or_insert(QueuedMessage {
                    visible_at,
                    sequence,
                    receipt: None,
                    labels: labels.clone(),
                    group: context.group.to_owned(),
                });
                message.visible_at = message.visible_at.min(visible_at);
                message.receipt = None;
            }
        });
        self.sent.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    fn route(&self, labels: &Labels) -> Option<Labels> {
        Some(labels.clone())
    }

    async fn receive(
        &self,
        execution: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
        wait: Duration,
    ) -> Result<Option<Message>> {
        let until = time::Instant::now() + wait;
        let mut sent = self.sent.subscribe();
        loop {
            sent.mark_unchanged();
            if let Some(message) = self.take(execution, labels, hide_ms) {
                return Ok(Some(message));
            }
            let now = time::Instant::now();
            if now >= until {
                return Ok(None);
            }
            // The sender outlives this call, so `changed` cannot fail.
            drop(time::timeout_at(until.min(now + POLL_INTERVAL), sent.changed()).await);
        }
    }

    async fn delete(&self, message: &Message) -> Result<()> {
        self.change(|inner, _| {
            let receipt = inner.messages.get(&message.node).and_then(|message| message.receipt);
            if receipt.is_some_and(|receipt| receipt.to_string() == message.receipt) {
                inner.messages.remove(&message.node);
            }
        });
        Ok(())
    }

    async fn give_back(&self, message: &Message) -> Result<()> {
        self.change(|inner, now| {
            if let Some(queued) = inner.messages.get_mut(&message.node)
                && queued.receipt.is_some_and(|receipt| receipt.to_string() == message.receipt)
            {
                queued.visible_at = queued.visible_at.min(now);
                queued.receipt = None;
            }
        });
        self.sent.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }
}
