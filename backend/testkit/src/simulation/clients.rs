//! Clients, which start, cancel, retry and approve executions.

use super::{
    cluster::{Cluster, Failure},
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
    pub rivals: bool,
    /// The name of its pipeline.
    pub name: String,
    /// Whether all clients use the same group.
    pub crowd: bool,
}

impl Client {
    pub async fn act(self, cluster: Arc<Cluster>) {
        let world = cluster.world().clone();
        let begin = world.below(5_000);
        world.pause(begin).await;
        let mut rng = fastrand::Rng::with_seed(world.below(u64::MAX));
        let group = if self.crowd { Some(pipelines::LINE) } else { pipelines::group(&mut rng) };
        let request = ExecuteRequest {
            pipeline: pipelines::made(&mut rng, &self.name, group.unwrap_or_default()),
            repo: "simulated".into(),
            commit: Some(format!("c{}", self.number)),
            ..ExecuteRequest::default()
        };
        let key = format!("key-{}", self.number);
        if self.rivals {
            let (other, request, key) = (cluster.clone(), request.clone(), key.clone());
            world.spawn(TaskOwner::Nobody, async move {
                execute(&other, &request, &key).await;
            });
        }
        let id = execute(&cluster, &request, &key).await;
        match world.below(if self.crowd { 4 } else { 10 }) {
            0 => cancel_execution(&cluster, id).await,
            1 => cancel_job(&cluster, id).await,
            2 => retry(&cluster, id).await,
            _ => {}
        }
    }
}

/// Repeats a request until it succeeds. `None`: it was rejected, which is a violation.
pub async fn insist<T: Send + 'static>(
    cluster: &Arc<Cluster>,
    request: impl Fn(Services) -> BoxFuture<'static, tidemill_services::Result<T>> + Send + Sync,
) -> Option<T> {
    loop {
        match cluster.call(&request).await {
            Ok(reply) => return Some(reply),
            Err(Failure::Lost | Failure::Refused(Error::Conflict(_))) => {}
            Err(Failure::Refused(error)) => {
                cluster.world().violation(format!("a valid request was rejected: {error}"));
                return None;
            }
        }
        cluster.world().pause(300).await;
    }
}

/// Creates an idempotency key of the client.
fn client_key(key: &str) -> Result<CallerKey, Error> {
    CallerKey::new(&Caller::internal("client"), key)
}

async fn execute(cluster: &Arc<Cluster>, request: &ExecuteRequest, key: &str) -> ExecutionId {
    let reply = insist(cluster, |server| {
        let (request, key) = (request.clone(), client_key(key));
        async move { server.pipelines.execute(request, Some(key?), None).await }.boxed()
    });
    let Some(reply) = reply.await else { return ExecutionId(Uuid::nil()) };
    cluster.auditor.executed(key, reply.execution_id);
    reply.execution_id
}

async fn cancel_execution(cluster: &Arc<Cluster>, id: ExecutionId) {
    let after = cluster.world().below(60_000);
    cluster.world().pause(after).await;
    cluster.auditor.cancels(id);
    let canceled = insist(cluster, |server| async move { server.pipelines.cancel(id).await }.boxed());
    if canceled.await.is_some() {
        cluster.auditor.canceled(id);
    }
}

async fn cancel_job(cluster: &Arc<Cluster>, id: ExecutionId) {
    let after = cluster.world().below(60_000);
    cluster.world().pause(after).await;
    let job = JobId::of(id, 0);
    cluster.auditor.cancels_job(job);
    let canceled = insist(cluster, |server| async move { server.jobs.cancel(job).await }.boxed());
    if canceled.await.is_some() {
        cluster.auditor.job_canceled(job);
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
        world.pause(wait_ms).await;
        wait_ms = MAX_WAIT_MS.min(wait_ms * 5 / 4);
    }
    let key = format!("retry-{id}");
    let reply = insist(cluster, |server| {
        let key = client_key(&key);
        async move { server.pipelines.retry(id, RetryRequest::default(), Some(key?)).await }.boxed()
    });
    if let Some(reply) = reply.await {
        cluster.auditor.executed(&key, reply.execution_id);
    }
}

/// Approves jobs and executions that wait for it after a while; sometimes never, or cancels them instead.
pub async fn approver(cluster: Arc<Cluster>) {
    let (world, quiet) = (cluster.world().clone(), &cluster.truth.quiet);
    let mut wait_ms = 2_000;
    loop {
        let waiting = cluster.auditor.waiting();
        let idle = waiting.is_empty() && quiet.load(std::sync::atomic::Ordering::Relaxed);
        wait_ms = if idle { MAX_WAIT_MS.min(wait_ms * 2) } else { 2_000 };
        for (id, job) in waiting {
            let cluster = cluster.clone();
            match world.below(16) {
                0..2 => {}
                2 => world.spawn(TaskOwner::Nobody, async move { cancel_execution(&cluster, id).await }),
                _ => world.spawn(TaskOwner::Nobody, async move { approve(&cluster, id, job).await }),
            }
        }
        world.pause(wait_ms).await;
    }
}

/// Approves a job or a whole execution; repeats the request until it succeeds or is too late.
async fn approve(cluster: &Arc<Cluster>, id: ExecutionId, job: Option<u32>) {
    let world = cluster.world();
    let delay_ms = world.below(MAX_APPROVAL_DELAY_MS);
    world.pause(delay_ms).await;
    cluster.auditor.approves(id, job);
    let mut wait_ms = 5_000;
    loop {
        if job.is_some() && is_unplanned(cluster, id).await {
            // Its execution must be approved first.
            world.pause(wait_ms).await;
            wait_ms = MAX_WAIT_MS.min(wait_ms * 2);
            continue;
        }
        let reply = cluster.call(|server| match job {
            Some(ix) => async move { server.approvals.approve_job(JobId::of(id, ix)).await }.boxed(),
            None => async move { server.approvals.approve_execution(id).await }.boxed(),
        });
        match reply.await {
            Ok(_) => return cluster.auditor.approved(id, job),
            Err(Failure::Lost) => {}
            Err(Failure::Refused(_)) if is_too_late(cluster, id, job).await => return,
            Err(Failure::Refused(error)) => {
                return world.violation(format!("11: a required approval was rejected: {error}"));
            }
        }
        world.pause(300).await;
    }
}

async fn is_unplanned(cluster: &Cluster, id: ExecutionId) -> bool {
    let state = cluster.truth.records.execution_state(id).await.ok().flatten();
    state.is_some_and(|(state, _)| state.unplanned && !state.status.is_terminal() && !state.cancel_requested)
}

async fn is_too_late(cluster: &Cluster, id: ExecutionId, job: Option<u32>) -> bool {
    let records = &cluster.truth.records;
    let state = records.execution_state(id).await.ok().flatten();
    if state.is_none_or(|(state, _)| state.status.is_terminal() || state.cancel_requested) {
        return true;
    }
    let Some(ix) = job else { return false };
    let execution = records.execution(id).await.ok().flatten();
    let gate = execution.and_then(|record| {
        record.spec.approvals.iter().find(|approval| approval.job == job).map(|approval| approval.gate)
    });
    let nodes = records.nodes(id, &[ix, gate.unwrap_or(ix)]).await.unwrap_or_default();
    // A need failed, or the job is optional and all other jobs have ended.
    let closed = nodes.iter().any(|node| Some(node.key.ix) == gate && node.failed > 0);
    let job = nodes.iter().find(|node| node.key.ix == ix).and_then(|node| node.state.status());
    closed || job.is_none_or(JobStatus::is_terminal)
}
