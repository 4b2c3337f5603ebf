//! Reports of one attempt: log bytes, steps and heartbeat in one call, until the end is acknowledged.

use crate::{
    client::{ApiClient, ApiError},
    dispatch::Event,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tidemill_core::{
    api::{AttemptEnd, JobReport, LogBytes, StepView},
    assignment::LeaseGrant,
    ids::JobId,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::Instant,
};

/// Log bytes that one report carries at most, before compression.
const MOST_PER_REPORT: usize = 4 << 20;
/// Log bytes that wait here at most; beyond, the container waits.
const MOST_WAITING: usize = 12 << 20;
/// From here on a report is sent without a pause.
const PLENTY: usize = 1 << 20;
/// Pause before the first report of output, and between later ones.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Waiting {
    log: Vec<u8>,
    offset: u64,
    phase: Option<String>,
    steps: BTreeMap<u32, StepView>,
    end: Option<AttemptEnd>,
    over: bool,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
    room: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what is to be reported on one attempt, and sends it.
#[derive(Debug, Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
}

impl Reporter {
    /// A reporter, and its task; a cancel and a lost lease are sent to `events`.
    pub fn start(
        api: ApiClient,
        job_id: JobId,
        lease: LeaseGrant,
        events: mpsc::UnboundedSender<Event>,
    ) -> (Self, JoinHandle<()>) {
        let shared = Arc::new(Shared { waiting: Mutex::default(), news: Notify::new(), room: Notify::new() });
        let task = tokio::spawn(send_all(shared.clone(), api, job_id, lease, events));
        (Self { shared }, task)
    }

    /// Adds log bytes; waits while too many are waiting to be sent.
    pub async fn log(&self, bytes: &[u8]) {
        for part in bytes.chunks(PLENTY) {
            loop {
                let room = self.shared.room.notified();
                {
                    let mut waiting = self.shared.lock();
                    if waiting.over {
                        return;
                    }
                    if waiting.log.len() + part.len() <= MOST_WAITING {
                        waiting.log.extend_from_slice(part);
                        break;
                    }
                }
                room.await;
            }
            self.shared.news.notify_one();
        }
    }

    /// Says what the worker is doing.
    pub fn phase(&self, phase: &str) {
        self.shared.lock().phase = Some(phase.to_owned());
        self.shared.news.notify_one();
    }

    /// Says where a command stands.
    pub fn step(&self, step: StepView) {
        self.shared.lock().steps.insert(step.index, step);
        self.shared.news.notify_one();
    }

    /// Says how the attempt ended; its task is over when the server has it.
    pub fn end(&self, end: AttemptEnd) {
        self.shared.lock().end = Some(end);
        self.shared.news.notify_one();
    }
}

async fn send_all(
    shared: Arc<Shared>,
    api: ApiClient,
    job_id: JobId,
    lease: LeaseGrant,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut ttl = Duration::from_millis(lease.ttl_ms);
    let mut renewed = Instant::now();
    let mut last = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut failures = 0_u32;
    loop {
        wait_until_due(&shared, last, pause, ttl / 3).await;
        let (report, length) = next_report(&shared, job_id, &lease);
        let is_end = report.end.is_some();
        loop {
            match api.report(&report).await {
                Ok(reply) => {
                    failures = 0;
                    renewed = Instant::now();
                    ttl = Duration::from_millis(reply.lease_ttl_ms.max(1000));
                    if reply.cancel {
                        let _ = events.send(Event::CancelSeen);
                    }
                    break;
                }
                Err(error) => {
                    let valid = renewed.elapsed() < ttl;
                    if error.is_lease_lost() || !valid || !error.is_passing() {
                        tracing::warn!(job = %job_id, %error, "the attempt cannot be reported any more");
                        over(&shared);
                        let _ = events.send(Event::LeaseLost);
                        return;
                    }
                    failures += 1;
                    log_retry(&error, failures);
                    tokio::time::sleep(back_off(failures, job_id)).await;
                }
            }
        }
        {
            let mut waiting = shared.lock();
            waiting.log.drain(..length);
            waiting.offset += length as u64;
        }
        shared.room.notify_waiters();
        if is_end {
            over(&shared);
            return;
        }
        last = Instant::now();
        if length > 0 {
            pause = PAUSE;
        }
    }
}

fn log_retry(error: &ApiError, failures: u32) {
    tracing::debug!(%error, failures, "the report is sent again");
}

fn over(shared: &Shared) {
    shared.lock().over = true;
    shared.room.notify_waiters();
}

/// Grows from 100 ms to 2 s; the job's id spreads the workers of one server.
fn back_off(failures: u32, job_id: JobId) -> Duration {
    let base = 100_u64 << failures.min(5);
    let spread = u64::from(job_id.0.as_bytes()[15]) * base / 512;
    Duration::from_millis((base / 2 + spread).min(2000))
}

async fn wait_until_due(shared: &Shared, last: Instant, pause: Duration, heartbeat: Duration) {
    loop {
        let news = shared.news.notified();
        let (now, soon) = {
            let waiting = shared.lock();
            let now = waiting.end.is_some() || waiting.log.len() >= PLENTY;
            (now, !waiting.log.is_empty() || waiting.phase.is_some() || !waiting.steps.is_empty())
        };
        let due = last + if soon { pause.min(heartbeat) } else { heartbeat };
        if now || Instant::now() >= due {
            return;
        }
        let _ = tokio::time::timeout_at(due, news).await;
    }
}

fn next_report(shared: &Shared, job_id: JobId, lease: &LeaseGrant) -> (JobReport, usize) {
    let mut waiting = shared.lock();
    let length = waiting.log.len().min(MOST_PER_REPORT);
    let bytes = waiting.log[..length].to_vec();
    let offset = waiting.offset;
    let phase = waiting.phase.take();
    let steps = std::mem::take(&mut waiting.steps).into_values().collect();
    // The end goes with the last bytes.
    let end = if length == waiting.log.len() { waiting.end.take() } else { None };
    drop(waiting);
    let log = (length > 0).then(|| LogBytes {
        offset,
        length: u32::try_from(length).unwrap_or(u32::MAX),
        zstd_base64: STANDARD.encode(zstd::bulk::compress(&bytes, 1).unwrap_or_default()),
    });
    (JobReport { job_id, lease: lease.token, log, phase, steps, end }, length)
}
