//! The source over SQS, on an emulator.

use super::{
    Arc, Duration, FakeServer, JobId, JobSourceFixture, MessageCarrier, TEST_TIMEOUT, async_trait, conforms,
    serve,
};
use crate::support::ministack::MiniStack;
use aws_sdk_sqs::{Client, types::QueueAttributeName};
use std::time::Instant;
use tidemill_worker::job_source::{JobSource, SqsJobSource, SqsSettings, SqsUsage};

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
        let query = self.sqs.get_queue_attributes().queue_url(&self.url);
        let reply = query.set_attribute_names(Some(names.into())).send().await.unwrap();
        reply.attributes.unwrap().values().map(|count| count.parse::<usize>().unwrap()).sum()
    }
}

#[async_trait]
impl MessageCarrier for FakeQueue {
    async fn send(&self, job: JobId) {
        let body = format!(r#"{{"v":1,"execution_id":"{job}","job_id":"{job}","ix":0,"new":[]}}"#);
        self.put(&body).await;
    }

    async fn unsettled(&self) -> usize {
        self.messages().await
    }

    fn redelivers(&self) -> bool {
        true
    }
}

struct SqsFixture {
    bench: JobSourceFixture,
    queue: FakeQueue,
    source: Arc<SqsJobSource>,
}

async fn sqs(stack: &MiniStack, attributes: &[(&str, String)]) -> SqsFixture {
    sqs_with(stack, attributes, Duration::from_secs(3_600)).await
}

async fn sqs_with(stack: &MiniStack, attributes: &[(&str, String)], max_hold: Duration) -> SqsFixture {
    let (client, url) = stack.queue(attributes).await;
    let records = Arc::new(FakeServer::default());
    let settings = SqsSettings {
        wait: Duration::from_secs(1),
        visibility: Duration::from_secs(3),
        back_off: Duration::from_secs(1),
        max_hold,
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
    let started = Instant::now();
    while dead.messages().await == 0 {
        assert!(started.elapsed() < TEST_TIMEOUT, "the message never reaches the dead-letter queue");
        assert!(bench.next().await.unwrap().is_none());
    }
    let job = bench.queue().await;
    assert_eq!(super::job_of(&bench.offer().await), job);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_costs_one_receipt_and_one_deletion_and_carries_its_trace() {
    let Some(stack) = MiniStack::start().await else { return };
    let SqsFixture { bench, queue, source } = sqs(&stack, &[]).await;
    assert_eq!(source.max_concurrent_requests(), 1, "one poller for all slots");
    let job = JobId(uuid::Uuid::now_v7());
    bench.records.put(job, true);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    queue.put(&format!(r#"{{"v":1,"job_id":"{job}","trace":"{trace}"}}"#)).await;
    let offer = bench.next().await.unwrap().expect("the job is offered");
    assert_eq!(offer.assignment.trace.as_deref(), Some(trace));
    source.settle(offer.receipt).await;
    assert_eq!(source.requests().usage(), SqsUsage { receive: 1, delete: 1, change_visibility: 0 });
    assert!(bench.next().await.unwrap().is_none());
    assert_eq!(source.requests().usage(), SqsUsage { receive: 2, delete: 1, change_visibility: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn message_of_a_long_job_is_deleted_while_the_job_runs() {
    let Some(stack) = MiniStack::start().await else { return };
    let SqsFixture { bench, source, .. } = sqs_with(&stack, &[], Duration::from_secs(2)).await;
    bench.queue().await;
    let offer = bench.offer().await;
    tokio::select! {
        never = source.hold(&offer.receipt) => match never {},
        () = bench.until_all_settled() => {}
    }
    assert!(bench.next().await.unwrap().is_none(), "the job is not offered again");
    // The end of the job deletes it once more, in vain.
    source.settle(offer.receipt).await;
    let again = bench.queue().await;
    assert_eq!(super::job_of(&bench.offer().await), again);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_queue_stops_the_worker_with_the_reason() {
    let Some(stack) = MiniStack::start().await else { return };
    let api = serve(Arc::default()).await;
    let settings = SqsSettings::new(format!("{}/000000000000/no-such-queue", stack.endpoint));
    let source = SqsJobSource::new(&stack.config().await, settings, api);
    let stop = tokio_util::sync::CancellationToken::new();
    let error = source.next(&super::request(), &stop).await.unwrap_err();
    assert!(
        matches!(&error, super::JobSourceError::Unusable(message) if message.contains("no-such-queue")),
        "{error}"
    );
}
