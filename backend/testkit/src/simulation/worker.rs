//! Simulated workers.

use super::{
    clients::MAX_WAIT_MS,
    cluster::{CallError, Cluster, LEASE_MS},
    output,
    pipelines::{EXIT_CODES, labels_of},
    time::to_millis,
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
    facts::{CommitDetails, ComparedPaths},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::{
    api::{
        ArtifactComplete, ArtifactEncoding, ArtifactUploadRequest, AttemptEnd, JobExecuteReply,
        JobExecuteRequest, JobReport, LogBytes, LogContent, WorkerInfo,
    },
    ids::{JobId, LeaseToken, WorkerId},
};
use tidemill_services::Error;
use tidemill_services::Services;
use tidemill_services::ports::{JobQueue, Message};
use uuid::Uuid;

/// The number of workers. The last one has all labels that a job may require.
pub const WORKERS: usize = 3;
/// Visibility timeout of received messages, in milliseconds.
pub const VISIBILITY_TIMEOUT_MS: u64 = 60_000;

/// A worker with one slot, which runs jobs until it dies.
pub struct Worker {
    pub cluster: Arc<Cluster>,
    pub number: usize,
    /// Whether the network to the servers is down.
    pub disconnected: Arc<AtomicBool>,
}

/// How an attempt continues.
enum Next {
    Continue,
    Cancel,
    Stop,
}

impl Worker {
    pub async fn run(self) {
        let world = self.cluster.world().clone();
        let queue = self.cluster.stores.stores(0).queue;
        let shared = &self.cluster.stores;
        let mut idle = 1;
        loop {
            let wait_ms = (200 + world.random_below(800)) * idle;
            world.sleep(wait_ms).await;
            // A misconfigured worker receives messages for other labels.
            let is_misconfigured = shared.inject(shared.chances.misled, "worker reads another queue");
            let labels = labels_of(if is_misconfigured { WORKERS - 1 } else { self.number });
            match queue.receive(None, &labels, VISIBILITY_TIMEOUT_MS, Duration::ZERO).await {
                Ok(Some(message)) => {
                    idle = 1;
                    self.handle_message(&*queue, message).await;
                }
                _ if shared.quiet.load(Ordering::Relaxed) => idle = (idle * 2).min(MAX_WAIT_MS / 1_000),
                _ => {}
            }
        }
    }

    async fn handle_message(&self, queue: &dyn JobQueue, message: Message) {
        let world = self.cluster.world();
        let job = JobId::of(message.node.execution, message.node.ix);
        let token = LeaseToken(Uuid::from_u128(world.random_u128()));
        let request = JobExecuteRequest {
            labels: labels_of(self.number),
            worker: WorkerInfo { id: WorkerId(Uuid::from_u128(1)), name: format!("w{}", self.number) },
            job_id: Some(job),
            execution_id: None,
            lease: Some(token),
            wait_ms: 0,
            lookahead: 0,
            slot_price: 0,
        };
        for _ in 0..4 {
            let sent_at = world.now();
            let reply = self.call(|server| {
                let request = request.clone();
                async move { server.jobs.execute(request).await }.boxed()
            });
            match reply.await {
                Ok(JobExecuteReply::Assigned { assignment, .. }) => {
                    self.run_attempt(*assignment, sent_at).await;
                    break;
                }
                Ok(JobExecuteReply::Nothing { .. }) => break,
                Err(CallError::Rejected(error)) => {
                    world.record_event(format_args!("worker {}: no claim: {error}", self.number));
                    return;
                }
                Err(CallError::NoReply) => world.sleep(500).await,
            }
        }
        drop(queue.delete(&message).await);
    }

    async fn call<T: Send + 'static>(
        &self,
        request: impl Fn(Services) -> BoxFuture<'static, tidemill_services::Result<T>> + Send + Sync,
    ) -> Result<T, CallError> {
        if self.disconnected.load(Ordering::Relaxed) {
            self.cluster.world().sleep(3_000).await;
            return Err(CallError::NoReply);
        }
        self.cluster.call(request).await
    }

    /// Runs one attempt: some output, an artifact if the job has any, and the end.
    async fn run_attempt(&self, assignment: Assignment, sent_at: i64) {
        let (world, shared) = (self.cluster.world().clone(), self.cluster.stores.clone());
        let job = assignment.preparation.job_id;
        let attempt = assignment.attempt;
        world.record_event(format_args!("worker {} runs {job} attempt {attempt}", self.number));
        self.cluster.auditor.attempt_assigned(job, attempt);
        let mut lease = HeldJob { token: assignment.lease.token, until: sent_at + to_millis(LEASE_MS) };
        if let Some(discovery) = &assignment.extras.discovery {
            return self.discover(&mut lease, &assignment, discovery).await;
        }
        let mut sent = 0_u64;
        let reports = 1 + world.random_below(3);
        for _ in 0..reports {
            let duration_ms = world.random_below(9_000);
            world.sleep(duration_ms).await;
            if shared.inject(shared.chances.worker_stands, "worker paused") {
                let pause_ms = world.random_below(3 * LEASE_MS);
                world.sleep(pause_ms).await;
            }
            let length = world.random_below(200);
            let log = output::attempt_output(job, attempt, sent, length);
            let report = report(job, lease.token, Some((sent, log)), None);
            match self.send_report(&mut lease, report).await {
                Next::Continue => {
                    sent += length;
                    self.cluster.auditor.log_acknowledged(job, attempt, sent);
                }
                Next::Cancel => {
                    return self.end(&mut lease, job, attempt, Some(FailureKind::Canceled)).await;
                }
                Next::Stop => return,
            }
        }
        let failure = if shared.inject(shared.chances.engine_fails, "engine fails") {
            Some(FailureKind::EngineFailed)
        } else if shared.inject(shared.chances.give_back, "given back") {
            Some(FailureKind::GivenBack)
        } else if world.random_chance(shared.chances.script_fails) {
            Some(FailureKind::ScriptFailed)
        } else {
            None
        };
        if failure.is_none()
            && assignment.artifacts.is_some()
            && !self.upload_artifact(&lease, job, attempt).await
        {
            return self.end(&mut lease, job, attempt, Some(FailureKind::ArtifactFailed)).await;
        }
        self.end(&mut lease, job, attempt, failure).await;
    }

    /// Runs a discovery job: reports the pipeline files of a commit.
    async fn discover(&self, lease: &mut HeldJob, assignment: &Assignment, discovery: &Discovery) {
        let world = self.cluster.world();
        let (job, attempt) = (assignment.preparation.job_id, assignment.attempt);
        let duration_ms = world.random_below(4_000);
        world.sleep(duration_ms).await;
        let commit = match &assignment.preparation.source {
            Source::Git { commit, .. } => commit.as_str(),
            _ => "",
        };
        let files = self.cluster.git_server.files_at(commit, &discovery.only);
        let report = DiscoveryReport {
            details: CommitDetails::default(),
            job_id: job,
            lease: lease.token,
            commit: files.commit.clone(),
            files: files.files.clone(),
            changed: None,
            compared: ComparedPaths::new(),
            paths: None,
            skipped: false,
            incomplete: false,
        };
        self.cluster.auditor.files_reported(job, &files);
        loop {
            let reply = self.call(|server| {
                let report = report.clone();
                async move { server.discoveries.process_report(report).await }.boxed()
            });
            match reply.await {
                Ok(reply) => {
                    self.cluster.auditor.files_acknowledged(job, &files);
                    let failure = reply.failed.then_some(FailureKind::ScriptFailed);
                    return self.end(lease, job, attempt, failure).await;
                }
                Err(CallError::Rejected(Error::Conflict(_)) | CallError::NoReply)
                    if world.now() < lease.until =>
                {
                    world.sleep(400).await;
                }
                Err(_) => return,
            }
        }
    }

    async fn end(&self, lease: &mut HeldJob, job: JobId, attempt: u32, failure: Option<FailureKind>) {
        let code = usize::try_from(self.cluster.world().random_below(2)).unwrap_or(0);
        let ended = AttemptEnd {
            failure: failure.map(|kind| FailureReason::new(kind, "simulated")),
            exit_code: match failure {
                None => Some(0),
                Some(FailureKind::ScriptFailed) => Some(EXIT_CODES[code]),
                Some(_) => None,
            },
            ..AttemptEnd::default()
        };
        if let Next::Continue | Next::Cancel =
            self.send_report(lease, report(job, lease.token, None, Some(ended))).await
        {
            self.cluster.auditor.end_acknowledged(job, attempt, failure);
        }
    }

    /// Sends a report until it is acknowledged, rejected, or the lease has expired by the worker's clock.
    async fn send_report(&self, lease: &mut HeldJob, report: JobReport) -> Next {
        let world = self.cluster.world();
        let commits_before = self.cluster.auditor.commits();
        loop {
            let sent_at = world.now();
            let reply = self.call(|server| {
                let report = report.clone();
                async move { server.jobs.report(report).await }.boxed()
            });
            match reply.await {
                Ok(reply) => {
                    self.cluster.auditor.report_acknowledged(report.job_id, lease.token, commits_before);
                    lease.until = sent_at + to_millis(reply.lease_ttl_ms);
                    return if reply.cancel { Next::Cancel } else { Next::Continue };
                }
                Err(CallError::Rejected(Error::Conflict(_)) | CallError::NoReply)
                    if world.now() < lease.until =>
                {
                    world.sleep(400).await;
                }
                Err(_) => return Next::Stop,
            }
        }
    }

    /// Uploads an artifact; returns whether it was acknowledged.
    async fn upload_artifact(&self, lease: &HeldJob, job: JobId, attempt: u32) -> bool {
        let bytes = output::attempt_output(job, attempt, 1_000_000, 300);
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        let mut request = ArtifactUploadRequest {
            cache_key: None,
            image: None,
            sum: None,
            job_id: job,
            lease: lease.token,
            file_path: "out".into(),
            name: None,
            expose_as: None,
            files: Vec::new(),
            expire_in_s: None,
            complete: None,
        };
        for _ in 0..4 {
            let reply = self.call(|server| {
                let request = request.clone();
                async move { server.artifacts.upload(request).await }.boxed()
            });
            let Ok(upload) = reply.await else { continue };
            let (id, token) = (upload.artifact_id, lease.token);
            let put = self.call(|server| {
                let part = Ok(bytes::Bytes::from(bytes.clone()));
                let stream = stream::once(async move { part }).boxed();
                async move { server.artifacts.put(id, (job, token), None, stream).await }.boxed()
            });
            if put.await.is_err() {
                continue;
            }
            request.complete = Some(ArtifactComplete {
                artifact_id: id,
                size: bytes.len() as u64,
                sha256: sha256.clone(),
                encoding: ArtifactEncoding::Identity,
                unpacked_size: bytes.len() as u64,
            });
            let done = self.call(|server| {
                let request = request.clone();
                async move { server.artifacts.upload(request).await }.boxed()
            });
            if done.await.is_ok() {
                self.cluster.auditor.artifact_acknowledged(job, id, &sha256);
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
        content: LogContent::Zstd(STANDARD.encode(zstd::bulk::compress(&bytes, 1).unwrap_or_default())),
        marks: Vec::new(),
    });
    JobReport { job_id, lease, log, phase: None, steps: Vec::new(), end }
}
