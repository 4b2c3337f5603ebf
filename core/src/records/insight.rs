//! What is counted of ended executions: one rollup for each pipeline and day. It is small and bounded, and written once at the end
//! of an execution, so that pages about many executions read few records.

use super::{
    ExecutionRecord, Node, NodeBody,
    test_statistics::{Coverage, FlakyTests, MeasuredJob, coverage_by_day, most_frequent},
};
use crate::{
    api::{CountsView, DayInsight, JobInsight, PipelineInsight},
    execution::{
        cost::dollars,
        status::{ExecutionStatus, JobStatus},
    },
    ids::ExecutionId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Maximum number of jobs of a rollup; the others count for their pipeline only.
const MAX_JOBS: usize = 100;
/// Number of buckets of all jobs of a rollup from which on their times are not counted, so that its size is bounded.
const MAX_BUCKETS: usize = 12_000;
/// Number of the last counted executions that a rollup remembers. One that is counted again is ignored if it is among them.
const MAX_COUNTED: usize = 30;
/// Each power of two of a [`Histogram`] has `1 << STEP_BITS` buckets, so that a bucket is at most an eighth wide.
const STEP_BITS: u32 = 3;
/// Longer times count as this one: a year.
const MAX_MS: u64 = 365 * 86_400_000;

/// Durations in buckets whose width is proportional to their value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram(BTreeMap<u16, u32>);

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, ms: u64) {
        let count = self.0.entry(bucket(ms.min(MAX_MS))).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, number) in &other.0 {
            let count = self.0.entry(*bucket).or_default();
            *count = count.saturating_add(*number);
        }
    }

    /// Returns the duration that `percent` of all durations do not exceed, within a sixteenth; `None` if there are none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.values().map(|count| u64::from(*count)).sum();
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += u64::from(*count);
            (seen >= rank).then(|| middle(*bucket))
        })
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the bucket of a duration. Those below 8 have one each.
fn bucket(ms: u64) -> u16 {
    let exponent = ms.checked_ilog2().unwrap_or(0);
    let index = match exponent.checked_sub(STEP_BITS) {
        None => ms,
        // The leading bit counts as a step, which makes the buckets follow those of the power before.
        Some(shift) => (u64::from(shift) << STEP_BITS) + (ms >> shift),
    };
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// Returns the duration in the middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let steps = 1 << STEP_BITS;
    if bucket < 2 * steps {
        return bucket;
    }
    let shift = bucket / steps - 1;
    ((bucket % steps + steps) << shift) + (1 << shift) / 2
}

/// Ended executions or jobs of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Those that succeeded.
    #[serde(rename = "s", skip_serializing_if = "is_zero")]
    pub succeeded: u32,
    /// Those that failed.
    #[serde(rename = "f", skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Those that were canceled.
    #[serde(rename = "c", skip_serializing_if = "is_zero")]
    pub canceled: u32,
    /// Attempts after the first one.
    #[serde(rename = "r", skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Times from start to end, of those that were not canceled.
    #[serde(rename = "d", skip_serializing_if = "Histogram::is_empty")]
    pub duration: Histogram,
    /// Times until the start.
    #[serde(rename = "q", skip_serializing_if = "Histogram::is_empty")]
    pub queue: Histogram,
    /// What all attempts cost, in billionths of a dollar; 0 if no worker has a price.
    #[serde(rename = "u", skip_serializing_if = "is_free")]
    pub cost_nano_usd: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
const fn is_free(nano_usd: &u64) -> bool {
    *nano_usd == 0
}

impl Counts {
    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
        self.canceled = self.canceled.saturating_add(other.canceled);
        self.retries = self.retries.saturating_add(other.retries);
        self.duration.merge(&other.duration);
        self.queue.merge(&other.queue);
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
    }

    /// Returns the counts as shown by the API.
    #[must_use]
    pub fn view(&self) -> CountsView {
        CountsView {
            count: self.succeeded.saturating_add(self.failed).saturating_add(self.canceled),
            succeeded: self.succeeded,
            failed: self.failed,
            canceled: self.canceled,
            retries: self.retries,
            median_ms: self.duration.percentile(50),
            p95_ms: self.duration.percentile(95),
            queue_median_ms: self.queue.percentile(50),
            queue_p95_ms: self.queue.percentile(95),
        }
    }
}

