//! The slots of a worker: each asks for a job, runs it, and asks again.

use super::setup::Worker;
use crate::{
    artifact::{ArtifactCache, ArtifactTransfer},
    client::{ApiClient, BackOff},
    engine::ContainerPool,
    error::WorkerError,
    job::{AdmittedJob, Executor, JobExecutor},
    queue::admission::{Admission, Entry},
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
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// A slot that got no job for so long lets go of what is kept for one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// A source that does not hold its answer must not be asked in a tight loop.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The first pause before an engine that went away is looked for again.
const INITIAL_ENGINE_BACKOFF: Duration = Duration::from_millis(250);
/// The longest pause after a source or an engine that failed.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A job that asks for more than a worker ever has is given back for a larger one until it had so many attempts, a
/// little later each time; then no worker is large enough, and it fails.
const MAX_ATTEMPTS_FOR_ROOM: u32 = 10;
const MAX_DECLINE_DELAY: Duration = Duration::from_secs(30);
/// While a job waits for room, the source is only looked at, and so often.
const NON_BLOCKING_POLL_INTERVAL: Duration = Duration::from_secs(3);
/// How long a job waits for room before it is given back for another worker; four times as long each time that it comes
/// again, as then nobody else had room either.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(30);
/// How many jobs are remembered that were given back for want of room.
const MAX_REMEMBERED_JOBS: usize = 1_000;

/// How a worker is stopped.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    /// No more jobs are taken.
    pub drain: CancellationToken,
    /// Running jobs are given back.
    pub now: CancellationToken,
}

impl StopSignal {
    /// Stops everything.
    pub fn all(&self) {
        self.drain.cancel();
        self.now.cancel();
    }
}

/// The slots of one worker.
#[derive(Debug, Clone)]
pub struct Slots {
    ask: JobRequest,
    count: usize,
    source: Arc<dyn JobSource>,
    /// One permit for each question that may be asked at the same time.
    asking: Arc<Semaphore>,
    executor: JobExecutor,
    admission: Arc<Admission>,
    pool: Arc<ContainerPool>,
    alone: bool,
    stop: StopSignal,
    /// How often each job had to wait for room here.
    waited: Arc<Mutex<HashMap<JobId, u32>>>,
    /// Jobs that are being given back beside the slots.
    leaving: TaskTracker,
}

impl Slots {
    /// The slots of `worker`, none of which asks yet.
    pub fn new(
        worker: &Worker,
        source: Arc<dyn JobSource>,
        api: ApiClient,
        alone: bool,
        stop: StopSignal,
    ) -> Self {
        // A server on this machine has them at hand: a copy would only fill the disk.
        let far = !api.is_on_this_machine();
        let cache = far.then(|| ArtifactCache::new(worker.store.cache().join("artifacts")));
        let artifacts = ArtifactTransfer { api: api.clone(), engine: worker.engine.clone(), cache };
        let count = worker.config.slots.max(1);
        let info = WorkerInfo { id: worker.id, name: worker.config.name.clone() };
        let (engine, pool) = (worker.engine.clone(), worker.pool.clone());
        Self {
            ask: JobRequest {
                worker: info,
                labels: worker.config.labels.clone(),
                lookahead: u32::try_from(count).unwrap_or(u32::MAX),
                glance: false,
            },
            count,
            asking: Arc::new(Semaphore::new(source.asks_at_once().min(count))),
            source,
            executor: JobExecutor { api, engine, pool: pool.clone(), artifacts, alone },
            admission: Admission::new(worker.capacity, worker.most_per_job),
            pool,
            alone,
            stop,
            waited: Arc::default(),
            leaving: TaskTracker::new(),
        }
    }

    /// Works until it is stopped, or the source refuses this worker; no job is left in its hands then.
    pub async fn serve(self) -> Result<(), WorkerError> {
        let mut slots = JoinSet::new();
        for _ in 0..self.count {
            slots.spawn(self.clone().slot());
        }
        let mut result = Ok(());
        while let Some(ended) = slots.join_next().await {
            if let Ok(Err(error)) = ended {
                self.stop.all();
                result = Err(error);
            }
        }
        self.leaving.close();
        // Those that would wait for another worker wait no longer.
        self.stop.now.cancel();
        self.leaving.wait().await;
        result
    }

    async fn slot(self) -> Result<(), WorkerError> {
        while let Some(offer) = self.next().await? {
            let span = job_span(&offer.assignment);
            self.work_on(offer).instrument(span).await;
        }
        Ok(())
    }

