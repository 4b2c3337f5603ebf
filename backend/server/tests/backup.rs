//! The restore drill: a server under load is backed up, destroyed and restored, and goes on.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, WorkerInfo},
    execution::{assignment::Assignment, status::ExecutionStatus},
    ids::{ExecutionId, JobId, WorkerId},
    pipeline::labels::Labels,
    time::Timestamp,
};
use tidemill_server::backup::{BackupOptions, BackupReport, BackupRepository, back_up, restore, verify};
use tidemill_services::{Error, Services, Settings, Stores, SystemClock, ports::Clock};
use tidemill_sqlite::open;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LEASE_TTL_MS: u64 = 4_000;
const CALLERS: u32 = 4;
const TWO_JOBS: &str =
    "name: ci\ndefaults: { image: i }\njobs: { a: { script: x }, b: { needs: [a], script: x } }\n";

fn services(stores: Stores) -> Services {
    let settings = Settings { lease_ttl_ms: LEASE_TTL_MS, ..Settings::default() };
    Services::new(stores, settings, CancellationToken::new())
}

async fn start(services: &Services) -> ExecutionId {
    let request = ExecuteRequest {
        pipeline: TWO_JOBS.into(),
        repo: "https://git.example.org/team/app".into(),
        force: true,
        ..ExecuteRequest::default()
    };
    services.pipelines.execute(request, None, None).await.unwrap().execution_id
}

async fn claim(services: &Services, execution: ExecutionId) -> Box<Assignment> {
    let request = JobExecuteRequest {
        labels: Labels::new(),
        worker: WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "w".into() },
        job_id: None,
        execution_id: Some(execution),
        lease: None,
        wait_ms: 5_000,
        lookahead: 0,
        slot_price: 0,
    };
    match services.jobs.execute(request).await.unwrap() {
        JobExecuteReply::Assigned { assignment, .. } => assignment,
        JobExecuteReply::Nothing { .. } => panic!("no job of execution {execution} is ready"),
    }
}

async fn end(services: &Services, assignment: &Assignment) {
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let end = AttemptEnd { exit_code: Some(0), ..AttemptEnd::default() };
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end: Some(end) };
    services.jobs.report(report).await.unwrap();
}

fn text_of(job: JobId) -> String {
    format!("log of {job}\n").repeat(200)
}

/// Runs an execution with logs and an object for each job, to its end.
async fn run(stores: &Stores, services: &Services) -> (ExecutionId, Vec<JobId>) {
    let id = start(services).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let assignment = claim(services, id).await;
        let job = assignment.preparation.job_id;
        stores.logs.append(job, 1, 0, text_of(job).as_bytes()).await.unwrap();
        let bytes = stream::iter([Ok(Bytes::from(text_of(job)))]).boxed();
        stores.objects.put(&format!("artifacts/{job}/1"), bytes).await.unwrap();
        end(services, &assignment).await;
        jobs.push(job);
    }
    (id, jobs)
}

async fn assert_whole(stores: &Stores, services: &Services, (id, jobs): &(ExecutionId, Vec<JobId>)) {
    let view = services.pipelines.view(*id, None, 0).await.unwrap().view.unwrap();
    assert_eq!(view.execution.status, ExecutionStatus::Success);
    for job in jobs {
        let (log, _) = stores.logs.read(*job, 1, 0, 1 << 20).await.unwrap();
        assert_eq!(log, text_of(*job).as_bytes());
        let info = stores.objects.info(&format!("artifacts/{job}/1")).await.unwrap().unwrap();
        assert_eq!(info.size, log.len() as u64);
    }
}

async fn make(data: &Path, repository: &BackupRepository, keep: Option<usize>) -> BackupReport {
    let options = BackupOptions { keep, ..BackupOptions::default() };
    let now = SystemClock.now();
    back_up(data, repository, &options, (now, "1")).await.unwrap()
}

