//! HealthService: whether this server can take work and carries it on.

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
/// How long the outcome of a probe is believed.
const PROBE_TTL: Duration = Duration::from_secs(5);
/// The same of a probe that failed.
const FAILED_PROBE_TTL: Duration = Duration::from_millis(500);
/// The longest that a probe may take before the store is slow.
const SLOW_PROBE_TIME: Duration = Duration::from_secs(2);

/// The disk that the stores are on.
pub trait Disk: fmt::Debug + Send + Sync {
    /// How it is.
    fn state(&self) -> DiskState;
}

/// How a disk is.
#[derive(Debug, Clone, Copy)]
pub struct DiskState {
    /// Free bytes.
    pub free_bytes: u64,
    /// Free bytes below which no new work is taken.
    pub low_bytes: u64,
    /// Bytes that are kept for the records.
    pub reserve_bytes: u64,
    /// Whether they are in use.
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

/// What came of a probe.
#[derive(Debug, Clone, Copy)]
enum ProbeOutcome {
    Written { took: Duration },
    Slow,
    Failed,
}

/// How this server is.
#[derive(Debug, Clone)]
pub struct HealthService {
    context: Arc<Context>,
    disk: Option<Arc<dyn Disk>>,
    known: Arc<LastProbe>,
}

#[derive(Debug, Default)]
struct LastProbe {
    /// The last probe, and until when it is believed; held while one is under way, so that there is one at a time.
    probe: tokio::sync::Mutex<Option<(Instant, ProbeOutcome)>>,
    noted: Mutex<HealthNotes>,
}

#[derive(Debug, Default)]
struct HealthNotes {
    /// How long a sweep may stay away; `None`: none runs here.
    sweep_within: Option<Duration>,
    swept: Option<(Instant, Timestamp)>,
    records: Option<RecordsCheck>,
}

impl HealthService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, disk: None, known: Arc::default() }
    }

    /// The same, of a server whose stores are on this disk.
    #[must_use]
    pub fn on(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk: Some(disk), ..self }
    }

    fn noted(&self) -> MutexGuard<'_, HealthNotes> {
        self.known.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sweeps run here, so often that each of them should be followed by another `within` this time.
    pub fn expect_sweeps(&self, within: Duration) {
        let mut noted = self.noted();
        noted.sweep_within = Some(within);
        noted.swept = Some((Instant::now(), self.context.now()));
    }

    /// A sweep ended well.
    pub fn swept(&self) {
        self.noted().swept = Some((Instant::now(), self.context.now()));
    }

    /// Has the disk do what is due on it, on a thread that may block.
    pub async fn look_at_disk(&self) {
        let Some(disk) = self.disk.clone() else { return };
        // It only looks; should it fail, the next one does not.
        drop(tokio::task::spawn_blocking(move || disk.state()).await);
    }

    /// How far the check of the records is.
    pub fn note_records(&self, check: RecordsCheck) {
        self.noted().records = Some(check);
    }

    /// How the server is. The store is tried at most every few seconds, and waited for no longer than two.
    pub async fn look(&self) -> Health {
        let probe = self.probed().await;
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
        let noted = self.noted();
        if let Some((at, time)) = noted.swept {
            details.last_sweep_at = Some(time);
            if noted.sweep_within.is_some_and(|within| at.elapsed() > within) {
                problems.push(HealthProblem::SweepLate);
            }
        }
        details.records = noted.records;
        if noted.records == Some(RecordsCheck::Damaged) {
            problems.push(HealthProblem::RecordsDamaged);
        }
        let status = problems.iter().map(|problem| problem.status()).max().unwrap_or(HealthStatus::Ok);
        let version = env!("CARGO_PKG_VERSION").into();
        Health { status, version, problems, details: Some(details) }
    }

    async fn probed(&self) -> ProbeOutcome {
        let looking = async {
            let mut known = self.known.probe.lock().await;
            let begun = Instant::now();
            if let Some((until, probe)) = *known
                && begun < until
            {
                return probe;
            }
            let probe = match timeout(SLOW_PROBE_TIME, self.write()).await {
                Ok(Ok(())) => ProbeOutcome::Written { took: begun.elapsed() },
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the store cannot be written");
                    ProbeOutcome::Failed
                }
                Err(_) => ProbeOutcome::Slow,
            };
            let believed =
                if matches!(probe, ProbeOutcome::Written { .. }) { PROBE_TTL } else { FAILED_PROBE_TTL };
            *known = Some((Instant::now() + believed, probe));
            probe
        };
        // Somebody else's probe may be under way.
        timeout(SLOW_PROBE_TIME * 2, looking).await.unwrap_or(ProbeOutcome::Slow)
    }

    /// Writes a document and reads it. Another server may be faster, which shows as well that the store works.
    async fn write(&self) -> Result<()> {
        let documents = &self.context.stores.documents;
        let key = DocumentKey::new(DOCUMENT_KIND, DOCUMENT_NAME);
        let known = documents.get(&key).await?;
        let document = NewDocument { key, value: "{}".into(), due_at: None, expires_at: None };
        documents.put(document, known.map(|known| known.version)).await?;
        Ok(())
    }
}