/// What ended of one pipeline on one day (UTC).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DayRollup {
    /// The pipeline's name.
    pub pipeline: String,
    /// The day, as a number of days since 1970.
    pub day: u32,
    /// Executions.
    pub executions: Counts,
    /// Jobs by name, with the values of a matrix.
    pub jobs: BTreeMap<String, Counts>,
    /// The executions that were counted last, the latest at the end.
    pub counted: Vec<ExecutionId>,
    /// Flaky tests.
    #[serde(skip_serializing_if = "FlakyTests::is_empty")]
    pub flaky: FlakyTests,
    /// Line coverage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

/// Returns the number of the day of a time.
#[must_use]
pub fn day_of(at: Timestamp) -> u32 {
    u32::try_from(at.0.div_euclid(DAY_MS)).unwrap_or(0)
}

/// Returns the day on which an execution that ends now counts: that of the end of its last job, so that a repetition after
/// midnight finds the same rollup.
#[must_use]
pub fn day_of_end(nodes: &[Node], now: Timestamp) -> u32 {
    let ends = nodes.iter().filter_map(|node| match &node.state.body {
        NodeBody::Job(item) if item.carried_from.is_none() => item.job.ended_at,
        _ => None,
    });
    day_of(ends.max().unwrap_or(now))
}

impl DayRollup {
    /// Creates the rollup of a pipeline and day.
    #[must_use]
    pub fn new(pipeline: &str, day: u32) -> Self {
        Self { pipeline: pipeline.to_owned(), day, ..Self::default() }
    }

    /// Returns the rollup with one more execution that ends at `now` with `status`; `None` if it has it. `measured` has what the
    /// test reports of its jobs say, by the index of their nodes.
    #[must_use]
    pub fn with(
        &self,
        execution: &ExecutionRecord,
        nodes: &[Node],
        measured: &BTreeMap<u32, MeasuredJob>,
        status: ExecutionStatus,
        now: Timestamp,
    ) -> Option<Self> {
        let id = execution.spec.id;
        if self.counted.contains(&id) {
            return None;
        }
        let mut next = self.clone();
        next.counted.push(id);
        let surplus = next.counted.len().saturating_sub(MAX_COUNTED);
        next.counted.drain(..surplus);
        let counts = &mut next.executions;
        match status {
            ExecutionStatus::Success => counts.succeeded += 1,
            ExecutionStatus::Canceled => counts.canceled += 1,
            _ => counts.failed += 1,
        }
        if let Some(start) = execution.state.start_time {
            if status != ExecutionStatus::Canceled {
                counts.duration.add(now.since_ms(start));
            }
            // The time until an approval is not that of a queue.
            if !execution.spec.held {
                counts.queue.add(start.since_ms(execution.spec.created_at));
            }
        }
        let buckets: usize = next.jobs.values().map(|job| job.duration.len() + job.queue.len()).sum();
        for node in nodes {
            next.add_job(node, buckets < MAX_BUCKETS);
        }
        next.flaky.add(id, nodes, measured);
        let coverage = Coverage::of(&execution.spec, nodes, measured);
        if let Some(coverage) = coverage.filter(|one| one.is_preferred_to(next.coverage.as_ref())) {
            next.coverage = Some(coverage);
        }
        Some(next)
    }

    fn add_job(&mut self, node: &Node, with_times: bool) {
        let NodeBody::Job(item) = &node.state.body else { return };
        let job = &item.job;
        if item.carried_from.is_some() || job.status == JobStatus::Skipped || !job.status.is_terminal() {
            return;
        }
        let retries = job.attempt.saturating_sub(1);
        self.executions.retries = self.executions.retries.saturating_add(retries);
        self.executions.cost_nano_usd = self.executions.cost_nano_usd.saturating_add(job.cost_nano_usd);
        if !self.jobs.contains_key(&node.spec.name) && self.jobs.len() >= MAX_JOBS {
            return;
        }
        let counts = self.jobs.entry(node.spec.name.clone()).or_default();
        counts.retries = counts.retries.saturating_add(retries);
        counts.cost_nano_usd = counts.cost_nano_usd.saturating_add(job.cost_nano_usd);
        match job.status {
            JobStatus::Success => counts.succeeded += 1,
            JobStatus::Canceled => counts.canceled += 1,
            _ => counts.failed += 1,
        }
        if !with_times {
            return;
        }
        // A later attempt was queued by the end of the one before.
        if let (Some(queued), Some(start)) = (job.queued_at, job.started_at)
            && job.attempts.is_empty()
        {
            counts.queue.add(start.since_ms(queued));
        }
        if let (Some(start), Some(end)) = (job.started_at, job.ended_at)
            && job.status != JobStatus::Canceled
        {
            counts.duration.add(end.since_ms(start));
        }
    }
}

