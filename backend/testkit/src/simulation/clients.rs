//! Clients, which start, cancel, retry and approve executions.

use super::{
    cluster::{CallError, Cluster},
    pipelines,
    world::TaskOwner,
};
use futures_util::{FutureExt, future::BoxFuture};
use std::sync::Arc;
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::{
    api::{ExecuteRequest, RetryRequest},
    ids::{ExecutionId, JobId},
};
use tidemill_services::Error;
use tidemill_services::{Caller, CallerKey, Services};
use uuid::Uuid;

/// Maximum time until an approval, in milliseconds.
const MAX_APPROVAL_DELAY_MS: u64 = 90_000;
/// Maximum poll interval while nothing changes, in milliseconds.
pub const MAX_WAIT_MS: u64 = 3_600_000;

/// A client that starts an execution, repeats the request without a reply, and may cancel or retry the execution.
pub struct Client {
    pub number: usize,
    /// Whether another client sends the same request at about the same time.
    pub is_duplicated: bool,
    /// The name of its pipeline.
    pub name: String,
    /// Whether all clients use the same group.
    pub single_group: bool,
}

impl Client {
    pub async fn run(self, cluster: Arc<Cluster>) {
        let world = cluster.world().clone();
        let begin = world.random_below(5_000);
        world.sleep(begin).await;
        let mut rng = fastrand::Rng::with_seed(world.random_below(u64::MAX));
        let group = if self.single_group {
            Some(pipelines::ORDERED_GROUP)
        } else {
            pipelines::random_group(&mut rng)
        };
        let request = ExecuteRequest {
            pipeline: pipelines::random_pipeline(&mut rng, &self.name, group.unwrap_or_default()),
            repo: "simulated".into(),
            commit: Some(format!("c{}", self.number)),
            ..ExecuteRequest::default()
        };
        let key = format!("key-{}", self.number);
        if self.is_duplicated {
            let (other, request, key) = (cluster.clone(), request.clone(), key.clone());
            world.spawn(TaskOwner::Environment, async move {
                execute(&other, &request, &key).await;
            });
        }
        let id = execute(&cluster, &request, &key).await;
        match world.random_below(if self.single_group { 4 } else { 10 }) {
            0 => cancel_execution(&cluster, id).await,
            1 => cancel_job(&cluster, id).await,
            2 => retry(&cluster, id).await,
            _ => {}
        }
    }
}

/// Repeats a request until it succeeds. `None`: it was rejected, which is a violation.
pub async fn call_until_ok<T: Send + 'static>(
    cluster: &Arc<Cluster>,
    request: impl Fn(Services) -> BoxFuture<'static, tidemill_services::Result<T>> + Send + Sync,
) -> Option<T> {
    loop {
        match cluster.call(&request).await {
            Ok(reply) => return Some(reply),
            Err(CallError::NoReply | CallError::Rejected(Error::Conflict(_))) => {}
            Err(CallError::Rejected(error)) => {
                cluster.world().record_violation(format!("a valid request was rejected: {error}"));
                return None;
            }
        }
        cluster.world().sleep(300).await;
    }
}

/// Creates an idempotency key of the client.
fn client_key(key: &str) -> Result<CallerKey, Error> {
    CallerKey::new(&Caller::internal("client"), key)
}

async fn execute(cluster: &Arc<Cluster>, request: &ExecuteRequest, key: &str) -> ExecutionId {
    let reply = call_until_ok(cluster, |server| {
        let (request, key) = (request.clone(), client_key(key));
        async move { server.pipelines.execute(request, Some(key?), None).await }.boxed()
    });
    let Some(reply) = reply.await else { return ExecutionId(Uuid::nil()) };
    cluster.auditor.execute_acknowledged(key, reply.execution_id);
    reply.execution_id
}

async fn cancel_execution(cluster: &Arc<Cluster>, id: ExecutionId) {
    let after = cluster.world().random_below(60_000);
    cluster.world().sleep(after).await;
    cluster.auditor.cancel_requested(id);
    let canceled = call_until_ok(cluster, |server| async move { server.pipelines.cancel(id).await }.boxed());
    if canceled.await.is_some() {
        cluster.auditor.cancel_acknowledged(id);
    }
}

async fn cancel_job(cluster: &Arc<Cluster>, id: ExecutionId) {
    let after = cluster.world().random_below(60_000);
    cluster.world().sleep(after).await;
    let job = JobId::of(id, 0);
    while is_unplanned(cluster, id).await {
        cluster.world().sleep(1_000).await;
    }
    if cluster.stores.records.job(job).await.is_ok_and(|job| job.is_none()) {
        // The execution was superseded before its jobs were recorded.
        return;
    }
    cluster.auditor.job_cancel_requested(job);
    let canceled = call_until_ok(cluster, |server| async move { server.jobs.cancel(job).await }.boxed());
    if canceled.await.is_some() {
        cluster.auditor.job_cancel_acknowledged(job);
    }
}