/// Under load, a backup has everything that was acknowledged before it began. A server on the restored directory shows it, ends the
/// executions that ran, and accepts new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn restored_server_has_everything_acknowledged_before_the_backup() {
    let directory = tempfile::tempdir().unwrap();
    let (data, target) = (directory.path().join("data"), directory.path().join("backup"));
    let stores = open(&data).unwrap();
    let services = services(stores.clone());
    fs::write(data.join("token"), "t".repeat(43)).unwrap();
    let mut before = Vec::new();
    for _ in 0..10 {
        before.push(run(&stores, &services).await);
    }
    // One waits, and one runs: its first job is claimed and has a log.
    let waiting = start(&services).await;
    let running = start(&services).await;
    let assignment = claim(&services, running).await;
    stores.logs.append(assignment.preparation.job_id, 1, 0, b"begun\n").await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..CALLERS {
        let (stores, services, stop) = (stores.clone(), services.clone(), stop.clone());
        load.spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                run(&stores, &services).await;
                number += 1;
            }
            number
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let repository = BackupRepository::in_directory(&target).unwrap();
    make(&data, &repository, None).await;
    // What is acknowledged now is in the next backup.
    before.push(run(&stores, &services).await);
    let second = make(&data, &repository, None).await;
    stop.store(true, Ordering::Relaxed);
    let during: u32 = load.join_all().await.into_iter().sum();
    assert!(during > 0, "there was load");
    assert!(second.new_bytes < second.backup.bytes, "the second one is incremental: {second:?}");
    assert_eq!(verify(&repository, None).await.unwrap().backup, second.backup);

    drop((services, stores));
    // Its threads may still be writing.
    while data.exists() {
        drop(fs::remove_dir_all(&data));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let restored = directory.path().join("restored");
    let report = restore(&repository, None, &restored).await.unwrap();
    assert_eq!(report.backup, second.backup);
    assert_eq!(fs::read_to_string(restored.join("token")).unwrap().len(), 43);
    let stores = open(&restored).unwrap();
    let services = self::services(stores.clone());
    for execution in &before {
        assert_whole(&stores, &services, execution).await;
    }
    // The worker of the running job is gone: its lease expires, and another attempt runs.
    tokio::time::sleep(Duration::from_millis(LEASE_TTL_MS + 200)).await;
    services.sweep.resend_queued().await.unwrap();
    services.sweep.run().await.unwrap();
    for id in [waiting, running] {
        for _ in 0..2 {
            let assignment = claim(&services, id).await;
            end(&services, &assignment).await;
        }
        let view = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
        assert_eq!(view.execution.status, ExecutionStatus::Success);
    }
    run(&stores, &services).await;
}

/// A damaged or missing chunk is found by a check, and nothing of such a backup starts a server.
#[tokio::test]
async fn damaged_backup_is_found_and_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let (data, target) = (directory.path().join("data"), directory.path().join("backup"));
    let stores = open(&data).unwrap();
    let services = services(stores.clone());
    run(&stores, &services).await;
    let repository = BackupRepository::in_directory(&target).unwrap();
    let report = make(&data, &repository, None).await;
    verify(&repository, None).await.unwrap();
    let manifest = repository.manifest(&report.backup).await.unwrap();
    let database = manifest.files.iter().find(|file| file.path == "tidemill.db").unwrap();
    let chunk = &database.chunks[0];
    fs::remove_file(target.join(format!("chunks/{}/{chunk}.object", &chunk[..2]))).unwrap();
    assert!(matches!(verify(&repository, None).await, Err(Error::Damaged(_))));
    let restored = directory.path().join("restored");
    assert!(restore(&repository, None, &restored).await.is_err());
    assert!(open(&restored).is_err(), "a part of a backup is no data directory");
    let missing = restore(&repository, Some("none"), &directory.path().join("other")).await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
    let used = restore(&repository, None, &data).await;
    assert!(matches!(used, Err(Error::Invalid(_))), "{used:?}");
}

/// The backup of a server without logs, artifacts and secrets has nothing but its records and its token.
#[tokio::test]
async fn part_of_a_backup_of_a_new_server_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let (data, target) = (directory.path().join("data"), directory.path().join("backup"));
    let _stores = open(&data).unwrap();
    fs::write(data.join("token"), "t".repeat(43)).unwrap();
    let repository = BackupRepository::in_directory(&target).unwrap();
    let report = make(&data, &repository, None).await;
    let manifest = repository.manifest(&report.backup).await.unwrap();
    for path in ["token", "tidemill.db"] {
        let file = manifest.files.iter().find(|file| file.path == path).unwrap();
        let chunk = file.chunks.last().unwrap();
        fs::remove_file(target.join(format!("chunks/{}/{chunk}.object", &chunk[..2]))).unwrap();
        let restored = directory.path().join(format!("without-{path}"));
        assert!(restore(&repository, None, &restored).await.is_err());
        assert!(open(&restored).is_err(), "a part of a backup is no data directory");
    }
}

/// Old backups are removed with the chunks that only they have, and those that are kept stay whole. The key can be left out.
#[tokio::test]
async fn pruned_backups_leave_the_others_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (data, target) = (directory.path().join("data"), directory.path().join("backup"));
    let stores = open(&data).unwrap();
    stores.keys.keys().await.unwrap();
    let services = services(stores.clone());
    let repository = BackupRepository::in_directory(&target).unwrap();
    let mut executions = Vec::new();
    for _ in 0..3 {
        executions.push(run(&stores, &services).await);
        let gone = executions[0].1[0];
        // An artifact that only the first backup has.
        make(&data, &repository, Some(2)).await;
        stores.objects.delete(&format!("artifacts/{gone}/1")).await.unwrap();
    }
    let backups = repository.list().await.unwrap();
    assert_eq!(backups.len(), 2);
    for entry in &backups {
        verify(&repository, Some(&entry.id)).await.unwrap();
    }
    let options = BackupOptions { without_key: true, keep: None };
    let report = back_up(&data, &repository, &options, (Timestamp(4_000_000_000_000), "1")).await.unwrap();
    let manifest = repository.manifest(&report.backup).await.unwrap();
    assert!(manifest.files.iter().all(|file| file.path != "secret.key"));
    assert!(report.new_bytes < report.backup.bytes, "hardly anything changed");
}
