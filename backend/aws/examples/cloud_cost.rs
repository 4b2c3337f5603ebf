//! Measures the cost of jobs on AWS: the services over the AWS adapters and an emulator, with a worker that only reports.
//!
//! `TIDEMILL_TEST_AWS_ENDPOINT` is the emulator's endpoint. For each shape and size of pipeline the program prints calls and
//! consumed capacity per job, which must not depend on the size; then the cost of 1,000 jobs of one minute that
//! print nothing, print a line a second, or do so while a user watches; and last what an idle sweep reads.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use tidemill_testkit::cloud;

use std::{error::Error, fmt::Write, sync::Arc};
use tidemill_aws::Meter;
use tidemill_core::execution::{
    assignment::Source,
    attempt::{ReportPace, heartbeat_ms},
    cost::{Prices, Usage, cost},
    status::ExecutionStatus,
};
use tidemill_core::{
    api::{
        AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, LogBytes, LogContent,
        LogMark, Trigger, WorkerInfo,
    },
    ids::{JobId, WorkerId},
    plan::Plan,
    time::Timestamp,
};
use tidemill_services::{Services, Settings, ports::Clock};
use tidemill_testkit::conformance::ManualClock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type ExampleError = Box<dyn Error + Send + Sync>;
/// Jobs that run at the same time; each beyond the first may cost another write when they contend.
const SLOTS: usize = 1;
/// Assumed duration of a request in a function: memory in MiB times milliseconds.
const MIB_MS: u64 = 512 * 10;
const LEASE_MS: u64 = 60_000;

const SECOND_MS: i64 = 1_000;
/// Seconds between two requests of a page that shows an execution.
const PAGE_INTERVAL_S: u64 = 5;
/// Seconds between two reports of the times of lines.
const MARKS_INTERVAL_S: u64 = 15;

/// What one job does.
#[derive(Clone, Copy, Default)]
struct JobWork {
    seconds: u64,
    /// Whether it prints a line a second.
    prints: bool,
    /// Whether a user looks at its log on the execution's page, or follows it on the command line.
    is_watched: bool,
}

/// A kind of job, in executions of this many, and what 1,000 jobs of a minute may cost of the control plane, in dollars.
struct Case {
    name: &'static str,
    jobs: usize,
    work: JobWork,
    limit: f64,
}

const MINUTE: JobWork = JobWork { seconds: 60, prints: false, is_watched: false };
const CASES: [Case; 3] = [
    Case { name: "quiet", jobs: 100, work: MINUTE, limit: 0.03 },
    Case { name: "chatty", jobs: 100, work: JobWork { prints: true, ..MINUTE }, limit: 0.06 },
    Case {
        name: "watched",
        jobs: 10,
        work: JobWork { prints: true, is_watched: true, ..MINUTE },
        limit: 0.10,
    },
];

struct Deployment {
    services: Services,
    meter: Meter,
    clock: Arc<ManualClock>,
}

#[tokio::main]
async fn main() -> Result<(), ExampleError> {
    if !cloud::is_available() {
        return Err("no emulator: set TIDEMILL_TEST_AWS_ENDPOINT".into());
    }
    let account = cloud::Account::new();
    let clock = Arc::new(ManualClock::default());
    let (stores, meter) =
        tidemill_aws::open_with_clock(&account.sdk(), account.create_resources().await, clock.clone());
    let settings = Settings {
        lease_ttl_ms: LEASE_MS,
        report_pace: ReportPace::BATCHED,
        max_wait_ms: 0,
        continues_after_reply: false,
        ..Settings::default()
    };
    let deployment =
        Deployment { services: Services::new(stores, settings, CancellationToken::new()), meter, clock };

    // With the argument `minutes`, only those jobs.
    let only_minutes = std::env::args().nth(1).is_some_and(|only| only == "minutes");
    let is_constant = only_minutes || deployment.shapes().await?;
    let is_within = deployment.minutes().await?;
    deployment.idle().await?;
    match (is_constant, is_within) {
        (true, true) => Ok(()),
        (false, _) => Err("the cost of a job depends on the size of its pipeline".into()),
        (true, false) => Err("jobs of one minute cost more than their limit".into()),
    }
}

fn multiply(usage: Usage, factor: u64) -> Usage {
    (0..factor).fold(Usage::default(), |sum, _| sum + usage)
}

impl Deployment {
    /// Runs an execution with this many jobs, and returns its usage.
    async fn run_execution(&self, shape: &str, jobs: usize, work: JobWork) -> Result<Usage, ExampleError> {
        let before = self.meter.total();
        let request = request(shape, jobs)?;
        let reply = self.call(self.services.pipelines.execute(request, None, None)).await?;
        let ids = (0..u32::try_from(jobs)?).map(|ix| JobId::of(reply.execution_id, ix));
        let mut remaining: Vec<JobId> = ids.collect();
        let mut ended = 0;
        while !remaining.is_empty() {
            let mut waiting = Vec::new();
            for batch in remaining.chunks(SLOTS) {
                for (job, done) in batch
                    .iter()
                    .zip(futures_util::future::join_all(batch.iter().map(|job| self.run(*job, work))).await)
                {
                    if done? { ended += 1 } else { waiting.push(*job) }
                }
            }
            if waiting.len() == remaining.len() {
                return Err(format!("{shape}: {} jobs never became ready", remaining.len()).into());
            }
            remaining = waiting;
        }
        let used = since(before, self.meter.total());
        let view = self.services.pipelines.view(reply.execution_id, None, 0).await?.view.ok_or("no view")?;
        if view.execution.status != ExecutionStatus::Success || ended != jobs {
            return Err(format!(
                "{shape}: the execution ended as {:?} after {ended} jobs",
                view.execution.status
            )
            .into());
        }
        Ok(used)
    }

