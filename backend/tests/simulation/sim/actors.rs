//! Who acts: clients, workers, sweeps, and fate.

use super::{
    auditor,
    cluster::{Cluster, Failure, LEASE_MS, SERVERS},
    pipelines,
    world::Owner,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use sha2::{Digest, Sha256};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_backend::{
    Error,
    ports::{JobQueue, Message},
    services::Services,
};
use tidemill_core::labels::Labels;
use tidemill_core::{
    api::{
        ArtifactComplete, ArtifactUploadRequest, AttemptEnd, ExecuteRequest, JobExecuteReply,
        JobExecuteRequest, JobReport, LogBytes, RetryRequest, Trigger, WorkerInfo,
    },
    assignment::{Assignment, Source},
    failure::{FailureKind, FailureReason},
    ids::{ExecutionId, JobId, LeaseToken, WorkerId},
    status::ExecutionStatus,
};
use uuid::Uuid;

pub const WORKERS: usize = 3;
/// For how long a message is hidden from others once it was received, in milliseconds.
const HIDE_MS: u64 = 60_000;
/// Times between sweeps, in milliseconds.
const SWEEP_MS: u64 = 20_000;

/// A client that starts an execution, asks again when it gets no reply, and may cancel or retry it.
pub async fn client(cluster: Arc<Cluster>, number: usize, rivals: bool, name: String) {
    let world = cluster.world().clone();
    let begin = world.below(5_000);
    world.pause(begin).await;
    let mut rng = fastrand::Rng::with_seed(world.below(u64::MAX));
    let request = ExecuteRequest {
        pipeline: pipelines::made(&mut rng, &name),
        file: None,
        repo: "simulated".into(),
        branch: None,
        commit: Some(format!("c{number}")),
        source: Source::None,
        variables: indexmap::IndexMap::new(),
        trigger: Trigger::Manual,
        requested_by: None,
        force: false,
        ..ExecuteRequest::default()
    };
    let key = format!("key-{number}");
    if rivals {
        // The same request, at about the same time, from another client.
        let (other, request, key) = (cluster.clone(), request.clone(), key.clone());
        world.spawn(Owner::Nobody, async move {
            execute(&other, &request, &key).await;
        });
    }
    let id = execute(&cluster, &request, &key).await;
    match world.below(10) {
        0 => cancel_execution(&cluster, id).await,
        1 => cancel_job(&cluster, id).await,
        2 => retry(&cluster, id).await,
        _ => {}
    }
}

/// Asks for something until it is done. `None`: it was refused for good, which nothing that is asked for here may be.
async fn insist<T: Send + 'static>(
    cluster: &Arc<Cluster>,
    what: impl Fn(Services) -> BoxFuture<'static, tidemill_backend::Result<T>> + Send + Sync,
) -> Option<T> {
    loop {
        match cluster.call(&what).await {
            Ok(reply) => return Some(reply),
            Err(Failure::Lost | Failure::Refused(Error::Conflict(_))) => {}
            Err(Failure::Refused(error)) => {
                cluster.world().violation(format!("what a client may ask for was refused: {error}"));
                return None;
            }
        }
        cluster.world().pause(300).await;
    }
}

async fn execute(cluster: &Arc<Cluster>, request: &ExecuteRequest, key: &str) -> ExecutionId {
    let made = insist(cluster, |server| {
        let (request, key) = (request.clone(), key.to_owned());
        async move { server.pipelines.execute(request, Some(key), None).await }.boxed()
    });
    let Some(reply) = made.await else { return ExecutionId(Uuid::nil()) };
    cluster.auditor.executed(key, reply.execution_id);
    reply.execution_id
}

async fn cancel_execution(cluster: &Arc<Cluster>, id: ExecutionId) {
    let after = cluster.world().below(60_000);
    cluster.world().pause(after).await;
    let canceled = insist(cluster, |server| async move { server.pipelines.cancel(id).await }.boxed());
    if canceled.await.is_some() {
        cluster.auditor.canceled(id);
    }
}

