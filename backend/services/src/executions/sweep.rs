//! The sweep: advances due nodes and removes expired data. Its cost follows the number of due items, not of all items.

use crate::{
    context::service_context::Context,
    error::Result,
    ports::{DueNode, Node, NodeBody, QueuedJob},
    storage::{artifacts::ArtifactService, caches::CacheService, sources::SourceService},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};
use tidemill_core::execution::transition::JobEvent;
use tidemill_core::{ids::ExecutionId, scheduler::apply_event, time::Timestamp};

/// Number of nodes of one read.
const BATCH_LEN: usize = 200;
/// Maximum number of reads of one sweep, so that it fits into the time limit of a Lambda function; the next sweep continues.
const MAX_ROUNDS: usize = 50;
const MAX_RESENT_JOBS: usize = 10_000;

/// Service that handles expired leases, unsent jobs, interrupted steps and expired data.
#[derive(Debug, Clone)]
pub struct Sweep {
    context: Arc<Context>,
    artifacts: ArtifactService,
    caches: CacheService,
    sources: SourceService,
}

impl Sweep {
    pub(crate) fn new(
        context: Arc<Context>,
        artifacts: ArtifactService,
        caches: CacheService,
        sources: SourceService,
    ) -> Self {
        Self { context, artifacts, caches, sources }
    }

    /// Advances all due nodes, removes expired data, and returns the number of due nodes. Both steps run even if the other fails; the
    /// first error is returned.
    pub async fn run(&self) -> Result<usize> {
        let advanced = self.advance_due().await;
        let expired = self.expire().await;
        if let (Err(_), Err(error)) = (&advanced, &expired) {
            tracing::warn!(%error, "cannot remove expired data; the next sweep retries it");
        }
        let number = advanced?;
        expired.map(|_| number)
    }

    /// Removes expired artifacts, caches and uploads, and returns their number. Each kind is processed even if another fails; the first
    /// error is returned.
    pub async fn expire(&self) -> Result<usize> {
        let kinds = [
            ("artifacts", self.artifacts.expire(BATCH_LEN).await),
            ("caches", self.caches.expire(BATCH_LEN).await),
            ("uploads", self.sources.expire(BATCH_LEN).await),
        ];
        let mut number = Ok(0);
        for (kind, removed) in kinds {
            match (removed, &mut number) {
                (Ok(removed), Ok(number)) => *number += removed,
                (Err(error), Ok(_)) => number = Err(error),
                (Err(error), Err(_)) => {
                    tracing::warn!(kind, %error, "cannot remove expired data; the next sweep retries it");
                }
                (Ok(_), Err(_)) => {}
            }
        }
        number
    }

    /// Renews the leases of running attempts that expired while this server was suspended: since `suspended_at`, no worker
    /// could report, and no other could take a job. Returns their number. To be called before the next sweep.
    pub async fn renew_after_suspension(&self, suspended_at: Timestamp) -> Result<usize> {
        let ttl_ms = self.context.settings.lease_ttl_ms;
        let now = self.context.now();
        let mut number = 0;
        let mut seen = HashSet::new();
        for _ in 0..MAX_ROUNDS {
            let due = self.context.stores.records.due_nodes(now, BATCH_LEN).await?;
            let new: Vec<DueNode> = due.into_iter().filter(|node| seen.insert(node.key)).collect();
            if new.is_empty() {
                break;
            }
            for due in new {
                let node = self.context.node(due.key).await?;
                let NodeBody::Job(job) = &node.state.body else { continue };
                let event = JobEvent::ServerResumed { suspended_at, ttl_ms };
                let Ok(transition) = apply_event(&node, job, event, now) else { continue };
                // After a conflict, the worker's report has renewed the lease.
                number += usize::from(self.context.commit_transition(transition, &node).await?.is_some());
            }
        }
        Ok(number)
    }

    /// Advances every due node, and returns their number.
    pub async fn advance_due(&self) -> Result<usize> {
        let mut number = 0;
        let mut seen = HashSet::new();
        for _ in 0..MAX_ROUNDS {
            let late = self.context.stores.records.due_nodes(self.context.now(), BATCH_LEN).await?;
            let full = late.len() == BATCH_LEN;
            let mut progressed = false;
            let mut by_execution: BTreeMap<ExecutionId, Vec<DueNode>> = BTreeMap::new();
            for node in late {
                if seen.insert((node.key, node.due_at)) {
                    by_execution.entry(node.key.execution).or_default().push(node);
                } else {
                    // It was advanced and is due as before: postpone it, so that it does not delay other nodes.
                    progressed |= self.postpone_node(node, "it is still due after its step").await;
                }
            }
            for (execution, nodes) in by_execution {
                number += nodes.len();
                progressed |= self.advance_nodes(execution, &nodes).await;
            }
            if !full || !progressed {
                break;
            }
        }
        Ok(number)
    }

    /// Advances nodes of an execution. Returns whether any of them was advanced or postponed. A failure of one node or execution does not
    /// affect the others.
    async fn advance_nodes(&self, execution: ExecutionId, nodes: &[DueNode]) -> bool {
        let all = nodes.iter().map(|node| node.key.ix).collect();
        let Err(error) = self.context.advance(execution, all).await else {
            for node in nodes {
                self.context.backoff.succeeded(&name(*node));
            }
            return true;
        };
        if let [only] = nodes {
            return self.postpone_node(*only, &error.to_string()).await;
        }
        let mut progressed = false;
        for node in nodes {
            progressed |= match self.context.advance(execution, vec![node.key.ix]).await {
                Ok(()) => {
                    self.context.backoff.succeeded(&name(*node));
                    true
                }
                Err(error) => self.postpone_node(*node, &error.to_string()).await,
            };
        }
        progressed
    }

    /// Postpones a node, with backoff. Returns false if it stays due.
    async fn postpone_node(&self, node: DueNode, why: &str) -> bool {
        let (execution, ix) = (node.key.execution, node.key.ix);
        let retry_at = self.context.backoff.failed(&name(node), self.context.now());
        tracing::warn!(%execution, node = ix, why, %retry_at, "cannot advance a node; it is retried later");
        match self.context.stores.records.postpone(node, retry_at).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%execution, node = ix, %error, "cannot postpone a node; the next sweep retries it");
                false
            }
        }
    }

    /// Sends the ids of all queued jobs of live executions, so that a starting server does not wait until they are due.
    pub async fn resend_queued(&self) -> Result<()> {
        let mut after = None;
        loop {
            let live = self.context.stores.records.live_executions(after, BATCH_LEN).await?;
            let Some(last) = live.last().copied() else { return Ok(()) };
            for execution in live {
                let next = self.context.stores.records.upcoming(execution, 0, MAX_RESENT_JOBS).await?;
                let nodes = self.context.stores.records.nodes(execution, &next).await?;
                let message = |node: &Node| QueuedJob::of(node.key, &node.state, self.context.now());
                let messages: Vec<_> = nodes.iter().filter_map(message).collect();
                self.context.send(execution, &messages).await?;
            }
            after = Some(last);
        }
    }
}

fn name(node: DueNode) -> String {
    format!("node {} {}", node.key.execution, node.key.ix)
}
