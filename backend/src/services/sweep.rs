//! The sweep: carries on what is late. Its cost follows what is late, not what exists.

use super::{artifacts::ArtifactService, caches::CacheService, context::Context};
use crate::{error::Result, ports::Outgoing};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{ids::ExecutionId, status::JobStatus};

/// Nodes that one look takes.
const AT_ONCE: usize = 200;
/// Looks that one sweep takes at most, so that a Lambda's time suffices; the next goes on.
const MOST_LOOKS: usize = 50;
const MOST_QUEUED: usize = 10_000;

/// Finds expired leases, unsent jobs, half-told ends and expired artifacts.
#[derive(Debug, Clone)]
pub struct Sweep {
    context: Arc<Context>,
    artifacts: ArtifactService,
    caches: CacheService,
}

impl Sweep {
    pub(crate) fn new(context: Arc<Context>, artifacts: ArtifactService, caches: CacheService) -> Self {
        Self { context, artifacts, caches }
    }

    /// Carries on everything that is late, and gives the number of nodes that were.
    pub async fn run(&self) -> Result<usize> {
        let mut number = 0;
        for _ in 0..MOST_LOOKS {
            let late = self.context.stores.records.late(self.context.now(), AT_ONCE).await?;
            let full = late.len() == AT_ONCE;
            number += late.len();
            let mut by_execution: BTreeMap<ExecutionId, Vec<u32>> = BTreeMap::new();
            for node in late {
                by_execution.entry(node.key.execution).or_default().push(node.key.ix);
            }
            for (execution, nodes) in by_execution {
                // One execution's trouble is not the others'.
                if let Err(error) = self.context.settle(execution, nodes).await {
                    tracing::warn!(%execution, %error, "the next sweep tries again");
                }
            }
            if !full {
                break;
            }
        }
        self.artifacts.expire(AT_ONCE).await?;
        self.caches.expire(AT_ONCE).await?;
        Ok(number)
    }

    /// Sends the ids of all queued jobs of live executions: a server that starts does not wait for them to be late.
    pub async fn resend_queued(&self) -> Result<()> {
        let mut after = None;
        loop {
            let live = self.context.stores.records.live(after, AT_ONCE).await?;
            let Some(last) = live.last().copied() else { return Ok(()) };
            for execution in live {
                let next = self.context.stores.records.upcoming(execution, 0, MOST_QUEUED).await?;
                let nodes = self.context.stores.records.nodes(execution, &next).await?;
                let queued = nodes.into_iter().filter(|node| node.state.status() == Some(JobStatus::Queued));
                let messages: Vec<_> = queued.map(|node| Outgoing::now(node.key)).collect();
                self.context.send(execution, &messages).await?;
            }
            after = Some(last);
        }
    }
}
