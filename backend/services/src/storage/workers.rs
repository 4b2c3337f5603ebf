//! The workers of a deployment: each reports that it is there, and learns whether to drain.

use crate::{
    context::{
        fleet::{FLEET_KIND, parse_memory},
        service_context::Context,
    },
    error::{Error, Result},
    ports::{Document, DocumentKey, NewDocument},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::api::{
    DrainWorkersReply, DrainWorkersRequest, FleetView, JobView, RemoveWorkersReply, RemoveWorkersRequest,
    WORKER_REPORT_INTERVAL_MS, WorkerList, WorkerReport, WorkerReportReply, WorkerView,
};
use tidemill_core::{
    execution::status::JobStatus,
    ids::WorkerId,
    pipeline::labels::{Labels, unserved},
    scheduler::FleetWorker,
    time::Timestamp,
};

const DOCUMENT_KIND: &str = "worker";
/// A worker that has missed two reports is not there.
const OFFLINE_AFTER_MS: u64 = WORKER_REPORT_INTERVAL_MS * 5 / 2;
/// Retention of a worker that does not report.
const RETENTION_MS: u64 = 86_400_000;
const MAX_ATTEMPTS: u32 = 20;
/// Maximum number of listed workers.
const MAX_WORKERS: usize = 1_000;
const BATCH_LEN: usize = 200;
/// Maximum length of a text that a worker reports, in bytes.
const MAX_TEXT_LEN: usize = 300;
const MAX_LABELS: usize = 100;
const MAX_SLOTS: u32 = 10_000;
/// Maximum number of reported jobs; a worker reports no more of them.
const MAX_RUNNING: usize = 256;

/// Service for the workers of a deployment.
#[derive(Debug, Clone)]
pub struct WorkerService {
    context: Arc<Context>,
}

/// A worker as it is stored, named by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct WorkerRecord {
    report: WorkerReport,
    first_seen_at: Timestamp,
    last_seen_at: Timestamp,
    /// Whether someone asked it to drain.
    drain: bool,
}

impl WorkerRecord {
    fn view(self, now: Timestamp) -> WorkerView {
        let WorkerReport { worker, labels, version, slots, running, draining, disk, .. } = self.report;
        WorkerView {
            id: worker.id,
            name: worker.name,
            labels,
            version,
            slots,
            disk,
            running,
            draining: draining || self.drain,
            first_seen_at: self.first_seen_at,
            last_seen_at: self.last_seen_at,
            online: now.since_ms(self.last_seen_at) < OFFLINE_AFTER_MS,
        }
    }
}

fn read(document: &Document) -> Result<WorkerRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a worker", error))
}

/// Returns the view of the machines of all pools, if there are pools.
fn fleet_view(documents: &[Document]) -> Result<Option<FleetView>> {
    if documents.is_empty() {
        return Ok(None);
    }
    let mut view = FleetView { machines: 0, unstarted: Vec::new() };
    for document in documents {
        let memory = parse_memory(&document.value)?;
        let machines = u32::try_from(memory.seen.len()).unwrap_or(u32::MAX);
        view.machines = view.machines.saturating_add(machines);
        view.unstarted.extend(memory.unstarted);
    }
    view.unstarted.sort_by(|a, b| (a.removed_at, &a.machine).cmp(&(b.removed_at, &b.machine)));
    Ok(Some(view))
}

/// Returns a validation error if a report has more than is stored.
fn check(report: &WorkerReport) -> Result<()> {
    let jobs = report.running.iter().map(|job| &job.job_name);
    let labels = report.labels.iter().flat_map(|(name, value)| [name, value]);
    let mut texts = [&report.worker.name, &report.version].into_iter().chain(labels).chain(jobs);
    if texts.any(|text| text.len() > MAX_TEXT_LEN) {
        return Err(Error::Invalid(format!("a text of a worker's report has at most {MAX_TEXT_LEN} bytes")));
    }
    let is_too_large =
        report.running.len() > MAX_RUNNING || report.labels.len() > MAX_LABELS || report.slots > MAX_SLOTS;
    if is_too_large {
        return Err(Error::Invalid(format!(
            "a worker reports at most {MAX_RUNNING} jobs, {MAX_LABELS} labels and {MAX_SLOTS} slots"
        )));
    }
    Ok(())
}