async fn cancel_job(cluster: &Arc<Cluster>, id: ExecutionId) {
    let after = cluster.world().below(60_000);
    cluster.world().pause(after).await;
    let job = JobId::of(id, 0);
    let canceled = insist(cluster, |server| async move { server.jobs.cancel(job).await }.boxed());
    if canceled.await.is_some() {
        cluster.auditor.job_canceled(job);
    }
}

/// Waits for the end, and retries what did not succeed.
async fn retry(cluster: &Arc<Cluster>, id: ExecutionId) {
    let world = cluster.world().clone();
    loop {
        let seen = cluster.call(|server| async move { server.pipelines.view(id, None, 0).await }.boxed());
        if let Ok(seen) = seen.await
            && let Some(status) = seen.view.map(|view| view.execution.status)
            && status.is_terminal()
        {
            if status == ExecutionStatus::Success {
                return;
            }
            break;
        }
        world.pause(5_000).await;
    }
    let key = format!("retry-{id}");
    let made = insist(cluster, |server| {
        let key = key.clone();
        async move { server.pipelines.retry(id, RetryRequest::default(), Some(key)).await }.boxed()
    });
    if let Some(reply) = made.await {
        cluster.auditor.executed(&key, reply.execution_id);
    }
}

/// One worker with one slot: it takes jobs until it dies.
pub struct Worker {
    pub cluster: Arc<Cluster>,
    pub number: usize,
    /// Whether it is cut off from the servers.
    pub cut: Arc<AtomicBool>,
}

/// How an attempt goes on.
enum Next {
    GoOn,
    Cancel,
    Stop,
}

impl Worker {
    pub async fn work(self) {
        let world = self.cluster.world().clone();
        let queue = self.cluster.truth.stores(0).queue;
        loop {
            let waits = 200 + world.below(800);
            world.pause(waits).await;
            let Ok(Some(message)) = queue.receive(None, &Labels::new(), HIDE_MS, Duration::ZERO).await else {
                continue;
            };
            self.take(&*queue, message).await;
        }
    }

    async fn take(&self, queue: &dyn JobQueue, message: Message) {
        let world = self.cluster.world();
        let job = JobId::of(message.node.execution, message.node.ix);
        let token = LeaseToken(Uuid::from_u128(world.random()));
        let request = JobExecuteRequest {
            labels: Labels::new(),
            worker: WorkerInfo { id: WorkerId(Uuid::from_u128(1)), name: format!("w{}", self.number) },
            job_id: Some(job),
            execution_id: None,
            lease: Some(token),
            wait_ms: 0,
            lookahead: 0,
        };
        for _ in 0..4 {
            let asked_at = world.now();
            let asked = self.call(|server| {
                let request = request.clone();
                async move { server.jobs.execute(request).await }.boxed()
            });
            match asked.await {
                Ok(JobExecuteReply::Assigned { assignment, .. }) => {
                    self.run(*assignment, asked_at).await;
                    break;
                }
                Ok(JobExecuteReply::Nothing { .. }) => break,
                Err(Failure::Refused(error)) => {
                    world.event(format_args!("worker {}: no claim: {error}", self.number));
                    return;
                }
                Err(Failure::Lost) => world.pause(500).await,
            }
        }
        drop(queue.delete(&message).await);
    }