/// The sum of rollups of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct PipelineTotals {
    executions: Counts,
    jobs: BTreeMap<String, Counts>,
    by_day: Vec<DayInsight>,
    flaky: Vec<FlakyTests>,
    coverage: Vec<(Timestamp, Coverage)>,
}

impl PipelineTotals {
    /// Adds the rollup of a day after those before.
    pub fn add(&mut self, rollup: DayRollup) {
        self.executions.merge(&rollup.executions);
        for (name, counts) in rollup.jobs {
            self.jobs.entry(name).or_default().merge(&counts);
        }
        let day = Timestamp(i64::from(rollup.day) * DAY_MS);
        self.by_day.push(DayInsight { day, counts: rollup.executions.view() });
        if !rollup.flaky.is_empty() {
            self.flaky.push(rollup.flaky);
        }
        self.coverage.extend(rollup.coverage.map(|coverage| (day, coverage)));
    }

    /// Returns the sum as shown by the API.
    #[must_use]
    pub fn insight(self, pipeline_name: String) -> PipelineInsight {
        let job = |(job_name, counts): (String, Counts)| JobInsight {
            job_name,
            counts: counts.view(),
            cost_usd: dollars(counts.cost_nano_usd),
        };
        PipelineInsight {
            pipeline_name,
            executions: self.executions.view(),
            jobs: self.jobs.into_iter().map(job).collect(),
            by_day: self.by_day,
            flaky_tests: most_frequent(self.flaky),
            coverage: coverage_by_day(&self.coverage),
            cost_usd: dollars(self.executions.cost_nano_usd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, Histogram, Node, NodeBody, Timestamp, bucket, day_of_end, middle};
    use crate::ids::{ExecutionId, JobId};
    use crate::records::{JobRecord, NodeKey, NodeSpec, NodeState};
    use uuid::Uuid;

    #[test]
    fn execution_counts_on_the_day_of_its_last_own_job() {
        let execution = ExecutionId(Uuid::nil());
        let job = |ix: u32, ended_at: Option<i64>, is_carried: bool| {
            let mut item = JobRecord::default();
            item.job.ended_at = ended_at.map(Timestamp);
            item.carried_from = is_carried.then(|| JobId::of(execution, ix));
            Node {
                key: NodeKey { execution, ix },
                spec: NodeSpec::default(),
                state: NodeState { notified: 0, body: NodeBody::Job(Box::new(item)), approvals: Vec::new() },
                version: 1,
                waits_for: 0,
                failed: 0,
                blocker: None,
                due_at: None,
            }
        };
        let now = Timestamp(3 * DAY_MS);
        let nodes = [job(0, Some(DAY_MS), false), job(1, Some(3 * DAY_MS - 1), false), job(2, None, false)];
        assert_eq!(day_of_end(&nodes, now), 2, "repeated after midnight");
        assert_eq!(day_of_end(&[job(0, Some(DAY_MS), true)], now), 3, "carried over");
    }

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        let mut last = bucket(0);
        for ms in 1..100_000 {
            let this = bucket(ms);
            assert!(this == last || this == last + 1, "{ms}");
            assert!(middle(this).abs_diff(ms) <= ms / 16 + 1, "{ms}: {}", middle(this));
            assert_eq!(bucket(middle(this)), this, "{ms}");
            last = this;
        }
        assert!(bucket(super::MAX_MS) < 400);
    }

    #[test]
    fn percentiles_are_near_the_exact_ones() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        histogram.add(5);
        assert_eq!((histogram.percentile(50), histogram.percentile(95)), (Some(5), Some(5)));
        let mut histogram = Histogram::default();
        for ms in 1..=1_000 {
            histogram.add(ms);
        }
        for (percent, exact) in [(50, 500_u64), (95, 950), (100, 1_000)] {
            let near = histogram.percentile(percent).unwrap_or_default();
            assert!(near.abs_diff(exact) <= exact / 16 + 1, "{percent}: {near}");
        }
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(twice.percentile(95), histogram.percentile(95));
        histogram.add(u64::MAX);
        assert!(histogram.percentile(100).is_some_and(|ms| ms > super::MAX_MS / 2));
    }
}
