//! One suite for all that jobs come from: the contract of `JobSource`, against a double of the server's API.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "sqs")]
mod support;

use async_trait::async_trait;
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tidemill_core::execution::assignment::{
    Assignment, JobExtras, LeaseGrant, Preparation, PullPolicy, Resources, Source,
};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest, WorkerInfo, path},
    ids::{ExecutionId, JobId, LeaseToken, WorkerId},
};
use tidemill_worker::{
    client::ApiClient,
    job_source::{JobOffer, JobRequest, JobSource, JobSourceError, LongPoll},
};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a loaded machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the double of the server lets one who asks wait.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The server's records, as far as they matter here.
#[derive(Default)]
struct FakeServer {
    /// Whether each job may be claimed.
    queued: Mutex<HashMap<JobId, bool>>,
    /// Every job that was asked for.
    asked: Mutex<Vec<JobId>>,
    /// What is answered instead.
    broken: Mutex<Option<StatusCode>>,
}

impl FakeServer {
    fn put(&self, job: JobId, queued: bool) {
        self.queued.lock().unwrap().insert(job, queued);
    }

    fn breaks(&self, how: Option<StatusCode>) {
        *self.broken.lock().unwrap() = how;
    }

    fn asked(&self, job: JobId) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| **asked == job).count()
    }

    fn claim(&self, wanted: Option<JobId>) -> JobExecuteReply {
        let mut queued = self.queued.lock().unwrap();
        self.asked.lock().unwrap().extend(wanted);
        let mut ready = queued.iter_mut().filter(|(_, queued)| **queued);
        match ready.find(|(job, _)| wanted.is_none_or(|wanted| wanted == **job)) {
            Some((job, queued)) => {
                *queued = false;
                JobExecuteReply::Assigned { assignment: Box::new(assignment(*job)), upcoming: Vec::new() }
            }
            None => JobExecuteReply::Nothing { reason: "taken or over".into() },
        }
    }
}

async fn execute(
    State(records): State<Arc<FakeServer>>,
    Json(request): Json<JobExecuteRequest>,
) -> Result<Json<JobExecuteReply>, StatusCode> {
    let begun = Instant::now();
    loop {
        if let Some(status) = *records.broken.lock().unwrap() {
            return Err(status);
        }
        let reply = records.claim(request.job_id);
        let waited = begun.elapsed() >= Duration::from_millis(request.wait_ms).min(MAX_WAIT);
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
            pull_policy: PullPolicy::Never,
            resources: Resources::default(),
            working_dir: None,
            source: Source::None,
        },
        job_name: "job".into(),
        stage: "test".into(),
        attempt: 1,
        lease: LeaseGrant { token: LeaseToken(uuid::Uuid::now_v7()), ttl_ms: 30_000 },
        script: Vec::new(),
        variables: indexmap::IndexMap::default(),
        timeout_s: 30,
        artifacts: None,
        needs_artifacts: Vec::new(),
        trace: None,
        extras: JobExtras::default(),
    }
}

/// What carries job ids from the records to the source.
#[async_trait]
trait MessageCarrier: Send + Sync {
    /// Says that `job` is queued.
    async fn send(&self, job: JobId);
    /// How many jobs are on their way, or were received and are not settled.
    async fn left(&self) -> usize;
    /// Whether a job that is let go of without a word shows again.
    fn shows_again(&self) -> bool;
}

/// The server has the queue: its records say it all.
struct NoCarrier;

#[async_trait]
impl MessageCarrier for NoCarrier {
    async fn send(&self, _: JobId) {}

    async fn left(&self) -> usize {
        0
    }

    fn shows_again(&self) -> bool {
        false
    }
}

