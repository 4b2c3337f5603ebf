//! To which queue a job id is sent, and in which group; against an emulator over HTTP, read as SQS delivers it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use aws_sdk_sqs::types::MessageSystemAttributeName;
use tidemill_core::{ids::ExecutionId, pipeline::labels::parse};
use tidemill_services::ports::{MessageContext, NodeKey, QueuedJob, message_group};
use tidemill_testkit::cloud;
use uuid::Uuid;

/// A queue with the indexes and groups of the jobs that it must get.
type Expected<'a> = (&'a str, Vec<(u32, &'a str)>);

#[tokio::test]
async fn jobs_are_sent_to_the_queue_of_their_pool_in_the_group_of_their_repository() {
    if !cloud::is_available() {
        return;
    }
    let account = cloud::Account::new();
    let mut names = account.create_resources().await;
    let sdk = account.sdk();
    let client = aws_sdk_sqs::Client::new(&sdk);
    for labels in ["gpu=true", "gpu=true,size=large"] {
        let created = client.create_queue().queue_name(Uuid::now_v7().simple().to_string()).send();
        let url = created.await.unwrap().queue_url.unwrap();
        names.labelled_queues.insert(parse(labels).unwrap(), url);
    }
    let url_of =
        |labels: &str| names.labelled_queues.get(&parse(labels).unwrap()).unwrap_or(&names.queue_url);
    let queue = tidemill_aws::open(&sdk, names.clone()).0.queue;
    assert!(queue.serves(&parse("size=large").unwrap()) && !queue.serves(&parse("size=small").unwrap()));

    let (app, tool) = (message_group("https://example.org/app"), message_group("https://example.org/tool"));
    let job = |ix, labels| {
        let node = NodeKey { execution: ExecutionId(Uuid::now_v7()), ix };
        QueuedJob { labels: parse(labels).unwrap(), ..QueuedJob::immediate(node) }
    };
    let of_app = [job(0, ""), job(1, "gpu=true"), job(2, "size=large"), job(3, "size=large,gpu=true")];
    queue.send(&of_app, MessageContext { group: &app, trace: None }).await.unwrap();
    queue.send(&[job(4, "")], MessageContext { group: &tool, trace: None }).await.unwrap();

    let expected: [Expected<'_>; 3] = [
        ("", vec![(0, &app), (4, &tool)]),
        ("gpu=true", vec![(1, &app)]),
        ("gpu=true,size=large", vec![(2, &app), (3, &app)]),
    ];
    for (labels, jobs) in expected {
        let mut received = Vec::new();
        // One reply may have fewer messages than the queue.
        while received.len() < jobs.len() {
            let request = client.receive_message().queue_url(url_of(labels)).max_number_of_messages(10);
            let request = request.message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
            let reply = request.wait_time_seconds(5).send().await.unwrap();
            assert!(!reply.messages().is_empty(), "{labels}: only {received:?}");
            for message in reply.messages() {
                let body: serde_json::Value = serde_json::from_str(message.body().unwrap()).unwrap();
                let group =
                    message.attributes().and_then(|of| of.get(&MessageSystemAttributeName::MessageGroupId));
                received.push((u32::try_from(body["ix"].as_u64().unwrap()).unwrap(), group.unwrap().clone()));
            }
        }
        received.sort();
        let jobs: Vec<(u32, String)> = jobs.into_iter().map(|(ix, group)| (ix, group.to_owned())).collect();
        assert_eq!(received, jobs, "{labels}");
    }
}
