//! The slots of a worker, each of which runs one job after another.

use super::{
    backend::{Backend, WorkerExecutor},
    metrics::{JobOutcome, WorkerMetrics},
    presence::RunningJobs,
    setup::{EndCondition, Worker},
};
use crate::{
    artifact::ArtifactCache,
    client::{ApiClient, BackOff},
    error::WorkerError,
    job::{AdmittedJob, Executor, reporter::ReportOutcome},
    queue::admission::{Admission, AdmissionDecision},
    queue::job_source::{JobOffer, JobRequest, JobSource, JobSourceError, Receipt},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tidemill_core::execution::{
    assignment::Assignment,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::{api::WorkerInfo, ids::JobId};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::Instrument;

/// A slot that gets no job for this time discards its standby container and network.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a request without a job, as a source that does not hold requests must not be polled in a tight loop.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The first pause before an engine that is down is checked again.
const INITIAL_ENGINE_BACK_OFF: Duration = Duration::from_millis(250);
/// The longest pause after a failure of the source or the engine.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A job that requests more than this worker's total is given back for a larger worker, each time after a longer delay. From
/// this attempt on, it fails instead, as no worker seems large enough.
const MAX_CAPACITY_ATTEMPTS: u32 = 10;
const MAX_DECLINE_DELAY: Duration = Duration::from_secs(30);
/// Time between two requests without waiting while a job waits for capacity.
const NON_BLOCKING_POLL_INTERVAL: Duration = Duration::from_secs(3);
/// How long a job waits for capacity before it is given back for another worker. Quadrupled each time that it returns, as no
/// other worker had capacity either.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of remembered jobs that waited for capacity.
const MAX_REMEMBERED_JOBS: usize = 1_000;

/// Stops a worker.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    /// Cancelled when the worker takes no more jobs.
    pub drain: CancellationToken,
    /// Cancelled when running jobs are given back.
    pub now: CancellationToken,
}

impl StopSignal {
    /// Stops taking jobs, and gives running jobs back.
    pub fn all(&self) {
        self.drain.cancel();
        self.now.cancel();
    }
}

/// The slots of one worker.
#[derive(Debug, Clone)]
pub struct Slots {
    request: JobRequest,
    count: usize,
    source: Arc<dyn JobSource>,
    /// One permit for each concurrent request to the source.
    request_permits: Arc<Semaphore>,
    executor: WorkerExecutor,
    backend: Backend,
    admission: Arc<Admission>,
    is_only_worker: bool,
    stop: StopSignal,
    /// How often each job had to wait for capacity.
    wait_counts: Arc<Mutex<HashMap<JobId, u32>>>,
    running: RunningJobs,
    metrics: WorkerMetrics,
    end: EndCondition,
    /// Tasks that give jobs back in the background.
    give_backs: TaskTracker,
}

impl Slots {
    /// Creates the slots of `worker`.
    pub fn new(
        worker: &Worker,
        source: Arc<dyn JobSource>,
        api: ApiClient,
        is_only_worker: bool,
        stop: StopSignal,
        (running, metrics): (RunningJobs, WorkerMetrics),
    ) -> Self {
        // The artifacts of a server on this machine are local already, so that a copy would only fill the disk.
        let is_remote = !api.is_on_this_machine();
        let cache = is_remote.then(|| ArtifactCache::new(worker.store.cache().join("artifacts")));
        let count = worker.config.slots.max(1);
        let info = WorkerInfo { id: worker.id, name: worker.config.name.clone() };
        Self {
            request: JobRequest {
                worker: info,
                labels: worker.config.labels.clone(),
                // A worker that ends after its job has no use for containers of the next ones.
                lookahead: if worker.config.end.after_one_job {
                    0
                } else {
                    u32::try_from(count).unwrap_or(u32::MAX)
                },
                slot_price: worker.config.slot_price,
                no_wait: false,
            },
            count,
            request_permits: Arc::new(Semaphore::new(source.max_concurrent_requests().min(count))),
            source,
            executor: worker.backend.executor(api, cache, worker.debugger.clone(), is_only_worker),
            backend: worker.backend.clone(),
            admission: Admission::new(worker.capacity, worker.max_per_job),
            is_only_worker,
            stop,
            wait_counts: Arc::default(),
            running,
            metrics,
            end: worker.config.end,
            give_backs: TaskTracker::new(),
        }
    }

    /// Runs jobs until the worker is stopped or the source rejects it. All jobs have ended or are given back then.
    pub async fn serve(self) -> Result<(), WorkerError> {
        let _idle_watch = self
            .end
            .max_idle
            .map(|time| AbortOnDropHandle::new(tokio::spawn(self.clone().drain_when_idle(time))));
        let mut slots = JoinSet::new();
        for _ in 0..self.count {
            slots.spawn(self.clone().run_slot());
        }
        let mut result = Ok(());
        while let Some(ended) = slots.join_next().await {
            if let Ok(Err(error)) = ended {
                self.stop.all();
                result = Err(error);
            }
        }
        self.give_backs.close();
        // Ends the delays before jobs are given back.
        self.stop.now.cancel();
        self.give_backs.wait().await;
        result
    }

    async fn run_slot(self) -> Result<(), WorkerError> {
        while let Some(offer) = self.next().await? {
            let span = job_span(&offer.assignment);
            // Boxed, as the future is large and each slot has one.
            let has_run = Box::pin(self.run_job(offer).instrument(span)).await;
            if has_run && self.end.after_one_job {
                self.stop.drain.cancel();
            }
        }
        Ok(())
    }

    /// Drains the worker once it has run no job for `time`.
    async fn drain_when_idle(self, time: Duration) {
        self.running.wait_until_idle_for(time).await;
        tracing::info!("no job for {} s: the worker ends", time.as_secs());
        self.stop.drain.cancel();
    }

    /// Waits for the next job; `None` once the worker takes no more jobs.
    async fn next(&self) -> Result<Option<JobOffer>, WorkerError> {
        let drain = &self.stop.drain;
        let mut failures = 0_u32;
        let idle_since = Instant::now();
        loop {
            self.wait_for_engine().await;
            let permit = tokio::select! {
                () = drain.cancelled() => return Ok(None),
                permit = self.request_permits.acquire() => permit,
            };
            let mut request = self.request.clone();
            if !self.is_only_worker {
                // While a job waits here, other jobs are for workers with capacity, whose requests wait at the source. Jobs
                // that request no resources may still be taken.
                tokio::select! {
                    () = drain.cancelled() => return Ok(None),
                    () = self.admission.wait_until_idle() => {}
                    () = tokio::time::sleep(NON_BLOCKING_POLL_INTERVAL) => request.no_wait = true,
                }
            }
            match self.source.next(&request, drain).await {
                Ok(Some(offer)) => return Ok(Some(offer)),
                Ok(None) => {
                    failures = 0;
                    if idle_since.elapsed() > IDLE_TIMEOUT {
                        self.backend.discard_idle();
                    }
                    self.pause(MIN_POLL_INTERVAL).await;
                }
                Err(JobSourceError::Rejected(message)) => return Err(WorkerError::Rejected(message)),
                Err(JobSourceError::Unusable(message)) => return Err(WorkerError::Queue(message)),
                Err(JobSourceError::Transient(error)) => {
                    failures += 1;
                    self.metrics.claim_failed();
                    tracing::warn!(%error, failures, "requesting a job failed");
                    self.pause(Duration::from_millis(100 << failures.min(6)).min(MAX_PAUSE)).await;
                }
            }
            drop(permit);
        }
    }

    /// Waits while the engine is down, as jobs would only fail. The only worker does not wait, so that its jobs fail with the
    /// reason.
    async fn wait_for_engine(&self) {
        let engine = &self.backend;
        let mut pauses = BackOff::new(INITIAL_ENGINE_BACK_OFF, MAX_PAUSE);
        while !self.is_only_worker
            && !self.stop.drain.is_cancelled()
            && engine.may_be_down()
            && !engine.recover().await
        {
            tracing::warn!("the container engine does not answer: no jobs are taken until it does");
            self.pause(pauses.next_delay()).await;
        }
    }

    /// Sleeps, but not beyond the start of a drain.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.drain.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Runs a job, or gives it back. Returns whether it ran.
    async fn run_job(&self, offer: JobOffer) -> bool {
        let claimed = Instant::now();
        let JobOffer { mut assignment, mut upcoming, receipt } = offer;
        if let Some(credential) = assignment.extras.credential.take().map(Arc::new) {
            // The next jobs of the execution have the same sources, for which the worker prepares containers.
            let execution = assignment.preparation.execution_id;
            let upcoming = upcoming.iter_mut().filter(|next| next.execution_id == execution);
            for preparation in upcoming.chain([&mut assignment.preparation]) {
                preparation.credential = Some(credential.clone());
            }
        }
        let job = assignment.preparation.job_id;
        if self.stop.drain.is_cancelled() {
            // The job arrived while the worker began to drain, so another worker runs it.
            let message = "the worker began to stop before the job started, and gave it back";
            let reason = FailureReason::new(FailureKind::GivenBack, message);
            self.give_back(&assignment, receipt, reason, Duration::ZERO).await;
            return false;
        }
        let _running = self.running.add(&assignment);
        // The name contains the values of a matrix, which may contain secrets.
        let mut secrets = assignment.extras.secrets.iter().map(|secret| secret.value.trim());
        // An empty value is in every name.
        let is_loggable = !secrets.any(|secret| !secret.is_empty() && assignment.job_name.contains(secret));
        tracing::info!(name = is_loggable.then_some(assignment.job_name.as_str()), "claimed a job");
        let resources = self.backend.limits().with_defaults(assignment.preparation.resources);
        let decision = match self.admission.request(&resources) {
            AdmissionDecision::Impossible(shortage) => {
                self.decline_too_large(*assignment, receipt, &shortage);
                return false;
            }
            decision => decision,
        };
        let may_time_out = matches!(decision, AdmissionDecision::Queued(_)) && !self.is_only_worker;
        let max_wait = may_time_out.then(|| self.next_wait(job));
        let backend = self.backend.clone();
        let admitted = AdmittedJob { decision, max_wait };
        let running = self
            .executor
            .run(*assignment, admitted, self.stop.now.clone(), move || backend.prepare(&upcoming));
        let outcome = tokio::select! {
            outcome = running => outcome,
            never = self.source.hold(&receipt) => match never {},
        };
        tracing::info!(?outcome, "finished a job");
        let ended = match outcome {
            ReportOutcome::Acknowledged => JobOutcome::Acknowledged,
            ReportOutcome::LeaseLost => JobOutcome::Lost,
        };
        self.metrics.job_ended(ended, claimed.elapsed());
        self.source.settle(receipt).await;
        true
    }

    /// Returns how long `job` waits for capacity, given how often it waited here before.
    fn next_wait(&self, job: JobId) -> Duration {
        let mut wait_counts = self.wait_counts.lock().unwrap_or_else(PoisonError::into_inner);
        if wait_counts.len() >= MAX_REMEMBERED_JOBS {
            wait_counts.clear();
        }
        let count = wait_counts.entry(job).or_default();
        *count += 1;
        max_wait(*count)
    }

    /// Gives a job that is too large for this worker back, in the background. The delay grows with each attempt, so that a
    /// larger worker that is busy can become free.
    fn decline_too_large(&self, assignment: Assignment, receipt: Receipt, shortage: &str) {
        let name = &self.request.worker.name;
        let attempt = assignment.attempt;
        let is_final = self.is_only_worker || attempt >= MAX_CAPACITY_ATTEMPTS;
        let (kind, advice) = if is_final {
            (FailureKind::Undeliverable, "reduce its `resources`, or run a larger worker")
        } else {
            (FailureKind::GivenBack, "given back for a larger worker")
        };
        let message = format!("worker `{name}` is too small: {shortage}; {advice}");
        tracing::warn!(reason = %message, "a job exceeds the worker's capacity");
        let reason = FailureReason::new(kind, message);
        let delay = if is_final { Duration::ZERO } else { decline_delay(attempt) };
        let slots = self.clone();
        let giving_back = async move { slots.give_back(&assignment, receipt, reason, delay).await };
        self.give_backs.spawn(giving_back.in_current_span());
    }

    /// Ends the attempt with `reason` after `delay`.
    async fn give_back(
        &self,
        assignment: &Assignment,
        receipt: Receipt,
        reason: FailureReason,
        delay: Duration,
    ) {
        self.metrics.job_given_back();
        tokio::select! {
            _ = self.executor.decline(assignment, reason, delay, &self.stop.now) => {}
            never = self.source.hold(&receipt) => match never {},
        }
        self.source.settle(receipt).await;
    }
}

/// Returns the delay before a job that is too large is given back: none at first, then doubling with each attempt.
fn decline_delay(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        later => Duration::from_secs(1 << (later - 2).min(6)).min(MAX_DECLINE_DELAY),
    }
}

