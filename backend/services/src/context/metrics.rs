//! The metrics of the services. Labels have few values, all known in advance: none has the name of a repository, a pipeline, a job or
//! a person, so that their number is bounded, and who may read them learns no names.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector, proto::MetricFamily,
};
use serde::Serialize;
use std::time::Duration;
use tidemill_core::{
    execution::{
        facts::Trigger,
        failure::is_dead_letter,
        status::{ExecutionStatus, JobStatus},
    },
    records::{ExecutionRecord, Node, NodeBody},
    time::Timestamp,
};

/// Upper bounds of durations of executions, jobs and waits, in seconds.
const WORK_SECONDS: [f64; 13] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];
/// Upper bounds of durations of requests, in seconds. A long poll takes up to 20 s.
const REQUEST_SECONDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 25.0];

/// What the services count and measure.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    executions_started: IntCounterVec,
    executions_ended: IntCounterVec,
    execution_seconds: Histogram,
    jobs_ended: IntCounterVec,
    job_queue_seconds: Histogram,
    job_run_seconds: Histogram,
    attempts_started: IntCounter,
    attempts_failed: IntCounterVec,
    dead_letters: IntCounter,
    log_bytes: IntCounter,
    traces_dropped: IntCounter,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    pub(crate) jobs: IntGaugeVec,
    pub(crate) workers: IntGaugeVec,
    pub(crate) fleet_slots: IntGaugeVec,
    pub(crate) problems: IntGaugeVec,
    pub(crate) values: ServerGauges,
}

/// Values that are read when the metrics are.
#[derive(Debug, Clone)]
pub(crate) struct ServerGauges {
    pub oldest_queued: GaugeVec,
    pub store_seconds: GaugeVec,
    pub disk_bytes: IntGaugeVec,
    pub last_sweep: GaugeVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Registers a collector of this program. The names are constants, and a test creates all.
#[expect(clippy::expect_used, reason = "the names are constants, and differ")]
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("the name and the labels of a metric are valid");
    registry.register(Box::new(collector.clone())).expect("each metric has a name of its own");
    collector
}

