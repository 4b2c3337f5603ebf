//! Counts the jobs that need machines, and requests machines when jobs are queued.

use super::{fleet::Fleet, service_context::Context};
use crate::{
    error::Result,
    ports::{NodeBody, NodeKey, QueuedJob, WorkerGroup},
};
use futures_util::future::try_join_all;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    ids::ExecutionId,
    scheduler::{FleetLimits, JobLoad, required_capacity},
    time::Timestamp,
};

/// Milliseconds in which each queued or running job is due: its message is sent again within 15 minutes.
const HORIZON_MS: u64 = 16 * 60_000;
/// Other nodes that may be due before the jobs.
const OTHER_NODES: usize = 50;
/// Maximum number of nodes that one count reads.
const MAX_COUNTED: usize = 5_000;
/// Number of executions that are read at once.
const CONCURRENT_READS: usize = 16;
/// Maximum time of a request for capacity, which delays a reply.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(3);

impl Context {
    /// Requests machines of `group` from now on; only the first call has an effect.
    pub fn scale(&self, group: Arc<dyn WorkerGroup>, limits: FleetLimits) {
        let _ = self.fleet.set(Fleet::new(group, limits));
    }

    /// Returns the machines, if this process requests them.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.get()
    }

    /// Counts the queued and running jobs that any worker may run, from the index of due nodes. It reads little more than the jobs for
    /// which there may be machines, however many there are.
    pub async fn job_load(&self, limits: FleetLimits) -> Result<JobLoad> {
        let now = self.now();
        let lease_ms = self.settings.lease_ttl_ms.saturating_add(60_000);
        let horizon = i64::try_from(HORIZON_MS.max(lease_ms)).unwrap_or(i64::MAX);
        let limit =
            (limits.max_jobs() as usize).saturating_mul(2).saturating_add(OTHER_NODES).min(MAX_COUNTED);
        let due = self.stores.records.due_nodes(Timestamp(now.0.saturating_add(horizon)), limit).await?;
        let is_complete = due.len() < limit;
        let mut by_execution: BTreeMap<ExecutionId, Vec<u32>> = BTreeMap::new();
        for NodeKey { execution, ix } in due.into_iter().map(|node| node.key) {
            by_execution.entry(execution).or_default().push(ix);
        }
        let by_execution: Vec<(ExecutionId, Vec<u32>)> = by_execution.into_iter().collect();
        let mut load = JobLoad { is_complete, ..JobLoad::default() };
        for batch in by_execution.chunks(CONCURRENT_READS) {
            let counts = batch.iter().map(|(execution, ixs)| self.load_of(*execution, ixs, now));
            for of in try_join_all(counts).await? {
                load.waiting = load.waiting.saturating_add(of.waiting);
                for (worker, jobs) in of.running {
                    let known = load.running.entry(worker).or_default();
                    *known = known.saturating_add(jobs);
                }
            }
        }
        Ok(load)
    }

    /// Counts jobs of one execution among its nodes at `ixs`.
    async fn load_of(&self, execution: ExecutionId, ixs: &[u32], now: Timestamp) -> Result<JobLoad> {
        let mut load = JobLoad::default();
        let cached = self.cached_execution(execution).await?;
        for node in self.stores.records.nodes(execution, ixs).await? {
            let NodeBody::Job(record) = &node.state.body else { continue };
            if cached.spec.required_labels(node.key.ix).is_some_and(|labels| !labels.is_empty()) {
                // It is for workers that the operator starts.
                continue;
            }
            match (record.job.status, &record.job.lease) {
                (JobStatus::Queued, _) if record.job.not_before.is_none_or(|at| at <= now) => {
                    load.waiting += 1;
                }
                (JobStatus::Running, Some(lease)) => {
                    *load.running.entry(lease.worker.clone()).or_default() += 1;
                }
                _ => {}
            }
        }
        Ok(load)
    }

    /// Requests machines for jobs that were just queued, so that they do not wait for the next decision about the group. A failure has no
    /// consequence but that.
    pub(super) async fn request_capacity(&self, queued: &[QueuedJob]) {
        let Some(fleet) = self.fleet.get() else { return };
        let ready = queued.iter().filter(|job| job.delay_ms == 0 && job.labels.is_empty()).count();
        let jobs = u32::try_from(ready).unwrap_or(u32::MAX);
        if !fleet.admits_request(jobs, self.now()) {
            return;
        }
        match tokio::time::timeout(MAX_REQUEST_TIME, self.request_for(fleet, jobs)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot request machines for queued jobs; the next decision does");
            }
            Err(_) => tracing::warn!("a request of machines took too long; the next decision repeats it"),
        }
    }

    async fn request_for(&self, fleet: &Fleet, jobs: u32) -> Result<()> {
        let state = fleet.group.state().await?;
        if state.desired >= fleet.limits.max {
            return Ok(());
        }
        let mut load = self.job_load(fleet.limits).await?;
        // The index may not have them yet.
        load.waiting = load.waiting.max(jobs);
        if let Some(number) = required_capacity(&state, &load, fleet.limits) {
            tracing::info!(number, jobs, "requesting machines for queued jobs");
            fleet.group.set_desired(number).await?;
        }
        Ok(())
    }
}