struct JobSourceFixture {
    records: Arc<FakeServer>,
    carrier: Box<dyn MessageCarrier>,
    source: Arc<dyn JobSource>,
    /// How long one who asks waits.
    wait: Duration,
    /// For how long a job that nobody holds is hidden.
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
        let (asker, never) = (ask(), CancellationToken::new());
        let asked = self.source.next(&asker, &never);
        tokio::time::timeout(TEST_TIMEOUT, asked).await.expect("the source answers")
    }

    /// The next job, however long it takes.
    async fn offer(&self) -> JobOffer {
        let begun = Instant::now();
        loop {
            if let Some(offer) = self.next().await.unwrap() {
                return offer;
            }
            assert!(begun.elapsed() < TEST_TIMEOUT, "no job comes");
        }
    }

    async fn until_nothing_is_left(&self) {
        let begun = Instant::now();
        while self.carrier.left().await > 0 {
            assert!(begun.elapsed() < TEST_TIMEOUT, "something stays");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn ask() -> JobRequest {
    JobRequest {
        labels: tidemill_core::pipeline::labels::Labels::new(),
        worker: WorkerInfo { id: WorkerId(uuid::Uuid::now_v7()), name: "test".into() },
        lookahead: 0,
        glance: false,
    }
}

fn job_of(offer: &JobOffer) -> JobId {
    offer.assignment.preparation.job_id
}

/// All that every source must do. `bench` makes one with an empty queue.
async fn conforms(bench: impl AsyncFn() -> JobSourceFixture) {
    a_queued_job_is_offered_once(&bench().await).await;
    rejected_jobs_are_dropped(&bench().await).await;
    concurrent_requests_get_distinct_jobs(&bench().await).await;
    non_blocking_request_does_not_wait(&bench().await).await;
    a_stop_ends_the_wait(&bench().await).await;
    a_server_that_fails_costs_time_and_no_job(&bench().await).await;
    a_worker_that_is_refused_is_told_and_takes_nothing_with_it(&bench().await).await;
    held_job_is_not_offered_again(&bench().await).await;
    a_settled_job_comes_again_only_when_it_is_queued_again(&bench().await).await;
}

async fn a_queued_job_is_offered_once(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    let offer = bench.offer().await;
    assert_eq!(job_of(&offer), job);
    assert!(bench.next().await.unwrap().is_none(), "once");
    bench.source.settle(offer.receipt).await;
    bench.until_nothing_is_left().await;
}

async fn rejected_jobs_are_dropped(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    bench.records.put(job, false);
    assert!(bench.next().await.unwrap().is_none());
    bench.until_nothing_is_left().await;
    assert!(bench.next().await.unwrap().is_none());
    assert!(bench.records.asked(job) <= 1, "it is not asked for again");
}

async fn concurrent_requests_get_distinct_jobs(bench: &JobSourceFixture) {
    let mut wanted = [bench.queue().await, bench.queue().await];
    let offers = tokio::join!(bench.offer(), bench.offer());
    let mut got = [job_of(&offers.0), job_of(&offers.1)];
    wanted.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, wanted);
}

async fn non_blocking_request_does_not_wait(bench: &JobSourceFixture) {
    let (glance, never) = (JobRequest { glance: true, ..ask() }, CancellationToken::new());
    let begun = Instant::now();
    for _ in 0..3 {
        assert!(bench.source.next(&glance, &never).await.unwrap().is_none());
    }
    assert!(begun.elapsed() < bench.wait * 3, "it waits for nothing");
    let job = bench.queue().await;
    let begun = Instant::now();
    loop {
        // A real queue may not show at once, to one who does not wait, what it has.
        match bench.source.next(&glance, &never).await.unwrap() {
            Some(offer) => break assert_eq!(job_of(&offer), job),
            None => assert!(begun.elapsed() < TEST_TIMEOUT, "it never shows"),
        }
    }
}

async fn a_stop_ends_the_wait(bench: &JobSourceFixture) {
    let stop = CancellationToken::new();
    let asker = ask();
    let asked = bench.source.next(&asker, &stop);
    let stopping = async {
        tokio::task::yield_now().await;
        stop.cancel();
    };
    let (answer, ()) = tokio::join!(tokio::time::timeout(TEST_TIMEOUT, asked), stopping);
    assert!(answer.expect("it ends").unwrap().is_none());
    assert!(bench.source.next(&asker, &stop).await.unwrap().is_none(), "a stop stays");
    // What is queued then is for others.
    let job = bench.queue().await;
    assert!(bench.source.next(&asker, &stop).await.unwrap().is_none());
    assert_eq!(job_of(&bench.offer().await), job);
}

async fn a_server_that_fails_costs_time_and_no_job(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS] {
        bench.records.breaks(Some(status));
        let begun = Instant::now();
        while !matches!(bench.next().await, Err(JobSourceError::Passing(_))) {
            assert!(begun.elapsed() < TEST_TIMEOUT, "a failure is told");
        }
    }
    bench.records.breaks(None);
    assert_eq!(job_of(&bench.offer().await), job);
}