    async fn call<T: Send + 'static>(
        &self,
        what: impl Fn(Services) -> BoxFuture<'static, tidemill_backend::Result<T>> + Send + Sync,
    ) -> Result<T, Failure> {
        if self.cut.load(Ordering::Relaxed) {
            self.cluster.world().pause(3_000).await;
            return Err(Failure::Lost);
        }
        self.cluster.call(what).await
    }

    /// One attempt: some output, perhaps an artifact, and its end.
    async fn run(&self, assignment: Assignment, asked_at: i64) {
        let (world, truth) = (self.cluster.world().clone(), self.cluster.truth.clone());
        let job = assignment.preparation.job_id;
        let attempt = assignment.attempt;
        world.event(format_args!("worker {} runs {job} attempt {attempt}", self.number));
        let mut lease = Held { token: assignment.lease.token, until: asked_at + auditor::ms(LEASE_MS) };
        let mut sent = 0_u64;
        let reports = 1 + world.below(3);
        for _ in 0..reports {
            let runs = world.below(9_000);
            world.pause(runs).await;
            if truth.strikes(truth.chances.worker_stands, "worker stands still") {
                let stands = world.below(3 * LEASE_MS);
                world.pause(stands).await;
            }
            let length = world.below(200);
            let log = auditor::log(job, attempt, sent, length);
            let report = report(job, lease.token, Some((sent, log)), None);
            match self.tell(&mut lease, report).await {
                Next::GoOn => {
                    sent += length;
                    self.cluster.auditor.logged(job, attempt, sent);
                }
                Next::Cancel => {
                    return self.end(&mut lease, job, attempt, Some(FailureKind::Canceled)).await;
                }
                Next::Stop => return,
            }
        }
        let failure = if truth.strikes(truth.chances.engine_fails, "engine fails") {
            Some(FailureKind::EngineFailed)
        } else if truth.strikes(truth.chances.give_back, "given back") {
            Some(FailureKind::GivenBack)
        } else if world.chance(truth.chances.script_fails) {
            Some(FailureKind::ScriptFailed)
        } else {
            None
        };
        if failure.is_none() && assignment.artifacts.is_some() && !self.leave(&lease, job, attempt).await {
            return self.end(&mut lease, job, attempt, Some(FailureKind::ArtifactFailed)).await;
        }
        self.end(&mut lease, job, attempt, failure).await;
    }

    async fn end(&self, lease: &mut Held, job: JobId, attempt: u32, failure: Option<FailureKind>) {
        let ended = AttemptEnd {
            failure: failure.map(|kind| FailureReason::new(kind, "simulated")),
            exit_code: None,
        };
        if let Next::GoOn | Next::Cancel = self.tell(lease, report(job, lease.token, None, Some(ended))).await
        {
            self.cluster.auditor.ended(job, attempt, failure);
        }
    }

    /// Sends a report until it is acknowledged, refused, or the lease is over by the worker's own clock.
    async fn tell(&self, lease: &mut Held, report: JobReport) -> Next {
        let world = self.cluster.world();
        let begun = self.cluster.auditor.commits();
        loop {
            let sent_at = world.now();
            let told = self.call(|server| {
                let report = report.clone();
                async move { server.jobs.report(report).await }.boxed()
            });
            match told.await {
                Ok(reply) => {
                    self.cluster.auditor.report_taken(report.job_id, lease.token, begun);
                    lease.until = sent_at + auditor::ms(reply.lease_ttl_ms);
                    return if reply.cancel { Next::Cancel } else { Next::GoOn };
                }
                Err(Failure::Refused(Error::Conflict(_)) | Failure::Lost) if world.now() < lease.until => {
                    world.pause(400).await;
                }
                Err(_) => return Next::Stop,
            }
        }
    }

    /// Leaves an artifact; whether that was acknowledged.
    async fn leave(&self, lease: &Held, job: JobId, attempt: u32) -> bool {
        let bytes = auditor::log(job, attempt, 1_000_000, 300);
        let sha256 = auditor::hex(&Sha256::digest(&bytes));
        let mut request = ArtifactUploadRequest {
            cache_key: None,
            job_id: job,
            lease: lease.token,
            file_path: "out".into(),
            files: Vec::new(),
            expire_in_s: None,
            complete: None,
        };
        for _ in 0..4 {
            let announced = self.call(|server| {
                let request = request.clone();
                async move { server.artifacts.upload(request).await }.boxed()
            });
            let Ok(place) = announced.await else { continue };
            let (id, token) = (place.artifact_id, lease.token);
            let put = self.call(|server| {
                let part = Ok(bytes::Bytes::from(bytes.clone()));
                let stream = stream::once(async move { part }).boxed();
                async move { server.artifacts.put(id, (job, token), false, stream).await }.boxed()
            });
            if put.await.is_err() {
                continue;
            }
            request.complete =
                Some(ArtifactComplete { artifact_id: id, size: bytes.len() as u64, sha256: sha256.clone() });
            let done = self.call(|server| {
                let request = request.clone();
                async move { server.artifacts.upload(request).await }.boxed()
            });
            if done.await.is_ok() {
                self.cluster.auditor.left(job, id, &sha256);
                return true;
            }
            request.complete = None;
        }
        false
    }
}

