//! Checks of a queue that selects messages by the receiver's labels. Adapters with one queue for each set of labels need not
//! pass them.

use crate::conformance::{StoresUnderTest, samples::execution_id};
use std::time::Duration;
use tidemill_services::ports::{MessageContext, NodeKey, QueuedJob};

/// A message with labels is delivered only to a receiver that has all of them.
pub async fn message_with_labels_goes_to_matching_worker(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    let labels_of = |text: &str| tidemill_core::pipeline::labels::parse(text).unwrap();
    let message = |ix, labels| QueuedJob {
        labels: labels_of(labels),
        ..QueuedJob::immediate(NodeKey { execution, ix })
    };
    let sent =
        [message(0, "gpu=true"), message(1, ""), message(2, "arch=arm64,gpu=true"), message(3, "arch=x64")];
    let sent = [&sent[..], &[message(4, "executor=process")]].concat();
    queue.send(&sent, MessageContext::default()).await.unwrap();
    let receive_all = async |labels: &str| {
        let mut received = Vec::new();
        while let Some(got) = queue
            .receive(Some(execution), &labels_of(labels), subject.hide_ms(), Duration::ZERO)
            .await
            .unwrap()
        {
            queue.delete(&got).await.unwrap();
            received.push(got.node.ix);
        }
        received.sort_unstable();
        received
    };
    assert!(queue.serves(&labels_of("gpu=true")));
    assert_eq!(receive_all("executor=process,gpu=true").await, [4], "it takes only what asks for it");
    assert_eq!(receive_all("gpu=false").await, [1]);
    assert_eq!(receive_all("").await, [0; 0]);
    assert_eq!(receive_all("gpu=true,arch=x64,os=linux").await, [0, 3]);
    assert_eq!(receive_all("gpu=true,arch=arm64").await, [2]);
}
