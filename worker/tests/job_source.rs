//! A conformance suite for every `JobSource`, against a fake of the server's API.

#[cfg(feature = "sqs")]
mod sqs;

use async_trait::async_trait;
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tidemill_core::execution::assignment::{
    Assignment, CheckoutRefs, ContainerOptions, ImageOptions, JobExtras, LeaseGrant, Origin, Preparation,
    PullPolicy, Resources, Source,
};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest, WorkerInfo, path},
    ids::{ExecutionId, JobId, LeaseToken, WorkerId},
    pipeline::Checkout,
};
use tidemill_worker::{
    client::ApiClient,
    job_source::{JobOffer, JobRequest, JobSource, JobSourceError, LongPoll},
};
use tokio_util::sync::CancellationToken;

/// Longer than any operation takes on a loaded machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the fake server holds a request.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The server's records of jobs.
#[derive(Default)]
struct FakeServer {
    /// Whether each job may be claimed.
    queued: Mutex<HashMap<JobId, bool>>,
    /// Every requested job.
    requested: Mutex<Vec<JobId>>,
    /// The error status of every reply, if set.
    failure: Mutex<Option<StatusCode>>,
}

impl FakeServer {
    fn put(&self, job: JobId, queued: bool) {
        self.queued.lock().unwrap().insert(job, queued);
    }

    fn fail_with(&self, status: Option<StatusCode>) {
        *self.failure.lock().unwrap() = status;
    }

    fn request_count(&self, job: JobId) -> usize {
        self.requested.lock().unwrap().iter().filter(|requested| **requested == job).count()
    }

    fn claim(&self, job_id: Option<JobId>) -> JobExecuteReply {
        let mut queued = self.queued.lock().unwrap();
        self.requested.lock().unwrap().extend(job_id);
        let mut ready = queued.iter_mut().filter(|(_, queued)| **queued);
        match ready.find(|(job, _)| job_id.is_none_or(|job_id| job_id == **job)) {
            Some((job, queued)) => {
                *queued = false;
                JobExecuteReply::Assigned { assignment: Box::new(assignment(*job)), upcoming: Vec::new() }
            }
            None => JobExecuteReply::Nothing { reason: "claimed or finished".into() },
        }
    }
}

