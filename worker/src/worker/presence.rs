//! Reports to the server that the worker is there, and learns whether it must drain.

use crate::client::ApiClient;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::execution::assignment::Assignment;
use tidemill_core::{
    api::{WORKER_REPORT_INTERVAL_MS, WorkerDisk, WorkerJob, WorkerReport},
    ids::JobId,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the last report of a stopping worker may take.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of reported jobs.
const MAX_REPORTED_JOBS: usize = 256;
/// Maximum length of a reported name, in bytes.
const MAX_NAME_LEN: usize = 300;

/// The jobs that a worker runs.
#[derive(Debug, Clone, Default)]
pub struct RunningJobs {
    jobs: Arc<Mutex<BTreeMap<JobId, WorkerJob>>>,
    count: watch::Sender<usize>,
}

/// An entry of [`RunningJobs`], which is removed when this is dropped.
#[derive(Debug)]
pub struct RunningJob {
    jobs: RunningJobs,
    id: JobId,
}

impl RunningJobs {
    /// Adds a job.
    pub fn add(&self, assignment: &Assignment) -> RunningJob {
        let id = assignment.preparation.job_id;
        let job = WorkerJob {
            job_id: id,
            execution_id: assignment.preparation.execution_id,
            job_name: shortened(&assignment.job_name),
        };
        self.update(|jobs| drop(jobs.insert(id, job)));
        RunningJob { jobs: self.clone(), id }
    }

    /// Returns the number of jobs.
    pub fn count(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns once no job has run for `time`.
    pub async fn wait_until_idle_for(&self, time: Duration) {
        let mut count = self.count.subscribe();
        loop {
            // Neither fails, as `self` owns the sender.
            let _ = count.wait_for(|count| *count == 0).await;
            tokio::select! {
                _ = count.changed() => {}
                () = tokio::time::sleep(time) => return,
            }
        }
    }

    fn update(&self, update: impl FnOnce(&mut BTreeMap<JobId, WorkerJob>)) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        update(&mut jobs);
        self.count.send_replace(jobs.len());
    }

    fn list(&self) -> Vec<WorkerJob> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().take(MAX_REPORTED_JOBS).cloned().collect()
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.jobs.update(|jobs| drop(jobs.remove(&self.id)));
    }
}

