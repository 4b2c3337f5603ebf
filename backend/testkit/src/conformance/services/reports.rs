//! Checks of what reports write where each one costs money.

use crate::conformance::{StoresUnderTest, claims};
use std::sync::Arc;
use tidemill_core::execution::{
    assignment::Assignment,
    attempt::{ReportPace, WATCH_MS, heartbeat_ms},
    status::JobStatus,
};
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, JobReport, JobReportReply, LogBytes, LogContent},
    ids::JobId,
    pipeline::labels::Labels,
    time::Timestamp,
};
use tidemill_services::{Services, Settings, Stores, ports::Node};
use tokio_util::sync::CancellationToken;

const LEASE_TTL_MS: u64 = 60_000;
const THIRD_MS: i64 = 20_000;
const PIPELINE: &str = "name: reports\nstages: [s]\njobs: { a: { stage: s, image: i, script: 'true' } }\n";

/// A running job, and the stores behind its server.
struct Running {
    services: Services,
    stores: Arc<Stores>,
    assignment: Assignment,
    job: JobId,
    sent: u64,
}

impl Running {
    async fn start(subject: &StoresUnderTest) -> Self {
        let settings = Settings {
            lease_ttl_ms: LEASE_TTL_MS,
            report_pace: ReportPace::BATCHED,
            max_wait_ms: 0,
            continues_after_reply: false,
            ..Settings::default()
        };
        let services = Services::new(subject.open().await, settings, CancellationToken::new());
        let request = ExecuteRequest {
            pipeline: PIPELINE.into(),
            repo: "reports".into(),
            force: true,
            ..ExecuteRequest::default()
        };
        let id = services.pipelines.execute(request, None, None).await.unwrap().execution_id;
        let job = JobId::of(id, 0);
        let assignment = claims::claim(&services, job, Labels::new()).await.unwrap();
        let stores = Arc::new(subject.open().await);
        Self { services, stores, assignment, job, sent: 0 }
    }

    async fn node(&self) -> Node {
        self.stores.records.job(self.job).await.unwrap().unwrap()
    }

    async fn version(&self) -> u64 {
        self.node().await.version
    }

    async fn stored_bytes(&self) -> u64 {
        self.stores.logs.read(self.job, 1, 0, 0).await.unwrap().1
    }

    fn heartbeat(&self) -> JobReport {
        let (job_id, lease) = (self.job, self.assignment.lease.token);
        JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end: None }
    }

    async fn report(&self, report: JobReport) -> JobReportReply {
        self.services.jobs.report(report).await.unwrap()
    }

    async fn beat(&self) -> JobReportReply {
        self.report(self.heartbeat()).await
    }

    async fn print(&mut self, text: &str) -> JobReportReply {
        let (offset, length) = (self.sent, u32::try_from(text.len()).unwrap());
        self.sent += u64::from(length);
        let content = LogContent::Text(text.to_owned());
        let log = Some(LogBytes { offset, length, content, marks: Vec::new() });
        self.report(JobReport { log, ..self.heartbeat() }).await
    }

    async fn read_log(&self) -> Option<u64> {
        self.services.jobs.logs(self.job, None, 0, 1 << 20, 0).await.unwrap().poll_ms
    }
}

