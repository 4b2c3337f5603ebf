//! Reporter of one attempt: sends log bytes, steps and heartbeats in one call, until the end is acknowledged.

mod schedule;

use self::schedule::{News, Schedule};
use crate::{
    client::{ApiClient, ApiError},
    job::dispatcher::Event,
    log::{
        marks::{self, LogMarks},
        mask::{MaskStream, SecretMask},
    },
    policy::Limits,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::{AttemptEnd, JobReport, LogBytes, LogContent, StepView},
    execution::{assignment::LeaseGrant, debug::ShellRequest},
    ids::JobId,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tracing::Instrument;

/// Maximum length in bytes of the message of a failure, which is part of every view of its execution.
const MAX_MESSAGE_LEN: usize = 8 << 10;
/// Maximum log bytes in one report, before compression.
const MAX_REPORT_LOG: usize = 4 << 20;
/// Maximum unsent log bytes; beyond that, the container has to wait.
const MAX_PENDING_LOG: usize = 12 << 20;
/// Maximum bytes of shells in the log of an attempt.
const MAX_SHELL_LOG: usize = 8 << 20;
/// Their last line if there are more.
const SHELL_LOG_ENDED: &[u8] =
    b"[shell] 8 MiB of shells were recorded, which is the limit of a job; the rest is not recorded";
/// Unsent log bytes from which a report is sent immediately.
const FLUSH_SIZE: usize = 1 << 20;
/// Timeout of a report that is sent after its lease expired, as this process was suspended: the server may not have expired the
/// lease yet.
const LATE_REPORT_TIMEOUT: Duration = Duration::from_secs(4);
/// A wait that ends this much too late shows that this process was suspended meanwhile.
const SUSPENSION_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Pending {
    log: Vec<u8>,
    /// When the first unsent log bytes were added.
    log_since: Option<Instant>,
    /// When the first unsent phase or step was added.
    status_since: Option<Instant>,
    offset: u64,
    phase: Option<String>,
    steps: BTreeMap<u32, StepView>,
    end: Option<AttemptEnd>,
    closed: bool,
    marks: LogMarks,
}

impl Pending {
    /// Returns what the next report may have.
    fn news(&self) -> News {
        News {
            is_urgent: self.end.is_some() || self.log.len() >= FLUSH_SIZE,
            log_since: self.log_since,
            status_since: self.status_since,
        }
    }
}

#[derive(Debug)]
struct ReporterState {
    /// Masks everything that is reported.
    mask: SecretMask,
    stream: tokio::sync::Mutex<MaskStream>,
    /// Whether the last line of the log has no end yet.
    is_in_line: AtomicBool,
    pending: Mutex<Pending>,
    changed: Notify,
    buffer_drained: Notify,
    /// Log bytes that may still be added; `None` if the log was truncated.
    remaining: Mutex<Option<u64>>,
    /// Bytes of shells that may still be added, apart from the job's own; `None` after the last line about it.
    shell_remaining: Mutex<Option<usize>>,
    /// The last line of a truncated log.
    log_limit_message: String,
    /// The shell that a user asks for.
    shell: watch::Sender<Option<ShellRequest>>,
}

impl ReporterState {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request_shell(&self, shell: Option<ShellRequest>) {
        self.shell.send_if_modified(|known| std::mem::replace(known, shell) != shell);
    }

    /// Returns how many bytes may still be added; `None` if the log was truncated.
    fn remaining(&self) -> Option<u64> {
        *self.remaining.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the reports of an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The server has acknowledged the attempt's end.
    Acknowledged,
    /// The attempt is no longer this worker's, or the server is unreachable.
    LeaseLost,
}

/// Reports on one attempt. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reporter {
    shared: Arc<ReporterState>,
}

impl Reporter {
    /// Starts a reporter. Returns it with its task, which returns the outcome. A cancel and a lost lease are sent to
    /// `events`. A log that exceeds `limits` is truncated. Everything that is reported is masked with `mask`.
    pub fn start(
        api: ApiClient,
        job_id: JobId,
        lease: LeaseGrant,
        (mask, limits): (SecretMask, &Limits),
        events: mpsc::UnboundedSender<Event>,
    ) -> (Self, JoinHandle<ReportOutcome>) {
        let shared = Arc::new(ReporterState {
            mask,
            stream: tokio::sync::Mutex::default(),
            is_in_line: AtomicBool::default(),
            pending: Mutex::default(),
            changed: Notify::new(),
            buffer_drained: Notify::new(),
            remaining: Mutex::new(Some(limits.log_bytes)),
            shell_remaining: Mutex::new(Some(MAX_SHELL_LOG)),
            log_limit_message: limits.log_limit_message(),
            shell: watch::Sender::default(),
        });
        let task = tokio::spawn(send_all(shared.clone(), api, job_id, lease, events).in_current_span());
        (Self { shared }, task)
    }

    /// Returns the shell that a user of the server asks for, as replies to reports say.
    pub fn shell_requests(&self) -> watch::Receiver<Option<ShellRequest>> {
        self.shared.shell.subscribe()
    }

    /// Records the shell that a user asks for when the attempt starts.
    pub fn request_shell(&self, shell: Option<ShellRequest>) {
        self.shared.request_shell(shell);
    }

    /// Adds log bytes. Waits while too many are unsent.
    pub async fn log(&self, bytes: &[u8]) {
        if self.shared.remaining().is_none() {
            return;
        }
        // Locked until the bytes are added, so that bytes of several callers stay in order.
        let mut stream = self.shared.stream.lock().await;
        let masked = self.shared.mask.push(&mut stream, bytes);
        if let Some(last) = bytes.last() {
            self.shared.is_in_line.store(*last != b'\n', Ordering::Relaxed);
        }
        self.add_within_limit(&masked).await;
    }

    /// Adds a line of the worker, also after output that ends within a line.
    pub async fn log_line(&self, text: &str) {
        let separator = if self.shared.is_in_line.load(Ordering::Relaxed) { "\n" } else { "" };
        self.log(format!("{separator}{text}\n").as_bytes()).await;
    }

    /// Adds a masked line of a shell. It is no part of the job's own output: it does not count there, and output of the job that is
    /// held back, as it may be the beginning of a secret, continues after it.
    pub async fn shell_line(&self, masked: &[u8]) {
        let line = {
            let mut remaining = self.shared.shell_remaining.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(allowed) = *remaining else { return };
            *remaining = allowed.checked_sub(masked.len() + 1);
            if remaining.is_some() { masked } else { SHELL_LOG_ENDED }
        };
        // Locked until the bytes are added, like output of the job.
        let _stream = self.shared.stream.lock().await;
        let is_in_line = self.shared.is_in_line.swap(false, Ordering::Relaxed);
        let separator: &[u8] = if is_in_line { b"\n" } else { b"" };
        self.add(&[separator, line, b"\n"].concat()).await;
    }

    /// Adds bytes up to the log's limit. The first byte beyond it ends the log with a message.
    async fn add_within_limit(&self, bytes: &[u8]) {
        let (fitting, is_truncated) = {
            let mut remaining = self.shared.remaining.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(allowed) = *remaining else { return };
            let rest = allowed.checked_sub(bytes.len() as u64);
            *remaining = rest;
            (usize::try_from(allowed).unwrap_or(usize::MAX).min(bytes.len()), rest.is_none())
        };
        self.add(&bytes[..fitting]).await;
        if is_truncated {
            self.add(format!("\n{}\n", self.shared.log_limit_message).as_bytes()).await;
        }
    }

    async fn add(&self, bytes: &[u8]) {
        for part in bytes.chunks(FLUSH_SIZE) {
            loop {
                let drained = self.shared.buffer_drained.notified();
                {
                    let mut pending = self.shared.lock();
                    if pending.closed {
                        return;
                    }
                    if pending.log.len() + part.len() <= MAX_PENDING_LOG {
                        let offset = pending.offset + pending.log.len() as u64;
                        pending.marks.add(offset, part, Instant::now(), marks::now());
                        pending.log.extend_from_slice(part);
                        pending.log_since.get_or_insert_with(Instant::now);
                        break;
                    }
                }
                drained.await;
            }
            self.shared.changed.notify_one();
        }
    }

    /// Masks the secrets in `text`. Unless it is complete, omits an end that may be the beginning of a secret.
    pub fn masked(&self, text: &str, is_complete: bool) -> String {
        let mask = &self.shared.mask;
        if is_complete {
            return mask.mask_text(text);
        }
        String::from_utf8_lossy(&mask.push(&mut MaskStream::default(), text.as_bytes())).into_owned()
    }

    /// Returns the attempt's mask.
    pub fn mask(&self) -> &SecretMask {
        &self.shared.mask
    }

    /// Reports the current phase of the worker.
    pub fn phase(&self, phase: &str) {
        let mut pending = self.shared.lock();
        pending.phase = Some(self.shared.mask.mask_text(phase));
        pending.status_since.get_or_insert_with(Instant::now);
        drop(pending);
        self.shared.changed.notify_one();
    }

    /// Reports the state of a step.
    pub fn step(&self, step: StepView) {
        let mut pending = self.shared.lock();
        pending.steps.insert(step.index, step);
        pending.status_since.get_or_insert_with(Instant::now);
        drop(pending);
        self.shared.changed.notify_one();
    }

    /// Reports the start of a step and shows its commands, on a new line if the log `is_in_line`. Returns what was reported.
    pub async fn begin_step(&self, index: u32, is_in_line: bool, commands: &str) -> StepView {
        let mask = &self.shared.mask;
        let mut stream = self.shared.stream.lock().await;
        let line_end: &[u8] = if is_in_line { b"\n" } else { b"" };
        let mut before = mask.push(&mut stream, line_end);
        // The place of the commands is known only if nothing before them is held back.
        before.extend(mask.finish(&mut stream));
        self.add_within_limit(&before).await;
        // The commands end with a line end.
        self.shared.is_in_line.store(false, Ordering::Relaxed);
        let log_offset = self.shared.remaining().filter(|bytes| *bytes > 0).map(|_| {
            let pending = self.shared.lock();
            pending.offset + pending.log.len() as u64
        });
        let step = StepView { started_at: Some(marks::now()), log_offset, ..StepView::running(index) };
        self.step(step.clone());
        let masked = mask.push(&mut stream, commands.as_bytes());
        self.add_within_limit(&masked).await;
        step
    }

    /// Reports the end of the attempt. The reporter's task ends when the server has acknowledged it.
    pub async fn end(&self, mut end: AttemptEnd) {
        let rest = self.shared.mask.finish(&mut *self.shared.stream.lock().await);
        self.add_within_limit(&rest).await;
        if let Some(reason) = &mut end.failure {
            reason.message = self.shared.mask.mask_text(&reason.message);
            if reason.message.len() > MAX_MESSAGE_LEN {
                let is_end = |end: &usize| reason.message.is_char_boundary(*end);
                let end = (0..=MAX_MESSAGE_LEN).rev().find(is_end).unwrap_or_default();
                reason.message.truncate(end);
                reason.message.push_str("...");
            }
        }
        self.shared.lock().end = Some(end);
        self.shared.changed.notify_one();
    }
}

/// Sends reports until the end is acknowledged or the lease is lost.
async fn send_all(
    shared: Arc<ReporterState>,
    api: ApiClient,
    job_id: JobId,
    lease: LeaseGrant,
    events: mpsc::UnboundedSender<Event>,
) -> ReportOutcome {
    let mut ttl = Duration::from_millis(lease.ttl_ms);
    let mut renewed = Instant::now();
    let mut schedule = Schedule::new(Instant::now(), &lease);
    let mut failures = 0_u32;
    loop {
        wait_until_due(&shared, &schedule).await;
        let (report, length) = next_report(&shared, job_id, &lease, &schedule);
        let is_end = report.end.is_some();
        loop {
            let sent = Instant::now();
            let lease_expiry = renewed + ttl;
            let deadline = if sent < lease_expiry { lease_expiry } else { sent + LATE_REPORT_TIMEOUT };
            // The server may have been suspended, too, and have kept the lease: one more report is worth a try.
            let was_suspended = || Instant::now() > deadline + SUSPENSION_DELAY;
            let Ok(reply) = tokio::time::timeout_at(deadline, api.report(&report)).await else {
                if was_suspended() {
                    continue;
                }
                tracing::warn!(job = %job_id, "no report was acknowledged before the lease expired");
                close(&shared);
                let _ = events.send(Event::LeaseLost);
                return ReportOutcome::LeaseLost;
            };
            match reply {
                Ok(reply) => {
                    failures = 0;
                    // The server extends the lease when it receives the report, possibly long before its reply arrives.
                    renewed = sent;
                    let ttl_ms = reply.lease_ttl_ms.max(1000);
                    ttl = Duration::from_millis(ttl_ms);
                    schedule = schedule.with_pace(ttl_ms, reply.report_interval_ms);
                    shared.request_shell(reply.shell);
                    if reply.cancel {
                        let _ = events.send(Event::Canceled);
                    }
                    break;
                }
                Err(error) => {
                    let is_transient = error.is_transient() && !error.is_lease_lost();
                    if is_transient && was_suspended() {
                        continue;
                    }
                    if is_transient {
                        failures += 1;
                        log_retry(&error, failures);
                        // No pause lasts beyond the lease, as another worker may run the job afterwards.
                        let retry_at = Instant::now() + back_off(failures, job_id);
                        tokio::time::sleep_until(retry_at.min(lease_expiry)).await;
                    }
                    if !is_transient || renewed.elapsed() >= ttl {
                        tracing::warn!(job = %job_id, %error, "the attempt can no longer be reported");
                        close(&shared);
                        let _ = events.send(Event::LeaseLost);
                        return ReportOutcome::LeaseLost;
                    }
                }
            }
        }
        {
            let mut pending = shared.lock();
            pending.log.drain(..length);
            pending.offset += length as u64;
            if length > 0 {
                pending.log_since = (!pending.log.is_empty()).then(Instant::now);
            }
        }
        shared.buffer_drained.notify_waiters();
        if is_end {
            close(&shared);
            return ReportOutcome::Acknowledged;
        }
        schedule.last = Instant::now();
        schedule.sent_log |= length > 0;
        if !report.is_heartbeat() {
            schedule.last_news = schedule.last;
        }
    }
}

fn log_retry(error: &ApiError, failures: u32) {
    tracing::debug!(%error, failures, "retrying the report");
}

/// Discards further output.
fn close(shared: &ReporterState) {
    shared.lock().closed = true;
    shared.buffer_drained.notify_waiters();
}

/// Returns a pause that doubles from 100 ms up to 2 s, with jitter from the job's id.
fn back_off(failures: u32, job_id: JobId) -> Duration {
    let base = 100_u64 << failures.min(5);
    let jitter = u64::from(job_id.0.as_bytes()[15]) * base / 512;
    Duration::from_millis((base / 2 + jitter).min(2000))
}

async fn wait_until_due(shared: &ReporterState, schedule: &Schedule) {
    loop {
        let changed = shared.changed.notified();
        let news = shared.lock().news();
        let Some(due) = schedule.due(news) else { return };
        if Instant::now() >= due {
            return;
        }
        let _ = tokio::time::timeout_at(due, changed).await;
    }
}

/// Takes the next report from the pending data. Returns it with the number of its log bytes.
fn next_report(
    shared: &ReporterState,
    job_id: JobId,
    lease: &LeaseGrant,
    schedule: &Schedule,
) -> (JobReport, usize) {
    let mut pending = shared.lock();
    if schedule.holds_back(pending.news(), Instant::now()) {
        let heartbeat =
            JobReport { job_id, lease: lease.token, log: None, phase: None, steps: Vec::new(), end: None };
        return (heartbeat, 0);
    }
    let length = pending.log.len().min(MAX_REPORT_LOG);
    let bytes = pending.log[..length].to_vec();
    let offset = pending.offset;
    let phase = pending.phase.take();
    pending.status_since = None;
    let steps = std::mem::take(&mut pending.steps).into_values().collect();
    // The end is sent with the last bytes.
    let end = if length == pending.log.len() { pending.end.take() } else { None };
    let marks = pending.marks.take(end.is_some(), Instant::now());
    drop(pending);
    let log = (length > 0 || !marks.is_empty()).then(|| LogBytes {
        offset,
        length: u32::try_from(length).unwrap_or(u32::MAX),
        content: LogContent::Zstd(STANDARD.encode(zstd::bulk::compress(&bytes, 1).unwrap_or_default())),
        marks,
    });
    (JobReport { job_id, lease: lease.token, log, phase, steps, end }, length)
}

#[cfg(test)]
mod tests;
