//! Measures the cost of jobs on AWS: the services over the AWS adapters and an emulator, with a worker that only reports.
//!
//! `TIDEMILL_TEST_AWS_ENDPOINT` is the emulator's endpoint. For each shape and size of pipeline the program prints calls and
//! consumed capacity per job, which must not depend on the size; then the cost of 1,000 jobs of one minute.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use tidemill_testkit::cloud;

use std::{error::Error, fmt::Write, sync::Arc};
use tidemill_aws::Meter;
use tidemill_core::execution::{
    assignment::Source,
    cost::{Prices, Usage, cost},
    status::ExecutionStatus,
};
use tidemill_core::{
    api::{
        AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, LogBytes, LogContent,
        Trigger, WorkerInfo,
    },
    ids::{JobId, WorkerId},
    plan::Plan,
};
use tidemill_services::{Services, Settings};
use tidemill_testkit::conformance::ManualClock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type ExampleError = Box<dyn Error + Send + Sync>;
/// Jobs that run at the same time; each beyond the first may cost another write when they contend.
const SLOTS: usize = 1;
/// Assumed duration of a request in a function: memory in MiB times milliseconds.
const MIB_MS: u64 = 256 * 15;
const LEASE_MS: u64 = 60_000;

/// The reports of one job.
#[derive(Clone, Copy)]
struct JobWork {
    /// Reports before the last one.
    reports: u32,
    /// Milliseconds between reports.
    interval_ms: i64,
    /// Every n-th report has log bytes; 0: none.
    log_every: u32,
}

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
    let settings = Settings { lease_ttl_ms: LEASE_MS, max_wait_ms: 0, ..Settings::default() };
    let deployment =
        Deployment { services: Services::new(stores, settings, CancellationToken::new()), meter, clock };

    println!("shape   jobs  calls  writes  write units  read units  queue requests  object requests");
    let no_op = JobWork { reports: 0, interval_ms: 20_000, log_every: 0 };
    let mut is_constant = true;
    for shape in ["flat", "needs", "stages"] {
        let mut first = None;
        for jobs in [10, 100, 1_000] {
            let used = deployment.run_execution(shape, jobs, no_op).await?;
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

    // One minute: a heartbeat every four seconds, and output every twenty.
    let minute = JobWork { reports: 14, interval_ms: 4_000, log_every: 5 };
    let used = deployment.run_execution("needs", 100, minute).await?;
    let prices = Prices::us_east_1()?;
    let usage_of_1000 = multiply(used, 10);
    let price = cost(&usage_of_1000, 1_000 * 60_000, &prices);
    println!(
        "1,000 jobs of one minute with output, list prices of {} ({}): control plane ${:.4}, storage ${:.4}, \
         together ${:.4}; with worker time (${:.2}) ${:.4}",
        prices.region,
        prices.as_of,
        price.control_plane,
        price.storage,
        price.control_plane + price.storage,
        price.workers,
        price.total(),
    );
    if is_constant { Ok(()) } else { Err("the cost of a job depends on the size of its pipeline".into()) }
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
        let mut offset = 0;
        for report in 0..=work.reports {
            self.clock.advance(work.interval_ms);
            let text = format!("line {report} of a job that prints from time to time\n").repeat(20);
            let has_log = work.log_every > 0 && report % work.log_every == work.log_every - 1;
            let log = has_log.then(|| log(offset, text.as_bytes())).transpose()?;
            offset += if has_log { text.len() as u64 } else { 0 };
            let end = (report == work.reports).then_some(AttemptEnd {
                failure: None,
                exit_code: Some(0),
                ..AttemptEnd::default()
            });
            let report = JobReport {
                job_id: job,
                lease: assignment.lease.token,
                log,
                phase: None,
                steps: Vec::new(),
                end,
            };
            self.call(self.services.jobs.report(report)).await?;
        }
        Ok(true)
    }
}

fn log(offset: u64, bytes: &[u8]) -> Result<LogBytes, ExampleError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let packed = STANDARD.encode(zstd::bulk::compress(bytes, 1)?);
    Ok(LogBytes {
        offset,
        length: u32::try_from(bytes.len())?,
        content: LogContent::Zstd(packed),
        marks: Vec::new(),
    })
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
