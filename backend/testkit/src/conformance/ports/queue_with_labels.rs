//! Checks of a queue that gives each receiver what its labels fit; where there is one queue for each set of labels, this is
//! not asked of it.

use crate::conformance::{StoresUnderTest, samples::execution_id};
use std::time::Duration;
use tidemill_services::ports::{NodeKey, QueuedJob};

/// A message with labels is given to who has them all, and to nobody else.
pub async fn message_with_labels_goes_to_matching_worker(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    let of = |text: &str| tidemill_core::pipeline::labels::parse(text).unwrap();
    let message = |ix, labels| QueuedJob { labels: of(labels), ..QueuedJob::now(NodeKey { execution, ix }) };
    let sent =
        [message(0, "gpu=true"), message(1, ""), message(2, "arch=arm64,gpu=true"), message(3, "arch=x64")];
    queue.send(&sent, None).await.unwrap();
    let taken = async |labels: &str| {
        let mut taken = Vec::new();
        while let Some(got) =
            queue.receive(Some(execution), &of(labels), subject.hide_ms(), Duration::ZERO).await.unwrap()
        {
            queue.delete(&got).await.unwrap();
            taken.push(got.node.ix);
        }
        taken.sort_unstable();
        taken
    };
    assert!(queue.serves(&of("gpu=true")));
    assert_eq!(taken("gpu=false").await, [1]);
    assert_eq!(taken("").await, [0; 0]);
    assert_eq!(taken("gpu=true,arch=x64,os=linux").await, [0, 3]);
    assert_eq!(taken("gpu=true,arch=arm64").await, [2]);
}