impl WorkerService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Records a worker's report.
    pub async fn report(&self, report: WorkerReport) -> Result<WorkerReportReply> {
        check(&report)?;
        let documents = &self.context.stores.documents;
        let key = DocumentKey::new(DOCUMENT_KIND, report.worker.id.to_string());
        for _ in 0..MAX_ATTEMPTS {
            let now = self.context.now();
            let document = documents.get(&key).await?;
            let version = document.as_ref().map(|document| document.version);
            let known = document.as_ref().map(read).transpose()?;
            let drain = known.as_ref().is_some_and(|known| known.drain);
            // Any worker's token reports for every worker: one that was asked to drain is kept, so that a wrong report of its stop
            // does not withdraw that.
            if report.stopped && !drain {
                if version.is_none() || documents.delete(&key, version).await? {
                    return Ok(WorkerReportReply { drain: true });
                }
                continue;
            }
            let record = WorkerRecord {
                report: report.clone(),
                first_seen_at: known.map_or(now, |known| known.first_seen_at),
                last_seen_at: now,
                drain,
            };
            if self.put(&record, version).await? {
                return Ok(WorkerReportReply { drain: drain || report.stopped });
            }
        }
        Err(Error::Conflict("the worker's record changes too fast; report again".into()))
    }

    async fn put(&self, record: &WorkerRecord, if_version: Option<u64>) -> Result<bool> {
        let value =
            serde_json::to_string(record).map_err(|error| Error::storage("writing a worker", error))?;
        let retention = i64::try_from(RETENTION_MS).unwrap_or(i64::MAX);
        let new = NewDocument {
            key: DocumentKey::new(DOCUMENT_KIND, record.report.worker.id.to_string()),
            value,
            due_at: None,
            expires_at: Some(record.last_seen_at.plus_ms(retention)),
        };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Returns the workers that reported within a day and did not stop, by name.
    pub async fn list(&self) -> Result<WorkerList> {
        let now = self.context.now();
        let mut workers: Vec<WorkerView> =
            self.records().await?.into_iter().map(|(record, _)| record.view(now)).collect();
        workers.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let pools = self.context.stores.documents.all(FLEET_KIND, "").await?;
        Ok(WorkerList { workers, fleet: fleet_view(&pools)? })
    }

    /// Sets in queued jobs which of the labels that they require no worker has.
    pub(crate) async fn add_unserved_labels(&self, jobs: &mut [JobView]) -> Result<()> {
        let waits = |job: &JobView| job.status == JobStatus::Queued && !job.runs_on.is_empty();
        if !jobs.iter().any(waits) {
            return Ok(());
        }
        let workers = self.list().await?.workers;
        let online: Vec<&Labels> = workers
            .iter()
            .filter(|worker| worker.online && !worker.draining)
            .map(|worker| &worker.labels)
            .collect();
        for job in jobs.iter_mut().filter(|job| waits(job)) {
            job.unserved_labels = unserved(&job.runs_on, online.iter().copied());
        }
        Ok(())
    }

    /// Removes the records of workers that are not there, by name or id.
    pub async fn remove(&self, request: &RemoveWorkersRequest) -> Result<RemoveWorkersReply> {
        let now = self.context.now();
        let mut workers = Vec::new();
        let mut is_online = false;
        for (record, version) in self.records().await? {
            let worker = &record.report.worker;
            if worker.name != request.worker && worker.id.to_string() != request.worker {
                continue;
            }
            let key = DocumentKey::new(DOCUMENT_KIND, worker.id.to_string());
            let view = record.view(now);
            // One that reports meanwhile is there again.
            if view.online || !self.context.stores.documents.delete(&key, Some(version)).await? {
                is_online = true;
            } else {
                workers.push(view);
            }
        }
        let name = &request.worker;
        if workers.is_empty() && is_online {
            return Err(Error::Conflict(format!(
                "the worker `{name}` reports that it is there; drain it first: tidemill workers drain {name}"
            )));
        }
        if workers.is_empty() {
            return Err(Error::NotFound(format!(
                "there is no worker `{name}`; `tidemill workers` lists those that reported within a day"
            )));
        }
        Ok(RemoveWorkersReply { workers })
    }

    /// Returns the workers as the scaling of their machines sees them, with those that drained and stopped.
    pub(super) async fn of_fleet(&self) -> Result<Vec<FleetWorker>> {
        let view = |(record, _): (WorkerRecord, u64)| FleetWorker {
            id: record.report.worker.id,
            machine: record.report.worker.name,
            is_busy: !record.report.running.is_empty(),
            is_draining: record.drain || record.report.draining,
            has_stopped: record.report.stopped,
            last_seen_at: record.last_seen_at,
        };
        Ok(self.all_records().await?.into_iter().map(view).collect())
    }

    /// Asks a worker to drain, if it is there.
    pub(super) async fn drain_one(&self, id: WorkerId) -> Result<()> {
        match self.drain(&DrainWorkersRequest { worker: id.to_string() }).await {
            Err(Error::NotFound(_)) => Ok(()),
            drained => drained.map(drop),
        }
    }

    /// Asks workers to drain, by name or id.
    pub async fn drain(&self, request: &DrainWorkersRequest) -> Result<DrainWorkersReply> {
        let now = self.context.now();
        let is_meant = |record: &WorkerRecord| {
            let worker = &record.report.worker;
            worker.name == request.worker || worker.id.to_string() == request.worker
        };
        let mut workers = Vec::new();
        for (record, version) in self.records().await?.into_iter().filter(|(record, _)| is_meant(record)) {
            let mut latest = Some((record, version));
            while let Some((record, version)) = latest.take() {
                let record = WorkerRecord { drain: true, ..record };
                if self.put(&record, Some(version)).await? {
                    workers.push(record.view(now));
                    break;
                }
                // It reported meanwhile, which it does once a minute, or stopped.
                let key = DocumentKey::new(DOCUMENT_KIND, record.report.worker.id.to_string());
                let document = self.context.stores.documents.get(&key).await?;
                let changed =
                    document.map(|document| read(&document).map(|record| (record, document.version)));
                latest = changed.transpose()?.filter(|(record, _)| !record.report.stopped);
            }
        }
        if workers.is_empty() {
            let name = &request.worker;
            return Err(Error::NotFound(format!(
                "there is no worker `{name}`; `tidemill workers` lists those that reported within a day"
            )));
        }
        Ok(DrainWorkersReply { workers })
    }

    /// Returns the workers that reported within a day and did not stop.
    async fn records(&self) -> Result<Vec<(WorkerRecord, u64)>> {
        let mut records = self.all_records().await?;
        records.retain(|(record, _)| !record.report.stopped);
        Ok(records)
    }

    /// Returns the workers that reported within a day, with those that stopped after they were asked to drain. Removes those that did
    /// not report: the store may keep them for longer.
    async fn all_records(&self) -> Result<Vec<(WorkerRecord, u64)>> {
        let now = self.context.now();
        let documents = &self.context.stores.documents;
        let (mut records, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = documents.list(DOCUMENT_KIND, "", after.as_deref(), BATCH_LEN).await?;
            for document in &page {
                let record = read(document)?;
                if now.since_ms(record.last_seen_at) >= RETENTION_MS {
                    documents.delete(&document.key, Some(document.version)).await?;
                } else {
                    records.push((record, document.version));
                }
            }
            after = page.last().map(|last| last.key.name.clone());
            if !more || records.len() >= MAX_WORKERS {
                records.truncate(MAX_WORKERS);
                return Ok(records);
            }
        }
    }
}
