//! Checks of the queue. Each receives only of executions of its own.

use crate::conformance::{StoresUnderTest, samples::execution_id};
use futures_util::future::join_all;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::labels::Labels;
use tidemill_services::ports::{JobQueue, Message, NodeKey, QueuedJob};

/// Longer than any check takes: a wait that ends earlier was woken.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(60);

pub(super) fn keys(execution: ExecutionId, count: u32) -> Vec<NodeKey> {
    (0..count).map(|ix| NodeKey { execution, ix }).collect()
}

pub(super) fn messages(execution: ExecutionId, count: u32) -> Vec<QueuedJob> {
    keys(execution, count).into_iter().map(QueuedJob::now).collect()
}

pub(super) async fn take(
    subject: &StoresUnderTest,
    queue: &dyn JobQueue,
    execution: ExecutionId,
) -> Option<Message> {
    queue.receive(Some(execution), &Labels::new(), subject.hide_ms(), Duration::ZERO).await.unwrap()
}

pub(super) async fn take_all(
    subject: &StoresUnderTest,
    queue: &dyn JobQueue,
    execution: ExecutionId,
) -> HashSet<NodeKey> {
    let mut taken = HashSet::new();
    while let Some(message) = take(subject, queue, execution).await {
        assert!(taken.insert(message.node), "{message:?} came twice");
    }
    taken
}

/// Once it was received it is hidden, and once it was deleted it never comes again.
pub async fn message_is_delivered_and_deleted(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    assert_eq!(take(subject, &*queue, execution).await, None);
    queue.send(&messages(execution, 1), Some("00-aa-bb-01")).await.unwrap();
    let message = take(subject, &*queue, execution).await.unwrap();
    assert_eq!(message.node, NodeKey { execution, ix: 0 });
    assert_eq!(take(subject, &*queue, execution).await, None);
    queue.delete(&message).await.unwrap();
    queue.delete(&message).await.unwrap();
    subject.pass(subject.hide_ms() + 500).await;
    assert_eq!(take(subject, &*queue, execution).await, None);
    queue.send(&[], None).await.unwrap();
}

/// Not at once, and not never.
pub async fn message_reappears_after_visibility_timeout(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 25), None).await.unwrap();
    assert_eq!(take_all(subject, &*queue, execution).await.len(), 25);
    subject.pass(subject.hide_ms() + 500).await;
    assert_eq!(take_all(subject, &*queue, execution).await.len(), 25);
}

/// Not before its delay is over; one that is sent again without a delay comes at once.
pub async fn delayed_message_is_delivered_later(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    let later = |ix| QueuedJob::after(NodeKey { execution, ix }, 2_000);
    queue.send(&[QueuedJob::now(NodeKey { execution, ix: 0 }), later(1), later(2)], None).await.unwrap();
    assert_eq!(take_all(subject, &*queue, execution).await.len(), 1);
    queue.send(&[QueuedJob::now(NodeKey { execution, ix: 1 })], None).await.unwrap();
    let sooner = take(subject, &*queue, execution).await.unwrap();
    assert_eq!(sooner.node.ix, 1);
    queue.delete(&sooner).await.unwrap();
    subject.pass(3_500).await;
    let mut late = Vec::new();
    while let Some(message) = take(subject, &*queue, execution).await {
        late.push(message.node.ix);
    }
    assert!(late.contains(&2), "{late:?}");
}

/// Without waiting for its time.
pub async fn message_given_back_is_visible_at_once(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), None).await.unwrap();
    let first = take(subject, &*queue, execution).await.unwrap();
    queue.give_back(&first).await.unwrap();
    let again = take(subject, &*queue, execution).await.unwrap();
    assert_eq!(again.node, first.node);
    assert_ne!(again.receipt, first.receipt);
}

/// Also while who received it first has it.
pub async fn job_that_is_sent_again_is_delivered_again(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    for _ in 0..3 {
        queue.send(&messages(execution, 1), None).await.unwrap();
        assert!(take(subject, &*queue, execution).await.is_some());
    }
}