    /// The next job; `None` once the worker is to take no more.
    async fn next(&self) -> Result<Option<JobOffer>, WorkerError> {
        let drain = &self.stop.drain;
        let mut failures = 0_u32;
        let idle_since = Instant::now();
        loop {
            self.wait_for_engine().await;
            let permit = tokio::select! {
                () = drain.cancelled() => return Ok(None),
                permit = self.asking.acquire() => permit,
            };
            let mut ask = self.ask.clone();
            if !self.alone {
                // What would wait here is for workers with room, whose requests wait at the source; what asks for
                // nothing may still come in.
                tokio::select! {
                    () = drain.cancelled() => return Ok(None),
                    () = self.admission.nobody_waits() => {}
                    () = tokio::time::sleep(NON_BLOCKING_POLL_INTERVAL) => ask.glance = true,
                }
            }
            match self.source.next(&ask, drain).await {
                Ok(Some(offer)) => return Ok(Some(offer)),
                Ok(None) => {
                    failures = 0;
                    if idle_since.elapsed() > IDLE_TIMEOUT {
                        self.pool.discard_idle();
                    }
                    self.pause(MIN_POLL_INTERVAL).await;
                }
                Err(JobSourceError::Refused(words)) => return Err(WorkerError::Refused(words)),
                Err(JobSourceError::Unusable(words)) => return Err(WorkerError::Queue(words)),
                Err(JobSourceError::Passing(error)) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "no job could be asked for");
                    self.pause(Duration::from_millis(100 << failures.min(6)).min(MAX_PAUSE)).await;
                }
            }
            drop(permit);
        }
    }

    /// Waits for an engine that went away: a job that is taken without one only fails, and the next one after it. Who is
    /// alone does not wait, so that its jobs end, and say why.
    async fn wait_for_engine(&self) {
        let engine = &self.executor.engine;
        let mut pauses = BackOff::new(INITIAL_ENGINE_BACKOFF, MAX_PAUSE);
        while !self.alone
            && !self.stop.drain.is_cancelled()
            && engine.may_be_down()
            && !engine.recover().await
        {
            tracing::warn!("the container engine does not answer: no job is taken until it does");
            self.pause(pauses.pause()).await;
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.drain.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    async fn work_on(&self, offer: JobOffer) {
        let JobOffer { assignment, upcoming, receipt } = offer;
        let job = assignment.preparation.job_id;
        if self.stop.drain.is_cancelled() {
            // It came while the worker was told to stop: another has all the time for it.
            let words = "the worker was told to stop before it began, and gave the job back";
            let reason = FailureReason::new(FailureKind::GivenBack, words);
            return self.hand_back(&assignment, receipt, reason, Duration::ZERO).await;
        }
        // The values of a matrix are in it, and nothing keeps a secret out of these.
        let secrets = &assignment.extras.secrets;
        let is_told = !secrets.iter().any(|secret| assignment.job_name.contains(secret.value.trim()));
        tracing::info!(name = is_told.then_some(assignment.job_name.as_str()), "took a job");
        let entry = match self.admission.ask(&assignment.preparation.resources) {
            Entry::Never(words) => return self.hand_on(*assignment, receipt, &words),
            entry => entry,
        };
        let waits = matches!(entry, Entry::Waits(_)) && !self.alone;
        let patience = waits.then(|| self.patience(job));
        let pool = self.pool.clone();
        let admitted = AdmittedJob { entry, patience };
        let running =
            self.executor.run(*assignment, admitted, self.stop.now.clone(), move || pool.prepare(&upcoming));
        let ending = tokio::select! {
            ending = running => ending,
            never = self.source.hold(&receipt) => match never {},
        };
        tracing::info!(?ending, "done with a job");
        self.source.settle(receipt).await;
    }

    /// How long `job`, which must wait once more, waits this time.
    fn patience(&self, job: JobId) -> Duration {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.len() >= MAX_REMEMBERED_JOBS {
            waited.clear();
        }
        let times = waited.entry(job).or_default();
        *times += 1;
        patience(*times)
    }

    /// Gives a job that is too large for this worker back for another one, beside the slots; a little later each time,
    /// so that a larger worker that is busy has a chance to come free.
    fn hand_on(&self, assignment: Assignment, receipt: Receipt, shortage: &str) {
        let name = &self.ask.worker.name;
        let attempt = assignment.attempt;
        let hopeless = self.alone || attempt >= MAX_ATTEMPTS_FOR_ROOM;
        let (kind, next) = if hopeless {
            (FailureKind::Undeliverable, "ask for less in its `resources`, or run a larger worker")
        } else {
            (FailureKind::GivenBack, "given back for a larger worker")
        };
        let words = format!("worker `{name}` is too small: {shortage}; {next}");
        tracing::warn!(reason = %words, "a job does not fit");
        let reason = FailureReason::new(kind, words);
        let after = if hopeless { Duration::ZERO } else { kept(attempt) };
        let slots = self.clone();
        let handing = async move { slots.hand_back(&assignment, receipt, reason, after).await };
        self.leaving.spawn(handing.in_current_span());
    }

    async fn hand_back(
        &self,
        assignment: &Assignment,
        receipt: Receipt,
        reason: FailureReason,
        after: Duration,
    ) {
        tokio::select! {
            _ = self.executor.decline(assignment, reason, after, &self.stop.now) => {}
            never = self.source.hold(&receipt) => match never {},
        }
        self.source.settle(receipt).await;
    }
}

/// How long a worker that is too small keeps a job before it gives it back, at this attempt: nothing at first, then ever
/// longer.
fn kept(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(1 << (more - 2).min(6)).min(MAX_DECLINE_DELAY),
    }
}

/// How long a job waits for room that has to for this many times.
fn patience(times: u32) -> Duration {
    ADMISSION_TIMEOUT.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1)))
}

/// What logs say of a job. An error's own level, so that no filter takes the fields from errors.
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

/// The trace's id in a `traceparent` (`00-<trace>-<span>-<flags>`); all of it if it is in another form.
fn trace_id(traceparent: &str) -> &str {
    let id = traceparent.split('-').nth(1);
    id.filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).unwrap_or(traceparent)
}

#[cfg(test)]
mod tests {
    use super::{MAX_ATTEMPTS_FOR_ROOM, kept, patience, trace_id};

    #[test]
    fn too_large_job_is_given_back_with_backoff() {
        let times: Vec<u64> = (1..MAX_ATTEMPTS_FOR_ROOM).map(|attempt| kept(attempt).as_secs()).collect();
        assert_eq!(times, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn oversized_job_is_given_back_with_backoff() {
        let times: Vec<u64> = (1..5).map(|times| patience(times).as_secs()).collect();
        assert_eq!(times, [30, 120, 480, 1920]);
        assert!(patience(u32::MAX) > patience(4));
    }

    #[test]
    fn trace_is_named_by_its_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")), id);
        assert_eq!(trace_id("something-else"), "something-else");
    }
}
