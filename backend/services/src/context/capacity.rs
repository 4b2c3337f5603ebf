//! Counts the jobs that need machines, and requests machines when jobs are queued.

use super::{
    fleet::{Fleet, FleetPool, parse_memory},
    service_context::Context,
};
use crate::{
    error::Result,
    ports::{NodeBody, NodeKey, QueuedJob, WorkerPool},
};
use futures_util::future::try_join_all;
use std::{collections::BTreeMap, time::Duration};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    ids::ExecutionId,
    pipeline::labels::Labels,
    scheduler::{FleetAction, JobLoad, required_capacity},
    time::Timestamp,
};

/// Milliseconds in which each queued or running job is due: its message is sent again within 15 minutes.
const HORIZON_MS: u64 = 16 * 60_000;
/// Other nodes that may be due before the jobs.
const OTHER_NODES: usize = 50;
/// Maximum number of nodes that one count reads.
pub(crate) const MAX_COUNTED: usize = 5_000;
/// Number of executions that are read at once.
const CONCURRENT_READS: usize = 16;
/// Maximum time of a request for capacity, which delays a reply.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(3);

/// Nodes that are due soon.
pub(crate) struct DueNodes {
    /// Their indices, by their executions.
    pub(crate) by_execution: Vec<(ExecutionId, Vec<u32>)>,
    /// Whether there are no others.
    pub(crate) is_complete: bool,
}

/// Jobs of one execution.
#[derive(Default)]
struct ExecutionLoad {
    /// Number of queued jobs by the index of their pool.
    waiting: BTreeMap<usize, u32>,
    /// Number of running jobs by the name of their worker.
    running: BTreeMap<String, u32>,
}

impl Context {
    /// Requests machines of these pools from now on; only the first call has an effect.
    pub fn scale(&self, pools: Vec<WorkerPool>) {
        let _ = self.fleet.set(Fleet::new(pools));
    }

