//! The metrics of a worker. None has the name of a job, a pipeline or a repository.

use super::{backend::Backend, presence::RunningJobs};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::{path::PathBuf, time::Duration};
use tokio_util::sync::CancellationToken;

/// Upper bounds of durations of jobs, in seconds.
const JOB_SECONDS: [f64; 13] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

/// What a worker counts.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    registry: Registry,
    jobs: IntCounterVec,
    job_seconds: Histogram,
    claim_failures: IntCounter,
}

/// What is read of a worker when its metrics are.
#[derive(Debug)]
pub struct WorkerReadings {
    /// The jobs that run.
    pub running: RunningJobs,
    /// Number of slots.
    pub slots: usize,
    /// Cancelled when the worker takes no more jobs.
    pub drain: CancellationToken,
    /// What runs them.
    pub backend: Backend,
    /// The directory of caches and working directories.
    pub directory: PathBuf,
}

/// Registers a collector of this program. The names are constants, and a test creates all.
#[expect(clippy::expect_used, reason = "the names are constants, and differ")]
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("the name and the labels of a metric are valid");
    registry.register(Box::new(collector.clone())).expect("each metric has a name of its own");
    collector
}

impl WorkerMetrics {
    /// Creates the metrics of a worker.
    #[expect(clippy::expect_used, reason = "the names are constants, and differ")]
    pub fn new(readings: WorkerReadings) -> Self {
        let registry = Registry::new();
        let seconds =
            HistogramOpts::new("tidemill_worker_job_seconds", "Time from the claim of a job to its end here")
                .buckets(JOB_SECONDS.to_vec());
        let jobs = Opts::new(
            "tidemill_worker_jobs_total",
            "Jobs that ended here: acknowledged, lost to another worker, or given back unstarted",
        );
        let metrics = Self {
            jobs: registered(&registry, IntCounterVec::new(jobs, &["outcome"])),
            job_seconds: registered(&registry, Histogram::with_opts(seconds)),
            claim_failures: registered(
                &registry,
                IntCounter::new(
                    "tidemill_worker_claim_failures_total",
                    "Requests for a job that failed: the server or the queue did not answer",
                ),
            ),
            registry: registry.clone(),
        };
        let gauges = WorkerGauges::new(readings);
        registry.register(Box::new(gauges)).expect("each metric has a name of its own");
        for outcome in [JobOutcome::Acknowledged, JobOutcome::Lost, JobOutcome::GivenBack] {
            metrics.jobs.with_label_values(&[outcome.as_str()]);
        }
        metrics
    }

    /// Returns the metrics for Prometheus.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Counts a job that ended here after this time.
    pub(super) fn job_ended(&self, outcome: JobOutcome, took: Duration) {
        self.jobs.with_label_values(&[outcome.as_str()]).inc();
        self.job_seconds.observe(took.as_secs_f64());
    }

    /// Counts a job that is given back before it started.
    pub(super) fn job_given_back(&self) {
        self.jobs.with_label_values(&[JobOutcome::GivenBack.as_str()]).inc();
    }

    /// Counts a failed request for a job.
    pub(super) fn claim_failed(&self) {
        self.claim_failures.inc();
    }
}

/// How a job ended here.
#[derive(Debug, Clone, Copy)]
pub(super) enum JobOutcome {
    Acknowledged,
    Lost,
    GivenBack,
}

impl JobOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Lost => "lost",
            Self::GivenBack => "given_back",
        }
    }
}

/// Gauges that are set when they are read.
struct WorkerGauges {
    readings: WorkerReadings,
    slots: IntGauge,
    running: IntGauge,
    draining: IntGauge,
    engine_down: IntGauge,
    free: IntGauge,
}

impl WorkerGauges {
    #[expect(clippy::expect_used, reason = "the names are constants")]
    fn new(readings: WorkerReadings) -> Self {
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("the name is valid");
        Self {
            slots: gauge("tidemill_worker_slots", "Maximum number of concurrent jobs"),
            running: gauge("tidemill_worker_running_jobs", "Jobs that run"),
            draining: gauge("tidemill_worker_draining", "Whether the worker takes no more jobs: 1 or 0"),
            engine_down: gauge(
                "tidemill_worker_engine_down",
                "Whether the last call of the container engine got no answer: 1 or 0",
            ),
            free: gauge("tidemill_worker_disk_free_bytes", "Free bytes on the disk of caches and workspaces"),
            readings,
        }
    }

    fn all(&self) -> [&IntGauge; 5] {
        [&self.slots, &self.running, &self.draining, &self.engine_down, &self.free]
    }
}

impl Collector for WorkerGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let readings = &self.readings;
        self.slots.set(number(readings.slots));
        self.running.set(number(readings.running.count()));
        self.draining.set(i64::from(readings.drain.is_cancelled()));
        self.engine_down.set(i64::from(readings.backend.may_be_down()));
        if let Ok(disk) = rustix::fs::statvfs(&readings.directory) {
            let bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
            self.free.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