/// Returns how long a job waits for capacity at its `count`-th wait.
fn max_wait(count: u32) -> Duration {
    ADMISSION_TIMEOUT.saturating_mul(4_u32.saturating_pow(count.saturating_sub(1)))
}

/// Returns the span with the log fields of a job. Its level is error, so that no filter removes the fields from errors.
fn job_span(assignment: &Assignment) -> tracing::Span {
    let Assignment { preparation, attempt, trace, .. } = assignment;
    let span = tracing::error_span!(
        "job",
        job = %preparation.job_id,
        execution = %preparation.execution_id,
        attempt,
        trace = tracing::field::Empty
    );
    if let Some(trace) = trace {
        span.record("trace", trace_id(trace));
    }
    span
}

/// Returns the trace id of a `traceparent` (`00-<trace>-<span>-<flags>`), or all of it if it has another form.
fn trace_id(traceparent: &str) -> &str {
    let id = traceparent.split('-').nth(1);
    id.filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).unwrap_or(traceparent)
}

#[cfg(test)]
mod tests {
    use super::{MAX_CAPACITY_ATTEMPTS, decline_delay, max_wait, trace_id};

    #[test]
    fn too_large_job_is_given_back_with_back_off() {
        let times: Vec<u64> =
            (1..MAX_CAPACITY_ATTEMPTS).map(|attempt| decline_delay(attempt).as_secs()).collect();
        assert_eq!(times, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn wait_for_capacity_grows_with_each_wait() {
        let times: Vec<u64> = (1..5).map(|count| max_wait(count).as_secs()).collect();
        assert_eq!(times, [30, 120, 480, 1920]);
        assert!(max_wait(u32::MAX) > max_wait(4));
    }

    #[test]
    fn trace_id_is_read_from_traceparent() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")), id);
        assert_eq!(trace_id("something-else"), "something-else");
    }
}
