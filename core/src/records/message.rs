//! Messages of the queue.

use super::node::{NodeBody, NodeKey, NodeState};
use crate::{execution::status::JobStatus, pipeline::labels::Labels, time::Timestamp};

/// Maximum delay of a message in milliseconds: that of SQS.
pub const MAX_MESSAGE_DELAY_MS: u64 = 15 * 60_000;

/// A message that offers a job to workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    /// The job.
    pub node: NodeKey,
    /// Milliseconds until it may be received, at most [`MAX_MESSAGE_DELAY_MS`]; a queue may round up to a second.
    pub delay_ms: u64,
    /// Labels that its receiver must have.
    pub labels: Labels,
}

impl QueuedJob {
    /// Creates the message of a job that is ready now and that any worker may run.
    #[must_use]
    pub const fn immediate(node: NodeKey) -> Self {
        Self::delayed(node, 0)
    }

    /// Creates the message of a job that is ready in `delay_ms` milliseconds and that any worker may run.
    #[must_use]
    pub const fn delayed(node: NodeKey, delay_ms: u64) -> Self {
        Self { node, delay_ms, labels: Labels::new() }
    }

    /// Creates the message of a queued job. `None`: the job is not queued, or is delayed for longer than a queue can hold
    /// a message; the sweep sends it when the node is due.
    #[must_use]
    pub fn of(node: NodeKey, state: &NodeState, now: Timestamp) -> Option<Self> {
        let NodeBody::Job(record) = &state.body else { return None };
        let delay_ms = record.job.not_before.map_or(0, |at| at.since_ms(now));
        let is_sent = record.job.status == JobStatus::Queued && delay_ms <= MAX_MESSAGE_DELAY_MS;
        is_sent.then(|| Self::delayed(node, delay_ms))
    }
}