    /// Prints calls and capacity of each shape and size, and returns whether the writes do not depend on the size.
    async fn shapes(&self) -> Result<bool, ExampleError> {
        println!("shape   jobs  calls  writes  write units  read units  queue requests  object requests");
        let no_op = JobWork::default();
        let mut is_constant = true;
        for shape in ["flat", "needs", "stages"] {
            let mut first = None;
            for jobs in [10, 100, 1_000] {
                let used = self.run_execution(shape, jobs, no_op).await?;
                let per = |count: u64| count as f64 / jobs as f64;
                println!(
                    "{shape:6}  {jobs:4}  {:5.2}  {:6.2}  {:11.2}  {:10.2}  {:14.2}  {:15.2}",
                    per(used.api_requests),
                    per(used.table_writes),
                    per(used.table_write_halves) / 2.0,
                    per(used.table_read_halves) / 2.0,
                    per(used.queue_requests),
                    per(used.object_puts + used.object_gets),
                );
                let writes = per(used.table_writes);
                is_constant &= writes <= 1.1 * *first.get_or_insert(writes);
            }
        }
        println!(
            "writes per job, largest against smallest pipeline: {}",
            if is_constant { "within 1.1" } else { "NOT within 1.1" }
        );
        Ok(is_constant)
    }

    /// Prints what 1,000 jobs of one minute cost, and returns whether that is within the limits.
    async fn minutes(&self) -> Result<bool, ExampleError> {
        let prices = Prices::us_east_1()?;
        let mut is_within = true;
        for Case { name, jobs, work, limit } in CASES {
            let used = self.run_execution("flat", jobs, work).await?;
            let usage_of_1000 = multiply(used, 1_000 / jobs as u64);
            let price = cost(&usage_of_1000, 1_000 * 60_000, &prices);
            let per = |count: u64| count as f64 / jobs as f64;
            is_within &= price.control_plane <= limit;
            println!(
                "1,000 jobs of one minute, {name}: control plane ${:.4} (limit ${limit}), storage ${:.4}, workers ${:.4}; \
                 per job {:.1} calls, {:.1} write units, {:.1} read units, {:.1} queue requests",
                price.control_plane,
                price.storage,
                price.workers,
                per(used.api_requests),
                per(used.table_write_halves) / 2.0,
                per(used.table_read_halves) / 2.0,
                per(used.queue_requests),
            );
        }
        Ok(is_within)
    }

    /// Prints what a run of the sweep needs when there is nothing to do.
    async fn idle(&self) -> Result<(), ExampleError> {
        self.services.sweep.run().await?;
        let before = self.meter.total();
        let services = &self.services;
        services.sweep.run().await?;
        services.schedules.run().await?;
        services.environments.run().await?;
        services.follow_ups.run().await?;
        services.outbox.run().await?;
        let used = since(before, self.meter.total());
        println!(
            "an idle run of the sweep: {} requests to the table, {:.1} read units, {:.1} write units",
            used.table_requests,
            used.table_read_halves as f64 / 2.0,
            used.table_write_halves as f64 / 2.0,
        );
        Ok(())
    }

    /// Runs a call to the API, and counts it as a request of the function.
    async fn call<T>(&self, work: impl Future<Output = T>) -> T {
        self.meter
            .request(async {
                self.meter.count(Usage { api_requests: 1, function_mib_ms: MIB_MS, ..Usage::default() });
                work.await
            })
            .await
    }