async fn execute(
    State(records): State<Arc<FakeServer>>,
    Json(request): Json<JobExecuteRequest>,
) -> Result<Json<JobExecuteReply>, StatusCode> {
    let started = Instant::now();
    loop {
        if let Some(status) = *records.failure.lock().unwrap() {
            return Err(status);
        }
        let reply = records.claim(request.job_id);
        let waited = started.elapsed() >= Duration::from_millis(request.wait_ms).min(MAX_WAIT);
        if waited || matches!(reply, JobExecuteReply::Assigned { .. }) {
            return Ok(Json(reply));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn serve(records: Arc<FakeServer>) -> ApiClient {
    let router = Router::new().route(path::JOB_EXECUTE, post(execute)).with_state(records);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    ApiClient::new(&format!("http://{address}"), "token")
}

fn assignment(job_id: JobId) -> Assignment {
    Assignment {
        preparation: Preparation {
            job_id,
            execution_id: ExecutionId(uuid::Uuid::now_v7()),
            image: "image".into(),
            image_options: ImageOptions::default(),
            pull_policy: Some(PullPolicy::Never),
            resources: Resources::default(),
            working_dir: None,
            source: Source::None,
            container: ContainerOptions::default(),
            origin: Origin::default(),
            checkout: Checkout::default(),
            refs: CheckoutRefs::default(),
            credential: None,
        },
        job_name: "job".into(),
        stage: "test".into(),
        attempt: 1,
        lease: LeaseGrant {
            token: LeaseToken(uuid::Uuid::now_v7()),
            ttl_ms: 30_000,
            report_interval_ms: 1000,
        },
        script: Vec::new(),
        variables: indexmap::IndexMap::default(),
        timeout_s: 30,
        artifacts: None,
        needs_artifacts: Vec::new(),
        trace: None,
        extras: JobExtras::default(),
    }
}

/// Delivers job ids from the records to the source.
#[async_trait]
trait MessageCarrier: Send + Sync {
    /// Announces that `job` is queued.
    async fn send(&self, job: JobId);
    /// Returns the number of jobs that are in transit, or received and not settled.
    async fn unsettled(&self) -> usize;
    /// Returns whether a job that is neither held nor settled is delivered again.
    fn redelivers(&self) -> bool;
}

/// No messages: the source asks the server, which has the queue.
struct NoCarrier;

#[async_trait]
impl MessageCarrier for NoCarrier {
    async fn send(&self, _: JobId) {}

    async fn unsettled(&self) -> usize {
        0
    }

    fn redelivers(&self) -> bool {
        false
    }
}

struct JobSourceFixture {
    records: Arc<FakeServer>,
    carrier: Box<dyn MessageCarrier>,
    source: Arc<dyn JobSource>,
    /// How long a request waits.
    wait: Duration,
    /// How long an unheld job stays hidden.
    hidden: Duration,
}

impl JobSourceFixture {
    async fn queue(&self) -> JobId {
        let job = JobId(uuid::Uuid::now_v7());
        self.records.put(job, true);
        self.carrier.send(job).await;
        job
    }

    async fn next(&self) -> Result<Option<JobOffer>, JobSourceError> {
        let (request, never) = (request(), CancellationToken::new());
        let reply = self.source.next(&request, &never);
        tokio::time::timeout(TEST_TIMEOUT, reply).await.expect("the source replies")
    }

    /// Waits for the next job.
    async fn offer(&self) -> JobOffer {
        let started = Instant::now();
        loop {
            if let Some(offer) = self.next().await.unwrap() {
                return offer;
            }
            assert!(started.elapsed() < TEST_TIMEOUT, "no job is offered");
        }
    }

    async fn until_all_settled(&self) {
        let started = Instant::now();
        while self.carrier.unsettled().await > 0 {
            assert!(started.elapsed() < TEST_TIMEOUT, "messages remain");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn request() -> JobRequest {
    JobRequest {
        labels: tidemill_core::pipeline::labels::Labels::new(),
        worker: WorkerInfo { id: WorkerId(uuid::Uuid::now_v7()), name: "test".into() },
        lookahead: 0,
        slot_price: 0,
        no_wait: false,
    }
}

fn job_of(offer: &JobOffer) -> JobId {
    offer.assignment.preparation.job_id
}

/// Checks the contract of a source. `bench` creates a source with an empty queue.
async fn conforms(bench: impl AsyncFn() -> JobSourceFixture) {
    queued_job_is_offered_once(&bench().await).await;
    rejected_jobs_are_dropped(&bench().await).await;
    concurrent_requests_get_distinct_jobs(&bench().await).await;
    non_blocking_request_does_not_wait(&bench().await).await;
    stop_ends_the_wait(&bench().await).await;
    server_failure_loses_no_job(&bench().await).await;
    rejected_worker_gets_an_error_and_no_job(&bench().await).await;
    held_job_is_not_offered_again(&bench().await).await;
    settled_job_is_offered_again_only_when_queued_again(&bench().await).await;
}

async fn queued_job_is_offered_once(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    let offer = bench.offer().await;
    assert_eq!(job_of(&offer), job);
    assert!(bench.next().await.unwrap().is_none(), "the job is offered once");
    bench.source.settle(offer.receipt).await;
    bench.until_all_settled().await;
}

async fn rejected_jobs_are_dropped(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    bench.records.put(job, false);
    assert!(bench.next().await.unwrap().is_none());
    bench.until_all_settled().await;
    assert!(bench.next().await.unwrap().is_none());
    assert!(bench.records.request_count(job) <= 1, "the job is not requested again");
}

async fn concurrent_requests_get_distinct_jobs(bench: &JobSourceFixture) {
    let mut expected = [bench.queue().await, bench.queue().await];
    let offers = tokio::join!(bench.offer(), bench.offer());
    let mut offered = [job_of(&offers.0), job_of(&offers.1)];
    expected.sort_unstable();
    offered.sort_unstable();
    assert_eq!(offered, expected);
}

async fn non_blocking_request_does_not_wait(bench: &JobSourceFixture) {
    let (glance, never) = (JobRequest { no_wait: true, ..request() }, CancellationToken::new());
    let started = Instant::now();
    for _ in 0..3 {
        assert!(bench.source.next(&glance, &never).await.unwrap().is_none());
    }
    assert!(started.elapsed() < bench.wait * 3, "a non-blocking request does not wait");
    let job = bench.queue().await;
    let started = Instant::now();
    loop {
        // A real queue may not return a message immediately to a non-blocking request.
        match bench.source.next(&glance, &never).await.unwrap() {
            Some(offer) => break assert_eq!(job_of(&offer), job),
            None => assert!(started.elapsed() < TEST_TIMEOUT, "the job is never offered"),
        }
    }
}

async fn stop_ends_the_wait(bench: &JobSourceFixture) {
    let stop = CancellationToken::new();
    let request = request();
    let reply = bench.source.next(&request, &stop);
    let stopping = async {
        tokio::task::yield_now().await;
        stop.cancel();
    };
    let (reply, ()) = tokio::join!(tokio::time::timeout(TEST_TIMEOUT, reply), stopping);
    assert!(reply.expect("the wait ends").unwrap().is_none());
    assert!(bench.source.next(&request, &stop).await.unwrap().is_none(), "the stop is permanent");
    // A job queued later is for other workers.
    let job = bench.queue().await;
    assert!(bench.source.next(&request, &stop).await.unwrap().is_none());
    assert_eq!(job_of(&bench.offer().await), job);
}

async fn server_failure_loses_no_job(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS] {
        bench.records.fail_with(Some(status));
        let started = Instant::now();
        while !matches!(bench.next().await, Err(JobSourceError::Transient(_))) {
            assert!(started.elapsed() < TEST_TIMEOUT, "the failure is reported");
        }
    }
    bench.records.fail_with(None);
    assert_eq!(job_of(&bench.offer().await), job);
}

async fn rejected_worker_gets_an_error_and_no_job(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    bench.records.fail_with(Some(StatusCode::UNAUTHORIZED));
    assert!(matches!(bench.next().await, Err(JobSourceError::Rejected(_))));
    bench.records.fail_with(None);
    assert_eq!(job_of(&bench.offer().await), job);
}

async fn held_job_is_not_offered_again(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    let offer = bench.offer().await;
    let requests = bench.records.request_count(job);
    let holding = async {
        let started = Instant::now();
        while started.elapsed() < bench.hidden * 3 {
            assert!(bench.next().await.unwrap().is_none());
        }
    };
    tokio::select! {
        () = holding => {}
        never = bench.source.hold(&offer.receipt) => match never {},
    }
    assert_eq!(bench.records.request_count(job), requests, "the job was not delivered");
    if bench.carrier.redelivers() {
        // An unheld job is delivered again, so that holding it was effective. The server rejects the claim then.
        let started = Instant::now();
        while bench.records.request_count(job) == requests {
            assert!(bench.next().await.unwrap().is_none());
            assert!(started.elapsed() < TEST_TIMEOUT, "the job is never offered");
        }
        bench.until_all_settled().await;
    }
}

async fn settled_job_is_offered_again_only_when_queued_again(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    let offer = bench.offer().await;
    bench.source.settle(offer.receipt.clone()).await;
    bench.until_all_settled().await;
    assert!(bench.next().await.unwrap().is_none());
    // The job is given back: the server queues and announces it again.
    bench.records.put(job, true);
    bench.carrier.send(job).await;
    let again = bench.offer().await;
    assert_eq!(job_of(&again), job);
    // Settling the first delivery twice does not affect the second one.
    bench.source.settle(offer.receipt).await;
    bench.source.settle(again.receipt).await;
    bench.until_all_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_poll_conforms() {
    conforms(async || {
        let records = Arc::new(FakeServer::default());
        let source = Arc::new(LongPoll::new(serve(records.clone()).await, None));
        let (wait, hidden) = (MAX_WAIT, Duration::from_millis(100));
        JobSourceFixture { records, carrier: Box::new(NoCarrier), source, wait, hidden }
    })
    .await;
}