impl Metrics {
    /// Creates metrics that start at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let of = &registry;
        let counter = |name: &str, help: &str| registered(of, IntCounter::new(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(of, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            registered(of, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let values =
            |name: &str, help: &str| registered(of, GaugeVec::new(Opts::new(name, help), &[] as &[&str]));
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(WORK_SECONDS.to_vec());
            registered(of, Histogram::with_opts(options))
        };
        let metrics = Self {
            executions_started: counters(
                "tidemill_executions_started_total",
                "Executions that were created",
                &["trigger"],
            ),
            executions_ended: counters(
                "tidemill_executions_ended_total",
                "Executions that ended",
                &["status"],
            ),
            execution_seconds: histogram(
                "tidemill_execution_seconds",
                "Time from the creation of an execution to its end",
            ),
            jobs_ended: counters(
                "tidemill_jobs_ended_total",
                "Jobs of ended executions by their status",
                &["status"],
            ),
            job_queue_seconds: histogram(
                "tidemill_job_queue_seconds",
                "Time for which an attempt waited for a worker",
            ),
            job_run_seconds: histogram(
                "tidemill_job_run_seconds",
                "Duration of the last attempt of a job of an ended execution",
            ),
            attempts_started: counter("tidemill_attempts_started_total", "Attempts that workers claimed"),
            attempts_failed: counters(
                "tidemill_attempts_failed_total",
                "Attempts of ended executions that did not succeed, by their kind of failure",
                &["kind"],
            ),
            dead_letters: counter(
                "tidemill_dead_letters_total",
                "Jobs of ended executions that ended for a reason that was not their own",
            ),
            traces_dropped: counter(
                "tidemill_traces_dropped_total",
                "Traces that were not exported because too many executions ended at once",
            ),
            log_bytes: counter("tidemill_log_bytes_total", "Bytes of logs that workers reported"),
            requests: counters(
                "tidemill_http_requests_total",
                "Requests to the API by the class of their status",
                &["method", "route", "status"],
            ),
            request_seconds: registered(
                of,
                HistogramVec::new(
                    HistogramOpts::new(
                        "tidemill_http_request_seconds",
                        "Time from a request to the head of its reply, including waits of long polls",
                    )
                    .buckets(REQUEST_SECONDS.to_vec()),
                    &["method", "route"],
                ),
            ),
            jobs: gauges("tidemill_jobs", "Jobs that are queued or run, at most 5,000", &["status"]),
            workers: gauges("tidemill_workers", "Workers that reported within a day", &["state"]),
            fleet_slots: gauges(
                "tidemill_fleet_slots",
                "Slots of the workers that are online and take jobs",
                &["state"],
            ),
            problems: gauges(
                "tidemill_health_problem",
                "Whether the server has this problem: 1 or 0",
                &["problem"],
            ),
            values: ServerGauges {
                oldest_queued: values(
                    "tidemill_oldest_queued_job_seconds",
                    "How long the job has waited that has waited longest; 0: none waits",
                ),
                store_seconds: values(
                    "tidemill_store_probe_seconds",
                    "Time for a write to the store and a read",
                ),
                disk_bytes: gauges(
                    "tidemill_disk_bytes",
                    "Bytes of the disk of the data: free, the limit for new work, and the reserve",
                    &["kind"],
                ),
                last_sweep: values(
                    "tidemill_last_sweep_timestamp_seconds",
                    "When the last sweep succeeded, in seconds since 1970",
                ),
            },
            registry: registry.clone(),
        };
        for status in ["success", "failed", "canceled"] {
            metrics.executions_ended.with_label_values(&[status]);
        }
        metrics
    }

    /// Returns all metrics as they were set last.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Counts a created execution.
    pub(crate) fn execution_started(&self, trigger: Trigger) {
        self.executions_started.with_label_values(&[&label(&trigger)]).inc();
    }

    /// Counts an execution whose end is recorded, with its jobs and their attempts.
    pub(crate) fn execution_ended(
        &self,
        execution: &ExecutionRecord,
        nodes: &[Node],
        status: ExecutionStatus,
        now: Timestamp,
    ) {
        self.executions_ended.with_label_values(&[&label(&status)]).inc();
        self.execution_seconds.observe(seconds(now.since_ms(execution.spec.created_at)));
        for node in nodes {
            let NodeBody::Job(record) = &node.state.body else { continue };
            if record.carried_from.is_some() {
                continue;
            }
            let job = &record.job;
            self.jobs_ended.with_label_values(&[&label(&job.status)]).inc();
            let ran = job.started_at.zip(job.ended_at).filter(|_| job.attempt > 0);
            if let Some((start, end)) = ran {
                self.job_run_seconds.observe(seconds(end.since_ms(start)));
            }
            let earlier = job.attempts.iter().filter_map(|attempt| attempt.failure.as_ref());
            let last = job.failure.as_ref().filter(|_| ran.is_some() && job.status != JobStatus::Success);
            for failure in earlier.chain(last) {
                self.attempts_failed.with_label_values(&[&label(&failure.kind)]).inc();
            }
            if is_dead_letter(job.status, job.failure.as_ref()) {
                self.dead_letters.inc();
            }
        }
    }

    /// Counts an attempt that a worker claimed, after it waited this long.
    pub(crate) fn attempt_started(&self, waited_ms: Option<u64>) {
        self.attempts_started.inc();
        if let Some(ms) = waited_ms {
            self.job_queue_seconds.observe(seconds(ms));
        }
    }

    /// Counts bytes of a log that a worker reported.
    pub(crate) fn log_received(&self, bytes: usize) {
        self.log_bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Counts a trace that is not exported.
    pub(crate) fn trace_dropped(&self) {
        self.traces_dropped.inc();
    }

    /// Counts a request. `route` is the path of the operation with its parameters in braces.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let class = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[method, route, class]).inc();
        self.request_seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }
}

/// Returns the name of a value without fields, in lower case.
pub(crate) fn label(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.to_ascii_lowercase(),
        _ => "unknown".to_owned(),
    }
}

/// Converts milliseconds to seconds.
pub(crate) fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