/// Waits for the end of an execution, and retries it if it was unsuccessful.
async fn retry(cluster: &Arc<Cluster>, id: ExecutionId) {
    let world = cluster.world().clone();
    let mut wait_ms = 5_000;
    loop {
        let reply = cluster.call(|server| async move { server.pipelines.view(id, None, 0).await }.boxed());
        if let Ok(reply) = reply.await
            && let Some(status) = reply.view.map(|view| view.execution.status)
            && status.is_terminal()
        {
            if status == ExecutionStatus::Success {
                return;
            }
            break;
        }
        world.sleep(wait_ms).await;
        wait_ms = MAX_WAIT_MS.min(wait_ms * 5 / 4);
    }
    let key = format!("retry-{id}");
    let reply = call_until_ok(cluster, |server| {
        let key = client_key(&key);
        async move { server.pipelines.retry(id, RetryRequest::default(), Some(key?)).await }.boxed()
    });
    if let Some(reply) = reply.await {
        cluster.auditor.execute_acknowledged(&key, reply.execution_id);
    }
}

/// Approves jobs and executions that wait for it after a while; sometimes never, or cancels them instead.
pub async fn run_approver(cluster: Arc<Cluster>) {
    let (world, quiet) = (cluster.world().clone(), &cluster.stores.quiet);
    let mut wait_ms = 2_000;
    loop {
        let waiting = cluster.auditor.take_required_approvals();
        let idle = waiting.is_empty() && quiet.load(std::sync::atomic::Ordering::Relaxed);
        wait_ms = if idle { MAX_WAIT_MS.min(wait_ms * 2) } else { 2_000 };
        for (id, job) in waiting {
            let cluster = cluster.clone();
            match world.random_below(16) {
                0..2 => {}
                2 => world.spawn(TaskOwner::Environment, async move { cancel_execution(&cluster, id).await }),
                _ => world.spawn(TaskOwner::Environment, async move { approve(&cluster, id, job).await }),
            }
        }
        world.sleep(wait_ms).await;
    }
}

/// Approves a job or a whole execution; repeats the request until it succeeds or is too late.
async fn approve(cluster: &Arc<Cluster>, id: ExecutionId, job: Option<u32>) {
    let world = cluster.world();
    let delay_ms = world.random_below(MAX_APPROVAL_DELAY_MS);
    world.sleep(delay_ms).await;
    cluster.auditor.approval_requested(id, job);
    let mut wait_ms = 5_000;
    loop {
        if job.is_some() && is_unplanned(cluster, id).await {
            // Its execution must be approved first.
            world.sleep(wait_ms).await;
            wait_ms = MAX_WAIT_MS.min(wait_ms * 2);
            continue;
        }
        let reply = cluster.call(|server| match job {
            Some(ix) => async move { server.approvals.approve_job(JobId::of(id, ix)).await }.boxed(),
            None => async move { server.approvals.approve_execution(id).await }.boxed(),
        });
        match reply.await {
            Ok(_) => return cluster.auditor.approval_acknowledged(id, job),
            Err(CallError::NoReply) => {}
            Err(CallError::Rejected(_)) if is_too_late(cluster, id, job).await => return,
            Err(CallError::Rejected(error)) => {
                return world.record_violation(format!("11: a required approval was rejected: {error}"));
            }
        }
        world.sleep(300).await;
    }
}

async fn is_unplanned(cluster: &Cluster, id: ExecutionId) -> bool {
    let state = cluster.stores.records.execution_state(id).await.ok().flatten();
    state.is_some_and(|(state, _)| state.unplanned && !state.status.is_terminal() && !state.cancel_requested)
}

async fn is_too_late(cluster: &Cluster, id: ExecutionId, job: Option<u32>) -> bool {
    let records = &cluster.stores.records;
    let state = records.execution_state(id).await.ok().flatten();
    if state.is_none_or(|(state, _)| state.status.is_terminal() || state.cancel_requested) {
        return true;
    }
    let Some(ix) = job else { return false };
    let execution = records.execution(id).await.ok().flatten();
    let gate = execution.and_then(|record| record.spec.approval_gate(job).map(|approval| approval.gate));
    let nodes = records.nodes(id, &[ix, gate.unwrap_or(ix)]).await.unwrap_or_default();
    // A need failed, or the job is optional and all other jobs have ended.
    let closed = nodes.iter().any(|node| Some(node.key.ix) == gate && node.failed > 0);
    let job = nodes.iter().find(|node| node.key.ix == ix).and_then(|node| node.state.status());
    closed || job.is_none_or(JobStatus::is_terminal)
}