/// Cuts a name off at a character that keeps it within the limit.
fn shortened(name: &str) -> String {
    let end = (0..=name.len().min(MAX_NAME_LEN)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name[..end].to_owned()
}

/// Reports of one worker.
#[derive(Debug)]
pub struct Presence {
    /// The server.
    pub api: ApiClient,
    /// What does not change between reports.
    pub report: WorkerReport,
    /// The directory of caches and working directories.
    pub directory: PathBuf,
    /// The jobs that run.
    pub running: RunningJobs,
    /// Cancelled when the worker takes no more jobs; this cancels it if the server asks for it.
    pub drain: CancellationToken,
}

impl Presence {
    /// Reports at once, then once a minute and when the worker begins to drain, until `ended`. A failed report is not repeated before
    /// the next one: jobs do not depend on it.
    pub async fn report_until(self, ended: CancellationToken) {
        let interval = Duration::from_millis(WORKER_REPORT_INTERVAL_MS);
        loop {
            let draining = self.drain.is_cancelled();
            match self.api.report_worker(&self.current(draining, false)).await {
                Ok(reply) if reply.drain && !draining => {
                    tracing::info!("the server asks this worker to drain: it takes no more jobs");
                    self.drain.cancel();
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "cannot report that the worker is there"),
            }
            tokio::select! {
                () = ended.cancelled() => break,
                () = self.drain.cancelled(), if !draining => {}
                () = tokio::time::sleep(interval) => {}
            }
        }
        let last = self.current(true, true);
        // Otherwise the server notices that reports are missing.
        let _ = tokio::time::timeout(LAST_REPORT_TIMEOUT, self.api.report_worker(&last)).await;
    }

    fn current(&self, draining: bool, stopped: bool) -> WorkerReport {
        WorkerReport {
            running: self.running.list(),
            disk: disk(&self.directory),
            draining,
            stopped,
            ..self.report.clone()
        }
    }
}

/// Returns the disk with this directory.
fn disk(directory: &Path) -> Option<WorkerDisk> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Some(WorkerDisk { size: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_NAME_LEN, Presence, RunningJob, RunningJobs, shortened};
    use crate::client::ApiClient;
    use axum::{Json, Router, routing::post};
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };
    use tidemill_core::{
        api::{WorkerInfo, WorkerJob, WorkerReport, WorkerReportReply, path},
        ids::{ExecutionId, JobId, WorkerId},
        pipeline::labels::Labels,
    };
    use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
    use uuid::Uuid;

    #[tokio::test]
    async fn worker_drains_when_the_server_asks_and_reports_its_end() {
        let reports: Arc<Mutex<Vec<WorkerReport>>> = Arc::default();
        let received = reports.clone();
        let reply = move |Json(report): Json<WorkerReport>| {
            received.lock().unwrap().push(report);
            async { Json(WorkerReportReply { drain: true }) }
        };
        let router = Router::new().route(path::WORKER_REPORT, post(reply));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _serving =
            AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await }));
        let (running, drain, ended) =
            (RunningJobs::default(), CancellationToken::new(), CancellationToken::new());
        let execution_id = ExecutionId(Uuid::nil());
        let id = JobId::of(execution_id, 0);
        let job = WorkerJob { job_id: id, execution_id, job_name: "unit".into() };
        running.update(|jobs| drop(jobs.insert(id, job)));
        let report = WorkerReport {
            worker: WorkerInfo { id: WorkerId(Uuid::nil()), name: "w".into() },
            labels: Labels::new(),
            version: "1".into(),
            slots: 1,
            disk: None,
            running: Vec::new(),
            draining: false,
            stopped: false,
        };
        let presence = Presence {
            api: ApiClient::new(&format!("http://{address}"), "token"),
            report,
            directory: "/".into(),
            running: running.clone(),
            drain: drain.clone(),
        };
        let reporting = tokio::spawn(presence.report_until(ended.clone()));
        drain.cancelled().await;
        while reports.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(RunningJob { jobs: running, id });
        ended.cancel();
        reporting.await.unwrap();
        let seen: Vec<_> = reports
            .lock()
            .unwrap()
            .iter()
            .inspect(|report| {
                assert!(report.disk.is_some_and(|disk| disk.size >= disk.free && disk.size > 0));
            })
            .map(|report| (report.running.len(), report.draining, report.stopped))
            .collect();
        assert_eq!(seen, [(1, false, false), (1, true, false), (0, true, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn worker_is_idle_when_no_job_has_run_for_the_time() {
        let running = RunningJobs::default();
        let execution_id = ExecutionId(Uuid::nil());
        let id = JobId::of(execution_id, 0);
        let job = WorkerJob { job_id: id, execution_id, job_name: "unit".into() };
        let begin = tokio::time::Instant::now();
        let idle = async {
            running.wait_until_idle_for(Duration::from_secs(10)).await;
            begin.elapsed().as_secs()
        };
        let work = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            running.update(|jobs| drop(jobs.insert(id, job)));
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(RunningJob { jobs: running.clone(), id });
        };
        assert_eq!(tokio::join!(idle, work).0, 119);
    }

    #[test]
    fn long_names_are_cut_off_between_characters() {
        assert_eq!(shortened("unit"), "unit");
        let long = shortened(&"ß".repeat(MAX_NAME_LEN));
        assert_eq!(long.len(), MAX_NAME_LEN);
        assert_eq!(shortened(&format!("a{}", "ß".repeat(MAX_NAME_LEN))).len(), MAX_NAME_LEN - 1);
    }
}