/// In a minute, a job that prints is written only at each third of its lease, and its place in the index of due nodes not at all; what it
/// prints is durable with each reply. The end records how much that was.
pub async fn batched_reports_write_at_a_third_of_the_lease(subject: &StoresUnderTest) {
    let mut job = Running::start(subject).await;
    let interval_ms = job.assignment.lease.report_interval_ms;
    assert_eq!(interval_ms, ReportPace::BATCHED.interval_ms);
    let (claimed, due_at) = (job.version().await, job.node().await.due_at);
    let heartbeat = i64::try_from(heartbeat_ms(LEASE_TTL_MS, interval_ms)).unwrap();
    let mut requests = 0;
    let mut at = heartbeat;
    while at < 3 * THIRD_MS {
        subject.clock.advance(heartbeat);
        // Even a worker that sends its output with every other request causes no more writes.
        let reply = if requests % 2 == 0 { job.print("a line\n").await } else { job.beat().await };
        assert_eq!((reply.cancel, reply.report_interval_ms), (false, interval_ms));
        assert_eq!(job.stored_bytes().await, job.sent, "acknowledged bytes are durable");
        requests += 1;
        at += heartbeat;
    }
    assert_eq!((requests, job.version().await - claimed), (11, 2), "eleven requests, and two writes");
    assert_eq!(job.node().await.due_at, due_at, "the index of due nodes is unchanged");
    assert!(job.sent > 0);

    subject.clock.advance(heartbeat);
    let before = job.version().await;
    job.services.sweep.run().await.unwrap();
    let node = job.node().await;
    assert_eq!((node.version, node.state.status()), (before, Some(JobStatus::Running)), "its lease is valid");
    assert!(node.due_at > due_at, "the sweep moves it to the end of its lease");

    let end = Some(AttemptEnd { exit_code: Some(0), ..AttemptEnd::default() });
    job.report(JobReport { end, ..job.heartbeat() }).await;
    let view =
        job.services.pipelines.view(job.node().await.key.execution, None, 0).await.unwrap().view.unwrap();
    assert_eq!((view.jobs[0].status, view.jobs[0].log_bytes), (JobStatus::Success, job.sent));
    assert_eq!(job.read_log().await, None, "no more will follow");
}

/// While a user reads the log of a running job, its worker is to report more often; few of the reads write.
pub async fn reader_of_a_log_makes_its_worker_report_more_often(subject: &StoresUnderTest) {
    let mut job = Running::start(subject).await;
    let pace = ReportPace::BATCHED;
    let before = job.version().await;
    for _ in 0..5 {
        assert_eq!(job.read_log().await, Some(pace.watched_interval_ms));
        subject.clock.advance(1_000);
    }
    assert_eq!(job.version().await, before + 1, "one write for five reads");
    assert_eq!(job.beat().await.report_interval_ms, pace.watched_interval_ms);
    assert_eq!(job.print("seen soon\n").await.report_interval_ms, pace.watched_interval_ms);
    assert_eq!(job.version().await, before + 1, "the bytes are not in the record");
    let mut left_ms = WATCH_MS - 5_000;
    while left_ms > 0 {
        let step = left_ms.min(THIRD_MS);
        subject.clock.advance(step);
        left_ms -= step;
        let expected = if left_ms > 0 { pace.watched_interval_ms } else { pace.interval_ms };
        assert_eq!(job.beat().await.report_interval_ms, expected, "{left_ms} ms before the watch ends");
    }
}

/// A cancel is in the next reply, which writes nothing but the lease; a lost worker is found although its lease was renewed without a
/// change of the index, and its log is kept.
pub async fn cancel_and_lost_worker_are_seen_between_writes(subject: &StoresUnderTest) {
    let job = Running::start(subject).await;
    subject.clock.advance(1_000);
    assert!(!job.beat().await.cancel);
    assert!(job.services.jobs.cancel(job.job).await.unwrap().canceled);
    assert!(job.beat().await.cancel, "the next request sees it");

    let mut lost = Running::start(subject).await;
    subject.clock.advance(THIRD_MS);
    let renewed = lost.print("before it was lost\n").await;
    assert_eq!(renewed.lease_ttl_ms, LEASE_TTL_MS);
    lost.print("not in the record\n").await;
    let expires_at = |node: &Node| -> Option<Timestamp> {
        let tidemill_services::ports::NodeBody::Job(item) = &node.state.body else { return None };
        item.job.lease.as_ref().map(|lease| lease.expires_at)
    };
    let node = lost.node().await;
    assert!(node.due_at < expires_at(&node), "the index is as the claim left it");
    // The first sweep after the claim's expiry moves it, the one after the lease's expiry ends the attempt.
    for _ in 0..2 {
        subject.clock.advance(2 * THIRD_MS);
        lost.services.sweep.run().await.unwrap();
    }
    let node = lost.node().await;
    assert_eq!(node.state.status(), Some(JobStatus::Queued), "another worker may run it");
    assert_eq!(lost.stored_bytes().await, lost.sent);
    assert!(lost.services.jobs.report(lost.heartbeat()).await.is_err(), "its lease is over");
}
