//! Batches of steps: their limits, and their outcome.

use crate::ports::QueuedJob;

/// Maximum number of requested writes in one batch: DynamoDB allows 100 items in one transaction.
pub(super) const MAX_WRITES: usize = 90;
/// Maximum size of a batch including precomputed writes.
pub(super) const MAX_BATCH: usize = 98;
/// Number of conflicts with other writers after which a call leaves the rest to the sweep. Each conflict means that another one has
/// succeeded.
pub(in crate::executions) const MAX_CONFLICTS: u32 = 1_000;

/// Outcome of a round of steps.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Nodes whose steps are due next.
    pub nodes: Vec<u32>,
    /// Messages for the queue.
    pub messages: Vec<QueuedJob>,
    /// Writes that were rejected, as another process wrote first.
    pub conflicts: u32,
}
