//! The sweep: carries on what is late. Its cost follows what is late, not what exists.

use crate::{
    context::service_context::Context,
    error::Result,
    ports::{DueNode, QueuedJob},
    storage::{artifacts::ArtifactService, caches::CacheService, sources::SourceService},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::ids::ExecutionId;

/// Nodes that one look takes.
const BATCH_LEN: usize = 200;
/// Looks that one sweep takes at most, so that a Lambda's time suffices; the next goes on.
const MAX_ROUNDS: usize = 50;
const MAX_RESENT_JOBS: usize = 10_000;

/// Finds expired leases, unsent jobs, half-told ends and expired artifacts.
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

    /// Carries on everything that is late, and removes what nobody needs; gives the number of nodes that were late. Both steps are taken
    /// whatever becomes of the other; the first that failed is the error.
    pub async fn run(&self) -> Result<usize> {
        let carried_on = self.carry_on().await;
        let expired = self.expire().await;
        if let (Err(_), Err(error)) = (&carried_on, &expired) {
            tracing::warn!(%error, "what is expired stays; the next sweep tries again");
        }
        let number = carried_on?;
        expired.map(|_| number)
    }

    /// Removes artifacts, caches and uploads whose time is over, and gives their number. Each kind whatever becomes of the others; the
    /// first that failed is the error.
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
                (Err(error), Err(_)) => tracing::warn!(kind, %error, "the next sweep tries again"),
                (Ok(_), Err(_)) => {}
            }
        }
        number
    }

    /// Lets every node that is due take its turn, and gives their number.
    pub async fn carry_on(&self) -> Result<usize> {
        let mut number = 0;
        let mut seen = HashSet::new();
        for _ in 0..MAX_ROUNDS {
            let late = self.context.stores.records.late(self.context.now(), BATCH_LEN).await?;
            let full = late.len() == BATCH_LEN;
            let mut moves = false;
            let mut by_execution: BTreeMap<ExecutionId, Vec<DueNode>> = BTreeMap::new();
            for node in late {
                if seen.insert((node.key, node.due_at)) {
                    by_execution.entry(node.key.execution).or_default().push(node);
                } else {
                    // It took its turn and is due as it was: others must not wait behind it.
                    moves |= self.put_off(node, "it stays due").await;
                }
            }
            for (execution, nodes) in by_execution {
                number += nodes.len();
                moves |= self.settle(execution, &nodes).await;
            }
            if !full || !moves {
                break;
            }
        }
        Ok(number)
    }

    /// Lets nodes of an execution take their turns; whether any of them did, or is due later. One execution's trouble is not the
    /// others', nor is one node's.
    async fn settle(&self, execution: ExecutionId, nodes: &[DueNode]) -> bool {
        let all = nodes.iter().map(|node| node.key.ix).collect();
        let Err(error) = self.context.advance(execution, all).await else {
            for node in nodes {
                self.context.backoff.succeeded(&name(*node));
            }
            return true;
        };
        if let [only] = nodes {
            return self.put_off(*only, &error.to_string()).await;
        }
        let mut moves = false;
        for node in nodes {
            moves |= match self.context.advance(execution, vec![node.key.ix]).await {
                Ok(()) => {
                    self.context.backoff.succeeded(&name(*node));
                    true
                }
                Err(error) => self.put_off(*node, &error.to_string()).await,
            };
        }
        moves
    }

    /// Has a node take its turn later, each time after a longer pause; false: it stays due.
    async fn put_off(&self, node: DueNode, why: &str) -> bool {
        let (execution, ix) = (node.key.execution, node.key.ix);
        let retry_at = self.context.backoff.failed(&name(node), self.context.now());
        tracing::warn!(%execution, node = ix, why, %retry_at, "a node could not take its turn");
        match self.context.stores.records.postpone(node, retry_at).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%execution, node = ix, %error, "it stays due; the next sweep tries again");
                false
            }
        }
    }

    /// Sends the ids of all queued jobs of live executions: a server that starts does not wait for them to be late.
    pub async fn resend_queued(&self) -> Result<()> {
        let mut after = None;
        loop {
            let live = self.context.stores.records.live(after, BATCH_LEN).await?;
            let Some(last) = live.last().copied() else { return Ok(()) };
            for execution in live {
                let next = self.context.stores.records.upcoming(execution, 0, MAX_RESENT_JOBS).await?;
                let nodes = self.context.stores.records.nodes(execution, &next).await?;
                let queued = nodes.into_iter().filter(|node| node.state.status() == Some(JobStatus::Queued));
                let messages: Vec<_> = queued.map(|node| QueuedJob::now(node.key)).collect();
                self.context.send(execution, &messages).await?;
            }
            after = Some(last);
        }
    }
}

fn name(node: DueNode) -> String {
    format!("node {} {}", node.key.execution, node.key.ix)
}
