//! Simulates a year of a build server over the embedded stores, with 90 days of retention: the disk must stay flat after the first 90
//! days, and starting, listing and showing executions must not take longer at the end than in the first week.
//!
//! `cargo run --release -p tidemill-server --example year -- 200000 [DIRECTORY]`
#![allow(clippy::print_stdout)]

use bytes::Bytes;
use futures_util::{StreamExt, future::try_join_all, stream};
use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, ListQuery, WorkerInfo},
    ids::{ExecutionId, LeaseToken, WorkerId},
    retention::{
        api::{GcRequest, RetentionRequest},
        settings::{RetentionRule, RetentionSettings},
    },
    time::Timestamp,
};
use tidemill_services::{
    Services, Settings,
    ports::{Clock, Ids},
};
use tidemill_sqlite::open_at;
use tokio_util::sync::CancellationToken;
use uuid::{NoContext, Uuid};

type ExampleError = Box<dyn Error + Send + Sync>;

const DAY_MS: i64 = 86_400_000;
const DAYS: i64 = 365;
const RETENTION_DAYS: u32 = 90;
const START: i64 = 1_767_225_600_000;
/// Executions that run at the same time.
const CONCURRENCY: usize = 16;
const REPOSITORIES: u64 = 20;
/// Branches of each repository that are in use at a time; each is used for some weeks.
const BRANCHES: i64 = 8;
const LOG_BYTES: usize = 2_000;
/// How much longer an operation may take at the end of the year, and how much larger the disk may be than once retention has begun.
const MAX_SLOWDOWN: f64 = 1.5;
const MAX_GROWTH: f64 = 1.15;
/// What a few samples may differ by.
const MIN_DIFFERENCE: Duration = Duration::from_micros(300);

/// The simulated time, from which ids are made, too.
#[derive(Debug)]
struct Simulated {
    now: AtomicI64,
    random: AtomicU64,
}

impl Simulated {
    fn uuid(&self) -> Uuid {
        let ms = self.now.load(Ordering::Relaxed).unsigned_abs();
        let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
        self.random.fetch_add(1, Ordering::Relaxed);
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, ms / 1_000, nanos))
    }
}

impl Clock for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }
}

impl Ids for Simulated {
    fn execution(&self) -> ExecutionId {
        ExecutionId(self.uuid())
    }

    fn lease(&self) -> LeaseToken {
        LeaseToken(Uuid::new_v4())
    }
}

/// Durations of operations.
#[derive(Debug, Default)]
struct Samples {
    start: Vec<Duration>,
    list: Vec<Duration>,
    status: Vec<Duration>,
}

