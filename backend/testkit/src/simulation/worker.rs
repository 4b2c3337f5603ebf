//! Workers.

use super::{
    auditor,
    clients::MAX_WAIT_MS,
    cluster::{Cluster, Failure, LEASE_MS},
    pipelines::{EXIT_CODES, labels_of},
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
use tidemill_core::execution::{
    assignment::{Assignment, Source},
    discovery::{Discovery, DiscoveryReport},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::{
    api::{
        ArtifactComplete, ArtifactUploadRequest, AttemptEnd, JobExecuteReply, JobExecuteRequest, JobReport,
        LogBytes, WorkerInfo,
    },
    ids::{JobId, LeaseToken, WorkerId},
};
use tidemill_services::Error;
use tidemill_services::Services;
use tidemill_services::ports::{JobQueue, Message};
use uuid::Uuid;

/// The last of them has all labels that a job may demand.
pub const WORKERS: usize = 3;
/// For how long a message is hidden from others once it was received, in milliseconds.
pub const VISIBILITY_TIMEOUT_MS: u64 = 60_000;

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
        let truth = &self.cluster.truth;
        let mut idle = 1;
        loop {
            let waits = (200 + world.below(800)) * idle;
            world.pause(waits).await;
            // A message may come to a worker that it is not for: somebody named it another queue.
            let misled = truth.strikes(truth.chances.misled, "worker asks another queue");
            let labels = labels_of(if misled { WORKERS - 1 } else { self.number });
            match queue.receive(None, &labels, VISIBILITY_TIMEOUT_MS, Duration::ZERO).await {
                Ok(Some(message)) => {
                    idle = 1;
                    self.take(&*queue, message).await;
                }
                _ if truth.quiet.load(Ordering::Relaxed) => idle = (idle * 2).min(MAX_WAIT_MS / 1_000),
                _ => {}
            }
        }
    }

    async fn take(&self, queue: &dyn JobQueue, message: Message) {
        let world = self.cluster.world();
        let job = JobId::of(message.node.execution, message.node.ix);
        let token = LeaseToken(Uuid::from_u128(world.random()));
        let request = JobExecuteRequest {
            labels: labels_of(self.number),
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
        what: impl Fn(Services) -> BoxFuture<'static, tidemill_services::Result<T>> + Send + Sync,
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
        let mut lease = HeldJob { token: assignment.lease.token, until: asked_at + auditor::ms(LEASE_MS) };
        if let Some(discovery) = &assignment.extras.discovery {
            return self.look(&mut lease, &assignment, discovery).await;
        }
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

    /// Looks at a commit, and tells what is there.
    async fn look(&self, lease: &mut HeldJob, assignment: &Assignment, discovery: &Discovery) {
        let world = self.cluster.world();
        let (job, attempt) = (assignment.preparation.job_id, assignment.attempt);
        let looks = world.below(4_000);
        world.pause(looks).await;
        let commit = match &assignment.preparation.source {
            Source::Git { commit, .. } => commit.as_str(),
            _ => "",
        };
        let found = self.cluster.forge.at(commit, &discovery.only);
        let report = DiscoveryReport {
            job_id: job,
            lease: lease.token,
            commit: found.commit.clone(),
            files: found.files.clone(),
            changed: None,
            paths: None,
        };
        self.cluster.auditor.tells(job, &found);
        loop {
            let told = self.call(|server| {
                let report = report.clone();
                async move { server.discoveries.discovered(report).await }.boxed()
            });
            match told.await {
                Ok(reply) => {
                    self.cluster.auditor.told(job, &found);
                    let failure = reply.failed.then_some(FailureKind::ScriptFailed);
                    return self.end(lease, job, attempt, failure).await;
                }
                Err(Failure::Refused(Error::Conflict(_)) | Failure::Lost) if world.now() < lease.until => {
                    world.pause(400).await;
                }
                Err(_) => return,
            }
        }
    }

    async fn end(&self, lease: &mut HeldJob, job: JobId, attempt: u32, failure: Option<FailureKind>) {
        let code = usize::try_from(self.cluster.world().below(2)).unwrap_or(0);
        let ended = AttemptEnd {
            failure: failure.map(|kind| FailureReason::new(kind, "simulated")),
            exit_code: match failure {
                None => Some(0),
                Some(FailureKind::ScriptFailed) => Some(EXIT_CODES[code]),
                Some(_) => None,
            },
        };
        if let Next::GoOn | Next::Cancel = self.tell(lease, report(job, lease.token, None, Some(ended))).await
        {
            self.cluster.auditor.ended(job, attempt, failure);
        }
    }

    /// Sends a report until it is acknowledged, refused, or the lease is over by the worker's own clock.
    async fn tell(&self, lease: &mut HeldJob, report: JobReport) -> Next {
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
    async fn leave(&self, lease: &HeldJob, job: JobId, attempt: u32) -> bool {
        let bytes = auditor::log(job, attempt, 1_000_000, 300);
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        let mut request = ArtifactUploadRequest {
            cache_key: None,
            sum: None,
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
                async move { server.artifacts.put(id, (job, token), None, stream).await }.boxed()
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

struct HeldJob {
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
