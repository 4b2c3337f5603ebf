//! Checks of the list of workers, over the adapters.

pub mod outside_worker;

use crate::conformance::StoresUnderTest;
use tidemill_core::{
    api::{DrainWorkersRequest, RemoveWorkersRequest, WorkerInfo, WorkerJob, WorkerReport, WorkerView},
    ids::{ExecutionId, JobId, WorkerId},
};
use tidemill_services::{Error, Services, Settings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn report(name: &str) -> WorkerReport {
    let execution_id = ExecutionId(Uuid::now_v7());
    WorkerReport {
        worker: WorkerInfo { id: WorkerId(Uuid::now_v7()), name: name.into() },
        labels: [("arch".to_owned(), "arm64".to_owned())].into(),
        version: "1.2.3".into(),
        slots: 2,
        disk: None,
        running: vec![WorkerJob {
            job_id: JobId::of(execution_id, 0),
            execution_id,
            job_name: "unit".into(),
        }],
        draining: false,
        stopped: false,
    }
}

/// Returns the workers whose names begin with `prefix`.
async fn named(services: &Services, prefix: &str) -> Vec<WorkerView> {
    let all = services.workers.list().await.unwrap().workers;
    all.into_iter().filter(|worker| worker.name.starts_with(prefix)).collect()
}

/// A worker is listed from its first report to its last one, or for a day.
pub async fn workers_are_listed_while_they_report(subject: &StoresUnderTest) {
    let services = Services::new(subject.open().await, Settings::default(), CancellationToken::new());
    let prefix = format!("w{}-", Uuid::now_v7());
    let (one, two) = (report(&format!("{prefix}1")), report(&format!("{prefix}2")));
    for report in [&two, &one] {
        assert!(!services.workers.report(report.clone()).await.unwrap().drain);
    }
    let listed = named(&services, &prefix).await;
    let names: Vec<_> = listed.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, [one.worker.name.as_str(), two.worker.name.as_str()]);
    let first = &listed[0];
    assert_eq!((first.id, &first.labels, first.slots), (one.worker.id, &one.labels, 2));
    assert_eq!((first.version.as_str(), &first.running), ("1.2.3", &one.running));
    assert!(first.online && !first.draining);
    subject.clock.advance(120_000);
    services.workers.report(WorkerReport { running: Vec::new(), ..one.clone() }).await.unwrap();
    subject.clock.advance(60_000);
    let listed = named(&services, &prefix).await;
    let online: Vec<_> = listed.iter().map(|worker| worker.online).collect();
    assert_eq!(online, [true, false]);
    assert_eq!(listed[0].last_seen_at.since_ms(listed[0].first_seen_at), 120_000);
    assert_eq!(listed[0].running, []);
    services.workers.report(WorkerReport { stopped: true, ..one }).await.unwrap();
    assert_eq!(named(&services, &prefix).await.len(), 1);
    subject.clock.advance(86_400_000);
    assert_eq!(named(&services, &prefix).await, []);

    let long = WorkerReport { version: "v".repeat(301), ..two.clone() };
    let many = WorkerReport { running: vec![two.running[0].clone(); 257], ..two };
    for report in [long, many] {
        assert!(matches!(services.workers.report(report).await, Err(Error::Invalid(_))));
    }
}

/// A worker learns at its next report that it must drain, whoever asks by name or id.
pub async fn worker_drains_when_asked(subject: &StoresUnderTest) {
    let services = Services::new(subject.open().await, Settings::default(), CancellationToken::new());
    let prefix = format!("w{}-", Uuid::now_v7());
    let (one, two) = (report(&format!("{prefix}same")), report(&format!("{prefix}same")));
    let other = report(&format!("{prefix}other"));
    for report in [&one, &two, &other] {
        services.workers.report(report.clone()).await.unwrap();
    }
    let drain = |worker: String| {
        let services = &services;
        async move { services.workers.drain(&DrainWorkersRequest { worker }).await }
    };
    assert_eq!(drain(one.worker.name.clone()).await.unwrap().workers.len(), 2);
    for (report, expected) in [(&one, true), (&two, true), (&other, false)] {
        assert_eq!(services.workers.report(report.clone()).await.unwrap().drain, expected);
    }
    let draining: Vec<_> = named(&services, &prefix).await.iter().map(|worker| worker.draining).collect();
    assert_eq!(draining, [false, true, true]);
    drain(other.worker.id.to_string()).await.unwrap();
    assert!(services.workers.report(other.clone()).await.unwrap().drain);
    // Someone else may have reported that it stopped.
    services.workers.report(WorkerReport { stopped: true, ..other.clone() }).await.unwrap();
    assert_eq!(named(&services, &prefix).await.len(), 2);
    assert!(matches!(drain(other.worker.id.to_string()).await, Err(Error::NotFound(_))));
    assert!(services.workers.report(other).await.unwrap().drain, "it still drains");
    assert_eq!(named(&services, &prefix).await.len(), 3);
    let remove = |worker: String| {
        let services = &services;
        async move { services.workers.remove(&RemoveWorkersRequest { worker }).await }
    };
    assert!(matches!(remove(one.worker.name.clone()).await, Err(Error::Conflict(_))), "they are there");
    subject.clock.advance(200_000);
    services.workers.report(one.clone()).await.unwrap();
    let removed = remove(one.worker.name.clone()).await.unwrap().workers;
    assert_eq!(removed.iter().map(|worker| worker.id).collect::<Vec<_>>(), [two.worker.id]);
    assert!(matches!(remove(format!("{prefix}none")).await, Err(Error::NotFound(_))));
    assert_eq!(named(&services, &prefix).await.len(), 2);
    let unknown = drain(format!("{prefix}none")).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
}