/// Of the execution that was named, or of any.
pub async fn receive_returns_at_most_requested_count(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let (one, other) = (execution_id(), execution_id());
    queue.send(&messages(one, 2), None).await.unwrap();
    queue.send(&messages(other, 1), None).await.unwrap();
    let got = queue.receive(Some(other), &Labels::new(), subject.hide_ms(), LONG_WAIT).await.unwrap();
    assert_eq!(got.map(|message| message.node), Some(NodeKey { execution: other, ix: 0 }));
    let mut wanted: HashSet<NodeKey> = keys(one, 2).into_iter().collect();
    // In a store that is shared others' messages come too.
    while !wanted.is_empty() {
        let message =
            queue.receive(None, &Labels::new(), subject.hide_ms(), LONG_WAIT).await.unwrap().expect("any");
        wanted.remove(&message.node);
    }
}

/// As several processes would, at the same time: nothing is left out.
pub async fn concurrent_receivers_get_every_message(subject: &StoresUnderTest) {
    let opened = [subject.open().await.queue, subject.open().await.queue];
    let execution = execution_id();
    opened[0].send(&messages(execution, 24), None).await.unwrap();
    let all = (0..24).map(|ix| {
        let (queue, hide_ms) = (Arc::clone(&opened[ix % 2]), subject.hide_ms());
        tokio::spawn(async move {
            let got = queue
                .receive(Some(execution), &Labels::new(), hide_ms, LONG_WAIT)
                .await
                .unwrap()
                .expect("one for each");
            queue.delete(&got).await.unwrap();
            got.node
        })
    });
    let got: HashSet<NodeKey> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(got, keys(execution, 24).into_iter().collect());
}

/// Long before its wait is over: by a send here, by one elsewhere, and by a message whose time is over.
pub async fn waiting_receiver_is_notified(subject: &StoresUnderTest) {
    let none = Labels::new();
    let (queue, elsewhere) = (subject.open().await.queue, subject.open().await.queue);
    let execution = execution_id();
    let hide_ms = subject.hide_ms();
    let started = tokio::time::Instant::now();
    for sender in [&queue, &elsewhere] {
        let (got, sent) = tokio::join!(queue.receive(Some(execution), &none, hide_ms, LONG_WAIT), async {
            sender.send(&messages(execution, 1), None).await
        });
        sent.unwrap();
        let message = got.unwrap().expect("woken");
        let (again, ()) = tokio::join!(
            queue.receive(Some(execution), &none, hide_ms, LONG_WAIT),
            subject.pass(hide_ms + 1)
        );
        let again = again.unwrap().expect("visible again");
        assert_eq!(again.node, message.node);
        queue.delete(&again).await.unwrap();
    }
    assert!(started.elapsed() < LONG_WAIT);
}

/// Durable with what is hidden.
pub async fn messages_survive_reopen(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 2), None).await.unwrap();
    let held = take(subject, &*queue, execution).await.unwrap();
    drop(queue);
    let queue = subject.open().await.queue;
    let other = take_all(subject, &*queue, execution).await;
    assert_eq!(other.len(), 1);
    assert!(!other.contains(&held.node));
    queue.delete(&held).await.unwrap();
    subject.pass(subject.hide_ms() + 500).await;
    assert_eq!(take_all(subject, &*queue, execution).await, other);
}

/// One that was used up, and one that never was.
pub async fn unknown_receipt_is_ignored(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), None).await.unwrap();
    let message = take(subject, &*queue, execution).await.unwrap();
    queue.delete(&message).await.unwrap();
    for receipt in [message.receipt.clone(), "none".to_owned()] {
        let stale = Message { receipt, ..message.clone() };
        queue.delete(&stale).await.unwrap();
        queue.give_back(&stale).await.unwrap();
    }
    assert_eq!(take(subject, &*queue, execution).await, None);
}