    /// Runs a job; false: the job is not ready.
    async fn run(&self, job: JobId, work: JobWork) -> Result<bool, ExampleError> {
        let worker = WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "worker".into() };
        let request = JobExecuteRequest {
            labels: tidemill_core::pipeline::labels::Labels::new(),
            worker,
            job_id: Some(job),
            execution_id: None,
            lease: None,
            wait_ms: 0,
            lookahead: 0,
            slot_price: 0,
        };
        let JobExecuteReply::Assigned { assignment, .. } =
            Box::pin(self.call(self.services.jobs.execute(request))).await?
        else {
            return Ok(false);
        };
        let (lease, execution) = (assignment.lease, assignment.preparation.execution_id);
        let mut job_log = JobLog::default();
        let (mut interval_ms, mut last_ms, mut last_news_ms, mut read, mut next_read_ms) =
            (lease.report_interval_ms, 0, 0, 0, 0);
        for second in 1..=work.seconds.max(1) {
            self.clock.advance(SECOND_MS);
            let at_ms = second * SECOND_MS.unsigned_abs();
            if work.prints {
                job_log
                    .print(&format!("line {second} of a job that prints one a second\n"), self.clock.now());
            }
            // As the worker's reporter.
            let is_end = second == work.seconds.max(1);
            let has_news = is_end || (job_log.has_unsent() && at_ms - last_news_ms >= interval_ms);
            if has_news || at_ms - last_ms >= heartbeat_ms(lease.ttl_ms, interval_ms) {
                let end = is_end.then_some(AttemptEnd {
                    failure: None,
                    exit_code: Some(0),
                    ..AttemptEnd::default()
                });
                let log = if has_news { job_log.take(second, is_end)? } else { None };
                let (lease, phase, steps) = (lease.token, None, Vec::new());
                let report = JobReport { job_id: job, lease, log, phase, steps, end };
                interval_ms = self.call(self.services.jobs.report(report)).await?.report_interval_ms;
                last_ms = at_ms;
                last_news_ms = if has_news { at_ms } else { last_news_ms };
            }
            if work.is_watched && at_ms >= next_read_ms {
                let part = self.call(self.services.jobs.logs(job, None, read, 1 << 20, 0)).await?;
                (read, next_read_ms) = (part.next, at_ms + part.poll_ms.unwrap_or_default());
            }
            if work.is_watched && second % PAGE_INTERVAL_S == 0 {
                Box::pin(self.call(self.services.pipelines.view(execution, None, 0))).await?;
            }
        }
        Ok(true)
    }
}

/// The log of a job that runs.
#[derive(Default)]
struct JobLog {
    offset: u64,
    unsent: String,
    lines: u64,
    marks: Vec<LogMark>,
    marked_at_s: u64,
}

impl JobLog {
    fn print(&mut self, line: &str, at: Timestamp) {
        self.marks.push(LogMark { offset: self.offset + self.unsent.len() as u64, line: self.lines, at });
        self.lines += 1;
        self.unsent.push_str(line);
    }

    const fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn take(&mut self, second: u64, is_end: bool) -> Result<Option<LogBytes>, ExampleError> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        if self.unsent.is_empty() {
            return Ok(None);
        }
        let bytes = std::mem::take(&mut self.unsent).into_bytes();
        let mut marks = Vec::new();
        if is_end || second - self.marked_at_s >= MARKS_INTERVAL_S {
            self.marked_at_s = second;
            marks = std::mem::take(&mut self.marks);
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        let packed = STANDARD.encode(zstd::bulk::compress(&bytes, 1)?);
        let length = u32::try_from(bytes.len())?;
        Ok(Some(LogBytes { offset, length, content: LogContent::Zstd(packed), marks }))
    }
}

fn since(before: Usage, now: Usage) -> Usage {
    Usage {
        api_requests: now.api_requests - before.api_requests,
        function_mib_ms: now.function_mib_ms - before.function_mib_ms,
        table_requests: now.table_requests - before.table_requests,
        table_writes: now.table_writes - before.table_writes,
        table_write_halves: now.table_write_halves - before.table_write_halves,
        table_read_halves: now.table_read_halves - before.table_read_halves,
        queue_requests: now.queue_requests - before.queue_requests,
        object_puts: now.object_puts - before.object_puts,
        object_gets: now.object_gets - before.object_gets,
    }
}

/// Creates a request: `flat` has no dependencies, `needs` has five chains, `stages` has stages of five jobs.
fn request(shape: &str, jobs: usize) -> Result<ExecuteRequest, ExampleError> {
    const STAGE_WIDTH: usize = 5;
    let mut pipeline = "name: count\n".to_owned();
    let stages = if shape == "stages" { jobs.div_ceil(STAGE_WIDTH) } else { 1 };
    writeln!(pipeline, "stages: [{}]", (0..stages).map(|n| format!("s{n}")).collect::<Vec<_>>().join(", "))?;
    pipeline.push_str("jobs:\n");
    for ix in 0..jobs {
        let stage = if shape == "stages" { ix / STAGE_WIDTH } else { 0 };
        let needs = match shape {
            "needs" if ix >= STAGE_WIDTH => format!(", needs: [j{}]", ix - STAGE_WIDTH),
            "stages" => String::new(),
            _ => ", needs: []".to_owned(),
        };
        writeln!(pipeline, "  j{ix}: {{ stage: s{stage}, image: busybox, script: [\"true\"]{needs} }}")?;
    }
    let file = tidemill_core::pipeline::parse(&pipeline).map_err(|diagnostics| format!("{diagnostics:?}"))?;
    Plan::new(&file, &indexmap::IndexMap::new())?;
    Ok(ExecuteRequest {
        pipeline,
        file: None,
        repo: format!("https://example.org/{shape}/{}", Uuid::now_v7()),
        branch: None,
        commit: Some("c0".into()),
        source: Source::None,
        variables: indexmap::IndexMap::new(),
        trigger: Trigger::Manual,
        requested_by: None,
        force: false,
        ..ExecuteRequest::default()
    })
}
