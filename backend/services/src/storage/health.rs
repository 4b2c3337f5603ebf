//! Health of the server: whether it accepts work and makes progress.

use crate::{
    context::service_context::Context,
    error::Result,
    ports::{DocumentKey, NewDocument},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tidemill_core::{
    api::{Health, HealthDetails, HealthProblem, HealthStatus, RecordsCheck},
    time::Timestamp,
};
use tokio::time::{Instant, timeout};

/// Kind and name of the document that a probe writes.
const DOCUMENT_KIND: &str = "health";
const DOCUMENT_NAME: &str = "probe";
/// How long the outcome of a probe is cached.
const PROBE_TTL: Duration = Duration::from_secs(5);
/// How long the outcome of a failed probe is cached.
const FAILED_PROBE_TTL: Duration = Duration::from_millis(500);
/// Maximum time of a probe; beyond it, the store counts as slow.
const SLOW_PROBE_TIME: Duration = Duration::from_secs(2);

/// The disk that holds the stores.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Returns the state of the disk.
    fn state(&self) -> DiskState;
}

/// State of a disk.
#[derive(Debug, Clone, Copy)]
pub struct DiskState {
    /// Free bytes.
    pub free_bytes: u64,
    /// Free bytes below which the server accepts no new work.
    pub low_bytes: u64,
    /// Bytes reserved for the records.
    pub reserve_bytes: u64,
    /// Whether the reserve is in use.
    pub is_reserve_spent: bool,
}

impl DiskState {
    fn problem(self) -> Option<HealthProblem> {
        if self.is_reserve_spent || self.free_bytes < self.low_bytes {
            return Some(HealthProblem::DiskFull);
        }
        (self.free_bytes < self.low_bytes.saturating_mul(2)).then_some(HealthProblem::DiskLow)
    }
}

/// Outcome of a probe.
#[derive(Debug, Clone, Copy)]
enum ProbeOutcome {
    Written { took: Duration },
    Slow,
    Failed,
}

/// Service for the health of the server.
#[derive(Debug, Clone)]
pub struct HealthService {
    context: Arc<Context>,
    disk: Option<Arc<dyn Disk>>,
    state: Arc<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    /// The last probe, with the time until which it is cached. Locked during a probe, so that only one runs at a time.
    probe: tokio::sync::Mutex<Option<(Instant, ProbeOutcome)>>,
    notes: Mutex<HealthNotes>,
}

#[derive(Debug, Default)]
struct HealthNotes {
    /// Maximum time between two sweeps; `None` if this process runs none.
    sweep_within: Option<Duration>,
    swept: Option<(Instant, Timestamp)>,
    records: Option<RecordsCheck>,
}

impl HealthService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, disk: None, state: Arc::default() }
    }

    /// Adds the state of `disk`, which holds the stores.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk: Some(disk), ..self }
    }

    fn notes(&self) -> MutexGuard<'_, HealthNotes> {
        self.state.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares that this process runs sweeps, each `within` this time after the last.
    pub fn expect_sweeps(&self, within: Duration) {
        let mut notes = self.notes();
        notes.sweep_within = Some(within);
        notes.swept = Some((Instant::now(), self.context.now()));
    }

    /// Records a successful sweep.
    pub fn record_sweep(&self) {
        self.notes().swept = Some((Instant::now(), self.context.now()));
    }

    /// Checks the disk, on a thread that may block, so that it adjusts its reserve.
    pub async fn check_disk(&self) {
        let Some(disk) = self.disk.clone() else { return };
        // A failed check has no consequence; the next one follows.
        drop(tokio::task::spawn_blocking(move || disk.state()).await);
    }

    /// Records the state of the check of the records.
    pub fn record_records_check(&self, check: RecordsCheck) {
        self.notes().records = Some(check);
    }

    /// Returns the health of the server. It probes the store at most every few seconds, and waits for it for a limited time.
    pub async fn check(&self) -> Health {
        let probe = self.cached_probe().await;
        let disk = match self.disk.clone() {
            Some(disk) => tokio::task::spawn_blocking(move || disk.state()).await.ok(),
            None => None,
        };
        let mut details = HealthDetails::default();
        let mut problems = Vec::new();
        match probe {
            ProbeOutcome::Written { took } => details.store_ms = u64::try_from(took.as_millis()).ok(),
            ProbeOutcome::Slow => problems.push(HealthProblem::StoreSlow),
            ProbeOutcome::Failed => problems.push(HealthProblem::StoreFailed),
        }
        if let Some(disk) = disk {
            problems.extend(disk.problem());
            details.disk_free_bytes = Some(disk.free_bytes);
            details.disk_low_bytes = Some(disk.low_bytes);
            details.disk_reserve_bytes = Some(disk.reserve_bytes);
            details.disk_reserve_spent = Some(disk.is_reserve_spent);
        }
        let notes = self.notes();
        if let Some((at, time)) = notes.swept {
            details.last_sweep_at = Some(time);
            if notes.sweep_within.is_some_and(|within| at.elapsed() > within) {
                problems.push(HealthProblem::SweepLate);
            }
        }
        details.records = notes.records;
        if notes.records == Some(RecordsCheck::Damaged) {
            problems.push(HealthProblem::RecordsDamaged);
        }
        let status = problems.iter().map(|problem| problem.status()).max().unwrap_or(HealthStatus::Ok);
        let version = env!("CARGO_PKG_VERSION").into();
        Health { status, version, problems, details: Some(details) }
    }

    async fn cached_probe(&self) -> ProbeOutcome {
        let probing = async {
            let mut cached = self.state.probe.lock().await;
            let started = Instant::now();
            if let Some((until, probe)) = *cached
                && started < until
            {
                return probe;
            }
            let probe = match timeout(SLOW_PROBE_TIME, self.write()).await {
                Ok(Ok(())) => ProbeOutcome::Written { took: started.elapsed() },
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot write to the store");
                    ProbeOutcome::Failed
                }
                Err(_) => ProbeOutcome::Slow,
            };
            let ttl =
                if matches!(probe, ProbeOutcome::Written { .. }) { PROBE_TTL } else { FAILED_PROBE_TTL };
            *cached = Some((Instant::now() + ttl, probe));
            probe
        };
        // A probe of another request may be running.
        timeout(SLOW_PROBE_TIME * 2, probing).await.unwrap_or(ProbeOutcome::Slow)
    }

    /// Reads a document and writes it. A conflict with another server also shows that the store works.
    async fn write(&self) -> Result<()> {
        let documents = &self.context.stores.documents;
        let key = DocumentKey::new(DOCUMENT_KIND, DOCUMENT_NAME);
        let existing = documents.get(&key).await?;
        let document = NewDocument { key, value: "{}".into(), due_at: None, expires_at: None };
        documents.put(document, existing.map(|existing| existing.version)).await?;
        Ok(())
    }
}