struct Held {
    token: LeaseToken,
    until: i64,
}

fn report(
    job_id: JobId,
    lease: LeaseToken,
    log: Option<(u64, Vec<u8>)>,
    end: Option<AttemptEnd>,
) -> JobReport {
    let log = log.filter(|(_, bytes)| !bytes.is_empty()).map(|(offset, bytes)| LogBytes {
        offset,
        length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        zstd_base64: STANDARD.encode(zstd::bulk::compress(&bytes, 1).unwrap_or_default()),
    });
    JobReport { job_id, lease, log, phase: None, steps: Vec::new(), end }
}

/// Sweeps now and then, on any server, also at the same time.
pub async fn sweeps(cluster: Arc<Cluster>) {
    loop {
        let waits = SWEEP_MS / 2 + cluster.world().below(SWEEP_MS);
        cluster.world().pause(waits).await;
        drop(cluster.call(|server| async move { server.sweep.run().await }.boxed()).await);
    }
}

/// What happens to servers, workers and the queue, second by second, until it is quiet.
pub async fn fate(cluster: Arc<Cluster>, cuts: Vec<Arc<AtomicBool>>, until: i64) {
    let (world, truth) = (cluster.world().clone(), cluster.truth.clone());
    let chances = truth.chances;
    while world.now() < until {
        world.pause(1_000).await;
        for ix in 0..SERVERS {
            if cluster.server(ix).is_some() && truth.strikes(chances.server_dies, "server died") {
                cluster.crash(ix);
            }
        }
        for (number, cut) in cuts.iter().enumerate() {
            if truth.strikes(chances.worker_dies, "worker died") {
                world.kill(Owner::Worker(number));
                let (cluster, cut) = (cluster.clone(), cut.clone());
                let waits = world.below(5_000);
                world.spawn(Owner::Nobody, async move {
                    cluster.world().pause(waits).await;
                    let worker = Worker { cluster: cluster.clone(), number, cut };
                    cluster.world().spawn(Owner::Worker(number), worker.work());
                });
            }
            if truth.strikes(chances.cut, "worker cut off") {
                cut.store(true, Ordering::Relaxed);
                let (world, cut, waits) = (world.clone(), cut.clone(), world.below(3 * LEASE_MS));
                let later = world.clone();
                world.spawn(Owner::Nobody, async move {
                    later.pause(waits).await;
                    cut.store(false, Ordering::Relaxed);
                });
            }
        }
        if truth.strikes(chances.redelivery, "messages show again") {
            truth.queue.show_all();
        }
        if truth.strikes(chances.give_up, "message given up")
            && let Ok(Some(message)) =
                truth.queue.receive(None, &Labels::new(), HIDE_MS, Duration::ZERO).await
        {
            let job = JobId::of(message.node.execution, message.node.ix);
            let giver = cluster.clone();
            world.spawn(Owner::Nobody, async move {
                drop(giver.call(|server| async move { server.jobs.give_up(job).await }.boxed()).await);
            });
        }
        if truth.strikes(chances.queue_loss, "queue lost all") {
            truth.queue.lose_all();
        }
    }
    world.event(format_args!("it is quiet now"));
    truth.quiet.store(true, Ordering::Relaxed);
    for cut in cuts {
        cut.store(false, Ordering::Relaxed);
    }
}
