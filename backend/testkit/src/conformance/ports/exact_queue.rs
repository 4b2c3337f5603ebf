//! Checks of a queue that serves one process, or several on one file. Beyond the port's contract it delivers each message to
//! at most one receiver at a time. The embedded server relies on this for speed, not for correctness.

use super::queue::{LONG_WAIT, keys, messages, receive, receive_all};
use crate::conformance::{StoresUnderTest, samples::execution_id};
use futures_util::{FutureExt, future::join_all};
use std::{collections::HashSet, sync::Arc};
use tidemill_core::pipeline::labels::Labels;
use tidemill_services::ports::{Message, MessageContext, NodeKey};

/// A received message is hidden to the last millisecond of its visibility timeout.
pub async fn delayed_message_is_not_visible_early(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 2), MessageContext::default()).await.unwrap();
    assert_eq!(receive_all(subject, &*queue, execution).await.len(), 2);
    subject.clock.advance(29_999);
    assert_eq!(receive(subject, &*queue, execution).await, None);
    subject.clock.advance(1);
    assert_eq!(receive_all(subject, &*queue, execution).await.len(), 2);
}

/// A stale receipt can neither delete nor give back a message that was received again.
pub async fn stale_receipt_does_nothing(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    let stale = receive(subject, &*queue, execution).await.unwrap();
    subject.clock.advance(30_000);
    let newest = receive(subject, &*queue, execution).await.unwrap();
    assert_ne!(newest.receipt, stale.receipt);
    queue.give_back(&stale).await.unwrap();
    assert_eq!(receive(subject, &*queue, execution).await, None);
    queue.delete(&stale).await.unwrap();
    queue.delete(&Message { receipt: "none".to_owned(), ..stale.clone() }).await.unwrap();
    queue.give_back(&newest).await.unwrap();
    let last = receive(subject, &*queue, execution).await.expect("still there");
    queue.delete(&last).await.unwrap();
    queue.give_back(&last).await.unwrap();
    assert_eq!(receive(subject, &*queue, execution).await, None);
}

/// A receiver cannot delete a message after giving it back.
pub async fn receipt_is_invalid_after_give_back(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    let first = receive(subject, &*queue, execution).await.unwrap();
    queue.give_back(&first).await.unwrap();
    queue.delete(&first).await.unwrap();
    assert_eq!(receive(subject, &*queue, execution).await.unwrap().node, first.node);
}

/// A job that is sent again is delivered again, also if its message was hidden. The first receiver cannot delete it.
pub async fn repeated_send_makes_one_visible_message(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    let held = receive(subject, &*queue, execution).await.unwrap();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    queue.delete(&held).await.unwrap();
    let again = receive(subject, &*queue, execution).await.expect("sent after it was received");
    queue.delete(&again).await.unwrap();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    assert!(receive(subject, &*queue, execution).await.is_some());
}

/// Concurrent receivers of two processes get distinct messages.
pub async fn concurrent_receivers_get_distinct_messages(subject: &StoresUnderTest) {
    let opened = [subject.open().await.queue, subject.open().await.queue];
    let execution = execution_id();
    opened[0].send(&messages(execution, 24), MessageContext::default()).await.unwrap();
    let receivers = (0..32).map(|ix| {
        let queue = Arc::clone(&opened[ix % 2]);
        let hide_ms = subject.hide_ms();
        tokio::spawn(async move {
            let received = queue
                .receive(Some(execution), &Labels::new(), hide_ms, std::time::Duration::ZERO)
                .await
                .unwrap();
            received.map(|message| message.node)
        })
    });
    let received: Vec<NodeKey> = join_all(receivers).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(received.len(), 24);
    assert_eq!(received.into_iter().collect::<HashSet<_>>(), keys(execution, 24).into_iter().collect());
}

/// A dropped receive does not hide a message.
pub async fn dropped_receiver_returns_its_messages(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    for _ in 0..20 {
        if let Some(received) =
            queue.receive(Some(execution), &Labels::new(), subject.hide_ms(), LONG_WAIT).now_or_never()
        {
            queue.give_back(&received.unwrap().unwrap()).await.unwrap();
        }
    }
    // The clock stands still, so only a returned message can be visible.
    let message = queue.receive(Some(execution), &Labels::new(), subject.hide_ms(), LONG_WAIT).await.unwrap();
    assert_eq!(message.unwrap().node, NodeKey { execution, ix: 0 });
}

/// The many messages of one group do not stand before those of others, and within a group their order stays.
pub async fn groups_of_messages_take_turns(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let (many, few, one) = (execution_id(), execution_id(), execution_id());
    for (execution, count, group) in [(many, 10_000, "a"), (few, 3, "b"), (one, 1, "c")] {
        queue.send(&messages(execution, count), MessageContext { group, trace: None }).await.unwrap();
    }
    let mut received = Vec::new();
    for _ in 0..8 {
        let message = queue
            .receive(None, &Labels::new(), subject.hide_ms(), std::time::Duration::ZERO)
            .await
            .unwrap()
            .expect("a message");
        queue.delete(&message).await.unwrap();
        received.push(message.node);
    }
    let of = |execution| -> Vec<usize> {
        let positions = received.iter().enumerate().filter(|(_, node)| node.execution == execution);
        positions.map(|(position, _)| position).collect()
    };
    assert_eq!((of(many), of(few), of(one)), (vec![0, 3, 5, 7], vec![1, 4, 6], vec![2]));
    let ixs: Vec<u32> = received.iter().filter(|node| node.execution == many).map(|node| node.ix).collect();
    assert_eq!(ixs, [0, 1, 2, 3]);
}
