//! The metrics of a server: what its services counted, and what its records say when the metrics are read.

use super::Services;
use crate::{
    context::{
        capacity::MAX_COUNTED,
        metrics::{Metrics, label, seconds},
    },
    error::Result,
    ports::NodeBody,
};
use prometheus::proto::MetricFamily;
use std::time::Duration;
use tidemill_core::{
    api::{Health, HealthProblem, WorkerList},
    execution::status::JobStatus,
    time::Timestamp,
};

/// Maximum time of each reading of the store.
const MAX_READ_TIME: Duration = Duration::from_secs(3);
const PROBLEMS: [HealthProblem; 6] = [
    HealthProblem::StoreSlow,
    HealthProblem::StoreFailed,
    HealthProblem::DiskLow,
    HealthProblem::DiskFull,
    HealthProblem::SweepLate,
    HealthProblem::RecordsDamaged,
];

/// The jobs that are queued or run.
#[derive(Debug, Default)]
struct JobCounts {
    queued: i64,
    running: i64,
    oldest_queued_at: Option<Timestamp>,
}

impl Services {
    /// Returns all metrics. What the store does not answer in time keeps its last value.
    pub async fn metrics(&self) -> Vec<MetricFamily> {
        let context = self.pipelines.context();
        let metrics = &context.metrics;
        set_health(metrics, &self.health.check().await);
        let now = context.now();
        match tokio::time::timeout(MAX_READ_TIME, self.count_jobs(now)).await {
            Ok(Ok(counts)) => set_jobs(metrics, &counts, now),
            Ok(Err(error)) => tracing::warn!(%error, "cannot count jobs for the metrics"),
            Err(_) => tracing::warn!("the store is too slow to count jobs for the metrics"),
        }
        match tokio::time::timeout(MAX_READ_TIME, self.workers.list()).await {
            Ok(Ok(list)) => set_workers(metrics, &list),
            Ok(Err(error)) => tracing::warn!(%error, "cannot count workers for the metrics"),
            Err(_) => tracing::warn!("the store is too slow to count workers for the metrics"),
        }
        metrics.gather()
    }

    /// Counts the queued and running jobs, from the index of due nodes.
    async fn count_jobs(&self, now: Timestamp) -> Result<JobCounts> {
        let context = self.pipelines.context();
        let mut counts = JobCounts::default();
        for (execution, ixs) in context.nodes_of_jobs(now, MAX_COUNTED).await?.by_execution {
            for node in context.stores.records.nodes(execution, &ixs).await? {
                let NodeBody::Job(record) = &node.state.body else { continue };
                let job = &record.job;
                if record.is_waiting(now) {
                    counts.queued += 1;
                    let since = job.queued_at.max(job.not_before);
                    counts.oldest_queued_at = counts.oldest_queued_at.into_iter().chain(since).min();
                } else if job.status == JobStatus::Running {
                    counts.running += 1;
                }
            }
        }
        Ok(counts)
    }
}

fn set_jobs(metrics: &Metrics, counts: &JobCounts, now: Timestamp) {
    metrics.jobs.with_label_values(&["queued"]).set(counts.queued);
    metrics.jobs.with_label_values(&["running"]).set(counts.running);
    let waited = counts.oldest_queued_at.map_or(0, |since| now.since_ms(since));
    metrics.values.oldest_queued.with_label_values(&[] as &[&str]).set(seconds(waited));
}

fn set_workers(metrics: &Metrics, list: &WorkerList) {
    let (mut online, mut draining, mut offline, mut busy, mut free) = (0, 0, 0, 0, 0);
    for worker in &list.workers {
        match (worker.online, worker.draining) {
            (false, _) => offline += 1,
            (true, true) => draining += 1,
            (true, false) => {
                online += 1;
                let running = i64::try_from(worker.running.len()).unwrap_or(i64::MAX);
                busy += running;
                free += i64::from(worker.slots).saturating_sub(running).max(0);
            }
        }
    }
    for (state, number) in [("online", online), ("draining", draining), ("offline", offline)] {
        metrics.workers.with_label_values(&[state]).set(number);
    }
    for (state, number) in [("busy", busy), ("free", free)] {
        metrics.fleet_slots.with_label_values(&[state]).set(number);
    }
}

fn set_health(metrics: &Metrics, health: &Health) {
    for problem in PROBLEMS {
        let value = i64::from(health.problems.contains(&problem));
        metrics.problems.with_label_values(&[&label(&problem)]).set(value);
    }
    let Some(details) = &health.details else { return };
    let none: &[&str] = &[];
    if let Some(ms) = details.store_ms {
        metrics.values.store_seconds.with_label_values(none).set(seconds(ms));
    }
    if let Some(at) = details.last_sweep_at {
        metrics.values.last_sweep.with_label_values(none).set(seconds(at.since_ms(Timestamp(0))));
    }
    let bytes = [
        ("free", details.disk_free_bytes),
        ("low", details.disk_low_bytes),
        ("reserve", details.disk_reserve_bytes),
    ];
    for (kind, bytes) in bytes {
        if let Some(bytes) = bytes {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            metrics.values.disk_bytes.with_label_values(&[kind]).set(bytes);
        }
    }
}