async fn a_worker_that_is_refused_is_told_and_takes_nothing_with_it(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    bench.records.breaks(Some(StatusCode::UNAUTHORIZED));
    assert!(matches!(bench.next().await, Err(JobSourceError::Refused(_))));
    bench.records.breaks(None);
    assert_eq!(job_of(&bench.offer().await), job);
}

async fn held_job_is_not_offered_again(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    let offer = bench.offer().await;
    let asked = bench.records.asked(job);
    let holding = async {
        let begun = Instant::now();
        while begun.elapsed() < bench.hidden * 3 {
            assert!(bench.next().await.unwrap().is_none());
        }
    };
    tokio::select! {
        () = holding => {}
        never = bench.source.hold(&offer.receipt) => match never {},
    }
    assert_eq!(bench.records.asked(job), asked, "nobody saw it");
    if bench.carrier.shows_again() {
        // Held by nobody it shows: so it was the holding that hid it. The records refuse it then.
        let begun = Instant::now();
        while bench.records.asked(job) == asked {
            assert!(bench.next().await.unwrap().is_none());
            assert!(begun.elapsed() < TEST_TIMEOUT, "it never shows");
        }
        bench.until_nothing_is_left().await;
    }
}

async fn a_settled_job_comes_again_only_when_it_is_queued_again(bench: &JobSourceFixture) {
    let job = bench.queue().await;
    let offer = bench.offer().await;
    bench.source.settle(offer.receipt.clone()).await;
    bench.until_nothing_is_left().await;
    assert!(bench.next().await.unwrap().is_none());
    // Given back: the server queues it and sends it again.
    bench.records.put(job, true);
    bench.carrier.send(job).await;
    let again = bench.offer().await;
    assert_eq!(job_of(&again), job);
    // Settling the first delivery twice touches the second in nothing.
    bench.source.settle(offer.receipt).await;
    bench.source.settle(again.receipt).await;
    bench.until_nothing_is_left().await;
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

#[cfg(feature = "sqs")]
mod sqs {
    use super::{
        Arc, Duration, FakeServer, JobId, JobSourceFixture, MessageCarrier, TEST_TIMEOUT, async_trait,
        conforms, serve,
    };
    use crate::support::ministack::MiniStack;
    use aws_sdk_sqs::{Client, types::QueueAttributeName};
    use std::time::Instant;
    use tidemill_worker::job_source::{JobSource, SqsJobSource, SqsSettings, Usage};

    struct FakeQueue {
        sqs: Client,
        url: String,
    }

    impl FakeQueue {
        async fn put(&self, body: &str) {
            self.sqs.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
        }

        async fn messages(&self) -> usize {
            let names = [
                QueueAttributeName::ApproximateNumberOfMessages,
                QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            ];
            let asking = self.sqs.get_queue_attributes().queue_url(&self.url);
            let seen = asking.set_attribute_names(Some(names.into())).send().await.unwrap();
            seen.attributes.unwrap().values().map(|count| count.parse::<usize>().unwrap()).sum()
        }
    }

    #[async_trait]
    impl MessageCarrier for FakeQueue {
        async fn send(&self, job: JobId) {
            let body = format!(r#"{{"v":1,"execution_id":"{job}","job_id":"{job}","ix":0,"new":[]}}"#);
            self.put(&body).await;
        }

        async fn left(&self) -> usize {
            self.messages().await
        }

        fn shows_again(&self) -> bool {
            true
        }
    }

    struct SqsFixture {
        bench: JobSourceFixture,
        queue: FakeQueue,
        source: Arc<SqsJobSource>,
    }

    async fn sqs(stack: &MiniStack, attributes: &[(&str, String)]) -> SqsFixture {
        let (client, url) = stack.queue(attributes).await;
        let records = Arc::new(FakeServer::default());
        let settings = SqsSettings {
            wait: Duration::from_secs(1),
            visibility: Duration::from_secs(3),
            back_off: Duration::from_secs(1),
            ..SqsSettings::new(&url)
        };
        let (wait, hidden) = (settings.wait, settings.visibility);
        let api = serve(records.clone()).await;
        let source = Arc::new(SqsJobSource::new(&stack.config().await, settings, api));
        let carrier = Box::new(FakeQueue { sqs: client.clone(), url: url.clone() });
        let bench = JobSourceFixture { records, carrier, source: source.clone(), wait, hidden };
        SqsFixture { bench, queue: FakeQueue { sqs: client, url }, source }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqs_queue_conforms() {
        let Some(stack) = MiniStack::start().await else { return };
        conforms(async || sqs(&stack, &[]).await.bench).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unreadable_message_goes_to_the_dead_letter_queue() {
        let Some(stack) = MiniStack::start().await else { return };
        let (client, dead_url) = stack.queue(&[]).await;
        let dead = FakeQueue { sqs: client, url: dead_url };
        let name = dead.url.rsplit('/').next().unwrap();
        let policy = format!(
            r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:{name}","maxReceiveCount":"2"}}"#
        );
        let SqsFixture { bench, queue, .. } = sqs(&stack, &[("RedrivePolicy", policy)]).await;
        queue.put("not a job").await;
        let begun = Instant::now();
        while dead.messages().await == 0 {
            assert!(begun.elapsed() < TEST_TIMEOUT, "it never gets there");
            assert!(bench.next().await.unwrap().is_none());
        }
        let job = bench.queue().await;
        assert_eq!(super::job_of(&bench.offer().await), job);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn job_costs_one_receipt_and_one_deletion_and_carries_its_trace() {
        let Some(stack) = MiniStack::start().await else { return };
        let SqsFixture { bench, queue, source } = sqs(&stack, &[]).await;
        assert_eq!(source.asks_at_once(), 1, "one poller for all slots");
        let job = JobId(uuid::Uuid::now_v7());
        bench.records.put(job, true);
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        queue.put(&format!(r#"{{"v":1,"job_id":"{job}","trace":"{trace}"}}"#)).await;
        let offer = bench.next().await.unwrap().expect("it is there");
        assert_eq!(offer.assignment.trace.as_deref(), Some(trace));
        source.settle(offer.receipt).await;
        assert_eq!(source.requests().usage(), Usage { receive: 1, delete: 1, change_visibility: 0 });
        assert!(bench.next().await.unwrap().is_none());
        assert_eq!(source.requests().usage(), Usage { receive: 2, delete: 1, change_visibility: 0 });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn missing_queue_stops_the_worker_with_the_reason() {
        let Some(stack) = MiniStack::start().await else { return };
        let api = serve(Arc::default()).await;
        let settings = SqsSettings::new(format!("{}/000000000000/no-such-queue", stack.endpoint));
        let source = SqsJobSource::new(&stack.config().await, settings, api);
        let stop = tokio_util::sync::CancellationToken::new();
        let refused = source.next(&super::ask(), &stop).await.unwrap_err();
        assert!(
            matches!(&refused, super::JobSourceError::Unusable(words) if words.contains("no-such-queue")),
            "{refused}"
        );
    }
}