fn median(samples: &mut [Duration]) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), ExampleError> {
    let mut args = std::env::args().skip(1);
    let total: i64 = args.next().map_or(Ok(2_000), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let directory = args.next().map_or_else(|| scratch.path().to_owned(), PathBuf::from).join("year");
    let time = Arc::new(Simulated { now: AtomicI64::new(START), random: AtomicU64::new(0) });
    let mut stores = open_at(&directory, time.clone())?;
    stores.ids = time.clone();
    let services = Services::new(stores.clone(), Settings::default(), CancellationToken::new());
    let rule =
        RetentionRule { days: Some(RETENTION_DAYS), branch_days: Some(120), ..RetentionRule::default() };
    let settings = RetentionSettings { rule, ..RetentionSettings::default() };
    services.retention.set(&RetentionRequest { repo: None, settings }).await?;

    let began = Instant::now();
    let (mut first, mut last) = (Samples::default(), Samples::default());
    let mut sizes = Vec::new();
    let mut number = 0;
    for day in 0..DAYS {
        let until = total * (day + 1) / DAYS;
        let mut samples = Samples::default();
        while number < until {
            let batch = (until - number).min(i64::try_from(CONCURRENCY)?);
            let runs = (number..number + batch).map(|number| run(&services, &stores, day, number));
            for id in try_join_all(runs).await? {
                let started = Instant::now();
                services.pipelines.view(id.0, None, 0).await?;
                samples.status.push(started.elapsed());
                samples.start.push(id.1);
            }
            number += batch;
            time.now.fetch_add(DAY_MS / (total / DAYS + 1).max(1) * batch, Ordering::Relaxed);
        }
        for number in 0..20 {
            let repo = Some(repository(number));
            let started = Instant::now();
            let list = services.pipelines.list(ListQuery { repo, ..ListQuery::default() }).await?;
            // In the first week, a page of a small run is not full.
            let listed = u32::try_from(list.executions.len())?.max(1);
            samples.list.push(started.elapsed() / listed);
        }
        time.now.store(START + (day + 1) * DAY_MS, Ordering::Relaxed);
        services.sweep.run().await?;
        let report = services.retention.run(GcRequest::default(), None).await?;
        if report.failed > 0 {
            return Err(format!("{} executions could not be removed", report.failed).into());
        }
        if day < 7 {
            extend(&mut first, samples);
        } else if day >= DAYS - 7 {
            extend(&mut last, samples);
        }
        if (day + 1) % 30 == 0 || day + 1 == DAYS {
            let bytes = disk_usage(&directory)?;
            sizes.push((day + 1, bytes));
            println!(
                "day {}: {number} executions, {:.1} MiB, {:.0} s",
                day + 1,
                mib(bytes),
                began.elapsed().as_secs_f64()
            );
        }
    }
    verdict(&mut first, &mut last, &sizes)
}

fn extend(all: &mut Samples, more: Samples) {
    all.start.extend(more.start);
    all.list.extend(more.list);
    all.status.extend(more.status);
}

fn verdict(first: &mut Samples, last: &mut Samples, sizes: &[(i64, u64)]) -> Result<(), ExampleError> {
    let mut failures = Vec::new();
    for (what, first, last) in [
        ("start", &mut first.start, &mut last.start),
        ("list, for each execution", &mut first.list, &mut last.list),
        ("status", &mut first.status, &mut last.status),
    ] {
        let (first, last) = (median(first), median(last));
        let ratio = last.as_secs_f64() / first.as_secs_f64().max(1e-9);
        println!("{what}: {first:.1?} in the first week, {last:.1?} in the last one ({ratio:.2} times)");
        if ratio > MAX_SLOWDOWN && last.saturating_sub(first) > MIN_DIFFERENCE {
            failures.push(format!("{what} is {ratio:.2} times as slow as in the first week"));
        }
    }
    let at = |wanted: i64| sizes.iter().find(|(day, _)| *day >= wanted).map_or(0, |(_, bytes)| *bytes);
    // After 90 days of retention, and the branches of 120 days.
    let (begun, end) = (at(150), at(DAYS));
    #[allow(clippy::cast_precision_loss)]
    let growth = end as f64 / begun as f64;
    println!(
        "disk: {:.1} MiB after 150 days, {:.1} MiB after {DAYS} ({growth:.2} times)",
        mib(begun),
        mib(end)
    );
    if growth > MAX_GROWTH {
        failures.push(format!("the disk grew {growth:.2} times"));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

#[allow(clippy::cast_precision_loss)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn repository(number: u64) -> String {
    format!("https://git.example.org/team/app-{}", number % REPOSITORIES)
}

/// Runs an execution of two jobs with logs and an artifact; returns it with the time that its start took.
async fn run(
    services: &Services,
    stores: &tidemill_services::Stores,
    day: i64,
    number: i64,
) -> Result<(ExecutionId, Duration), ExampleError> {
    let request = ExecuteRequest {
        pipeline: "name: ci\nstages: [one, two]\ndefaults: { image: none }\njobs:\n  a: { stage: one, script: [\"true\"] }\n  \
                   b: { stage: two, script: [\"true\"] }\n"
            .to_owned(),
        repo: repository(number.unsigned_abs()),
        // Branches come and go.
        branch: Some(format!("topic-{}", day / 21 * BRANCHES + number / 7 % BRANCHES)),
        commit: Some(format!("{number:040x}")),
        force: true,
        ..ExecuteRequest::default()
    };
    let started = Instant::now();
    let id = services.pipelines.execute(request, None, None).await?.execution_id;
    let took = started.elapsed();
    for _ in 0..2 {
        let worker = WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "bench".into() };
        let request = JobExecuteRequest {
            labels: tidemill_core::pipeline::labels::Labels::new(),
            worker,
            job_id: None,
            execution_id: Some(id),
            lease: None,
            wait_ms: 5_000,
            lookahead: 0,
            slot_price: 0,
        };
        let JobExecuteReply::Assigned { assignment, .. } = services.jobs.execute(request).await? else {
            return Err(format!("no job of execution {id} is ready").into());
        };
        let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
        stores.logs.append(job_id, 1, 0, log(number).as_bytes()).await?;
        // A summary is an object in the same store as artifacts.
        let key = format!("logs/summaries/{id}/{job_id}/1");
        let bytes = stream::iter([Ok(Bytes::from(log(number)))]).boxed();
        stores.objects.put(&key, bytes).await?;
        let end = AttemptEnd { exit_code: Some(0), ..AttemptEnd::default() };
        let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end: Some(end) };
        services.jobs.report(report).await?;
    }
    Ok((id, took))
}

fn log(number: i64) -> String {
    let line = format!("compiling unit {number}\n");
    line.repeat(LOG_BYTES / line.len())
}

fn disk_usage(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_usage(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