    /// Returns the machines, if this process requests them.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.get()
    }

    /// Returns the index of the pool for jobs that require `labels`; `None`: the operator starts their workers.
    fn pool_of(&self, fleet: &Fleet, labels: &Labels) -> Option<usize> {
        fleet.pool_with(&self.stores.queue.route(labels)?)
    }

    /// Returns at most `limit` nodes, among which are the jobs that are queued or run at `now`, from the index of due nodes.
    pub(crate) async fn nodes_of_jobs(&self, now: Timestamp, limit: usize) -> Result<DueNodes> {
        let lease_ms = self.settings.lease_ttl_ms.saturating_add(60_000);
        let horizon = i64::try_from(HORIZON_MS.max(lease_ms)).unwrap_or(i64::MAX);
        let due = self.stores.records.due_nodes(now.plus_ms(horizon), limit).await?;
        let is_complete = due.len() < limit;
        let mut by_execution: BTreeMap<ExecutionId, Vec<u32>> = BTreeMap::new();
        for NodeKey { execution, ix } in due.into_iter().map(|node| node.key) {
            by_execution.entry(execution).or_default().push(ix);
        }
        Ok(DueNodes { by_execution: by_execution.into_iter().collect(), is_complete })
    }

    /// Counts the queued and running jobs of each pool, from the index of due nodes. It reads little more than the jobs for which there
    /// may be machines, however many there are. The running jobs are those of all pools: a worker may take jobs of several.
    pub async fn job_loads(&self, fleet: &Fleet) -> Result<Vec<JobLoad>> {
        let now = self.now();
        let limit =
            (fleet.max_jobs() as usize).saturating_mul(2).saturating_add(OTHER_NODES).min(MAX_COUNTED);
        let DueNodes { by_execution, is_complete } = self.nodes_of_jobs(now, limit).await?;
        let mut loads = vec![JobLoad { is_complete, ..JobLoad::default() }; fleet.pools.len()];
        let mut running: BTreeMap<String, u32> = BTreeMap::new();
        for batch in by_execution.chunks(CONCURRENT_READS) {
            let counts = batch.iter().map(|(execution, ixs)| self.load_of(fleet, *execution, ixs, now));
            for of in try_join_all(counts).await? {
                for (pool, jobs) in of.waiting {
                    if let Some(load) = loads.get_mut(pool) {
                        load.waiting = load.waiting.saturating_add(jobs);
                    }
                }
                for (worker, jobs) in of.running {
                    let known = running.entry(worker).or_default();
                    *known = known.saturating_add(jobs);
                }
            }
        }
        for load in &mut loads {
            load.running.clone_from(&running);
        }
        Ok(loads)
    }

    /// Counts jobs of one execution among its nodes at `ixs`.
    async fn load_of(
        &self,
        fleet: &Fleet,
        execution: ExecutionId,
        ixs: &[u32],
        now: Timestamp,
    ) -> Result<ExecutionLoad> {
        let mut load = ExecutionLoad::default();
        let cached = self.cached_execution(execution).await?;
        let no_labels = Labels::new();
        for node in self.stores.records.nodes(execution, ixs).await? {
            let NodeBody::Job(record) = &node.state.body else { continue };
            match (record.job.status, &record.job.lease) {
                _ if record.is_waiting(now) => {
                    let labels = cached.spec.required_labels(node.key.ix).unwrap_or(&no_labels);
                    if let Some(pool) = self.pool_of(fleet, labels) {
                        *load.waiting.entry(pool).or_default() += 1;
                    }
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
        let mut jobs = vec![0_u32; fleet.pools.len()];
        for job in queued.iter().filter(|job| job.delay_ms == 0) {
            if let Some(jobs) = self.pool_of(fleet, &job.labels).and_then(|pool| jobs.get_mut(pool)) {
                *jobs = jobs.saturating_add(1);
            }
        }
        let now = self.now();
        let requests = fleet.pools.iter().zip(jobs).enumerate();
        let admitted: Vec<(usize, &FleetPool, u32)> = requests
            .filter(|(_, (pool, jobs))| pool.admits_request(*jobs, now))
            .map(|(ix, (pool, jobs))| (ix, pool, jobs))
            .collect();
        if admitted.is_empty() {
            return;
        }
        match tokio::time::timeout(MAX_REQUEST_TIME, self.request_for(fleet, &admitted)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot request machines for queued jobs; the next decision does");
            }
            Err(_) => tracing::warn!("a request of machines took too long; the next decision repeats it"),
        }
    }

    async fn request_for(&self, fleet: &Fleet, admitted: &[(usize, &FleetPool, u32)]) -> Result<()> {
        let mut loads = None;
        for (ix, known, jobs) in admitted.iter().copied() {
            let pool = &known.pool;
            let state = pool.group.state().await?;
            if state.requested() >= pool.limits.max {
                continue;
            }
            let loads = match &mut loads {
                Some(loads) => loads,
                none => none.insert(self.job_loads(fleet).await?),
            };
            let Some(load) = loads.get_mut(ix) else { continue };
            // The index may not have them yet.
            load.waiting = load.waiting.max(jobs);
            let memory = match state.fallback {
                Some(_) => self.stores.documents.get(&known.key()).await?,
                None => None,
            };
            let memory =
                memory.map(|document| parse_memory(&document.value)).transpose()?.unwrap_or_default();
            match required_capacity(&state, load, &memory, pool.limits, self.now()) {
                Some(FleetAction::SetDesired(number)) => {
                    tracing::info!(number, jobs, labels = ?pool.labels, "requesting machines for queued jobs");
                    pool.group.set_desired(number).await?;
                }
                Some(FleetAction::SetFallback(number)) => {
                    tracing::info!(number, jobs, labels = ?pool.labels, "requesting machines on demand for queued jobs");
                    pool.group.set_fallback(number).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
