//! Cancels the jobs of an execution, in batches.

use super::batch::{MAX_CONFLICTS, MAX_WRITES, Outcome};
use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::Node,
};
use tidemill_core::execution::{status::JobStatus, transition::JobEvent};
use tidemill_core::{
    ids::ExecutionId,
    scheduler::{MAX_ARRIVALS, apply_event},
};

/// Maximum number of jobs that are canceled one by one after a conflict. More than that conflict only if several processes cancel
/// the same execution.
const MAX_SINGLE: usize = 200;

impl Context {
    /// Cancels every unfinished job of an execution: first those that run, as their containers must be stopped soon.
    pub async fn cancel_jobs(&self, execution: ExecutionId) -> Result<()> {
        // After a recorded cancel, its jobs are never recorded.
        if self.unplanned_state(execution).await?.is_some() {
            return Ok(());
        }
        let mut conflicts = 0;
        for _ in 0..MAX_CONFLICTS {
            let mut outcome = Outcome::default();
            let mut batch = Vec::new();
            let mut size = 0;
            let nodes = self.stores.records.all_nodes(execution).await?;
            // A child that is started after this changes its job, which is then a conflict.
            Box::pin(self.cancel_children(execution, &nodes)).await?;
            let cancelable = |node: &Node| {
                let item = job_of(node).ok()?;
                let transition = apply_event(node, item, JobEvent::Cancel, self.now()).ok()?;
                Some((item.job.status != JobStatus::Running, node.key.ix, transition))
            };
            let mut jobs: Vec<_> = nodes.iter().filter_map(cancelable).collect();
            drop(nodes);
            jobs.sort_by_key(|(is_waiting, ix, _)| (*is_waiting, *ix));
            let singly = conflicts > 0 && jobs.len() <= MAX_SINGLE;
            for (_, ix, transition) in jobs {
                if singly || size + transition.writes.len() > MAX_WRITES.max(MAX_ARRIVALS + 1) {
                    self.flush(execution, &mut batch, &mut outcome).await?;
                    size = 0;
                }
                size += transition.writes.len();
                batch.push((ix, transition));
            }
            self.flush(execution, &mut batch, &mut outcome).await?;
            conflicts = outcome.conflicts;
            self.advance(execution, outcome.nodes).await?;
            if conflicts == 0 {
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("execution {execution} changes too fast to be canceled; try again")))
    }
}
