//! Checks of the queue. Each check receives only messages of its own executions.

use crate::conformance::{StoresUnderTest, samples::execution_id};
use futures_util::future::join_all;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::labels::Labels;
use tidemill_services::ports::{JobQueue, Message, MessageContext, NodeKey, QueuedJob};

/// Longer than any check takes, so a wait that ends earlier was woken.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(60);

/// What the messages of a traced execution of a repository have in common.
const TRACED: MessageContext<'_> = MessageContext { group: "0123456789abcdef", trace: Some("00-aa-bb-01") };

pub(super) fn keys(execution: ExecutionId, count: u32) -> Vec<NodeKey> {
    (0..count).map(|ix| NodeKey { execution, ix }).collect()
}

pub(super) fn messages(execution: ExecutionId, count: u32) -> Vec<QueuedJob> {
    keys(execution, count).into_iter().map(QueuedJob::immediate).collect()
}

pub(super) async fn receive(
    subject: &StoresUnderTest,
    queue: &dyn JobQueue,
    execution: ExecutionId,
) -> Option<Message> {
    queue.receive(Some(execution), &Labels::new(), subject.hide_ms(), Duration::ZERO).await.unwrap()
}

pub(super) async fn receive_all(
    subject: &StoresUnderTest,
    queue: &dyn JobQueue,
    execution: ExecutionId,
) -> HashSet<NodeKey> {
    let mut received = HashSet::new();
    while let Some(message) = receive(subject, queue, execution).await {
        assert!(received.insert(message.node), "{message:?} was delivered twice");
    }
    received
}

/// A received message is hidden, and a deleted one is not delivered again.
pub async fn message_is_delivered_and_deleted(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    assert_eq!(receive(subject, &*queue, execution).await, None);
    queue.send(&messages(execution, 1), TRACED).await.unwrap();
    let message = receive(subject, &*queue, execution).await.unwrap();
    assert_eq!(message.node, NodeKey { execution, ix: 0 });
    assert_eq!(receive(subject, &*queue, execution).await, None);
    queue.delete(&message).await.unwrap();
    queue.delete(&message).await.unwrap();
    subject.let_pass(subject.hide_ms() + 500).await;
    assert_eq!(receive(subject, &*queue, execution).await, None);
    queue.send(&[], MessageContext::default()).await.unwrap();
}

/// A received message is hidden, and delivered again after its visibility timeout.
pub async fn message_reappears_after_visibility_timeout(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 25), MessageContext::default()).await.unwrap();
    assert_eq!(receive_all(subject, &*queue, execution).await.len(), 25);
    subject.let_pass(subject.hide_ms() + 500).await;
    assert_eq!(receive_all(subject, &*queue, execution).await.len(), 25);
}

/// A delayed message is delivered after its delay; sent again without a delay, it is delivered at once.
pub async fn delayed_message_is_delivered_later(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    let later = |ix| QueuedJob::delayed(NodeKey { execution, ix }, 2_000);
    queue
        .send(
            &[QueuedJob::immediate(NodeKey { execution, ix: 0 }), later(1), later(2)],
            MessageContext::default(),
        )
        .await
        .unwrap();
    assert_eq!(receive_all(subject, &*queue, execution).await.len(), 1);
    queue
        .send(&[QueuedJob::immediate(NodeKey { execution, ix: 1 })], MessageContext::default())
        .await
        .unwrap();
    let sooner = receive(subject, &*queue, execution).await.unwrap();
    assert_eq!(sooner.node.ix, 1);
    queue.delete(&sooner).await.unwrap();
    subject.let_pass(3_500).await;
    let mut delayed = Vec::new();
    while let Some(message) = receive(subject, &*queue, execution).await {
        delayed.push(message.node.ix);
    }
    assert!(delayed.contains(&2), "{delayed:?}");
}

/// A message that is given back is visible before its visibility timeout.
pub async fn given_back_message_is_visible_at_once(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    let first = receive(subject, &*queue, execution).await.unwrap();
    queue.give_back(&first).await.unwrap();
    let again = receive(subject, &*queue, execution).await.unwrap();
    assert_eq!(again.node, first.node);
    assert_ne!(again.receipt, first.receipt);
}

/// A job that is sent again is delivered again, also while its first message is held.
pub async fn resent_job_is_delivered_again(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    for _ in 0..3 {
        queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
        assert!(receive(subject, &*queue, execution).await.is_some());
    }
}

/// A receive returns one message, of the requested execution or of any.
pub async fn receive_returns_message_of_requested_execution(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let (one, other) = (execution_id(), execution_id());
    queue.send(&messages(one, 2), MessageContext::default()).await.unwrap();
    queue.send(&messages(other, 1), MessageContext::default()).await.unwrap();
    let received = queue.receive(Some(other), &Labels::new(), subject.hide_ms(), LONG_WAIT).await.unwrap();
    assert_eq!(received.map(|message| message.node), Some(NodeKey { execution: other, ix: 0 }));
    let mut missing: HashSet<NodeKey> = keys(one, 2).into_iter().collect();
    // A shared store delivers messages of other checks, too.
    while !missing.is_empty() {
        let message = queue
            .receive(None, &Labels::new(), subject.hide_ms(), LONG_WAIT)
            .await
            .unwrap()
            .expect("a message");
        missing.remove(&message.node);
    }
}

/// Concurrent receivers of several processes get every message.
pub async fn concurrent_receivers_get_every_message(subject: &StoresUnderTest) {
    let opened = [subject.open().await.queue, subject.open().await.queue];
    let execution = execution_id();
    opened[0].send(&messages(execution, 24), MessageContext::default()).await.unwrap();
    let receivers = (0..24).map(|ix| {
        let (queue, hide_ms) = (Arc::clone(&opened[ix % 2]), subject.hide_ms());
        tokio::spawn(async move {
            let received = queue
                .receive(Some(execution), &Labels::new(), hide_ms, LONG_WAIT)
                .await
                .unwrap()
                .expect("a message for each receiver");
            queue.delete(&received).await.unwrap();
            received.node
        })
    });
    let received: HashSet<NodeKey> = join_all(receivers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(received, keys(execution, 24).into_iter().collect());
}

/// A waiting receiver is woken by a send through any handle, and by the end of a visibility timeout.
pub async fn waiting_receiver_is_woken(subject: &StoresUnderTest) {
    let no_labels = Labels::new();
    let (queue, elsewhere) = (subject.open().await.queue, subject.open().await.queue);
    let execution = execution_id();
    let hide_ms = subject.hide_ms();
    let started = tokio::time::Instant::now();
    for sender in [&queue, &elsewhere] {
        let (received, sent) =
            tokio::join!(queue.receive(Some(execution), &no_labels, hide_ms, LONG_WAIT), async {
                sender.send(&messages(execution, 1), MessageContext::default()).await
            });
        sent.unwrap();
        let message = received.unwrap().expect("a message");
        let (again, ()) = tokio::join!(
            queue.receive(Some(execution), &no_labels, hide_ms, LONG_WAIT),
            subject.let_pass(hide_ms + 1)
        );
        let again = again.unwrap().expect("visible again");
        assert_eq!(again.node, message.node);
        queue.delete(&again).await.unwrap();
    }
    assert!(started.elapsed() < LONG_WAIT);
}

/// Messages survive a reopen, and hidden ones stay hidden.
pub async fn messages_survive_reopen(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 2), MessageContext::default()).await.unwrap();
    let held = receive(subject, &*queue, execution).await.unwrap();
    drop(queue);
    let queue = subject.open().await.queue;
    let visible = receive_all(subject, &*queue, execution).await;
    assert_eq!(visible.len(), 1);
    assert!(!visible.contains(&held.node));
    queue.delete(&held).await.unwrap();
    subject.let_pass(subject.hide_ms() + 500).await;
    assert_eq!(receive_all(subject, &*queue, execution).await, visible);
}

/// A used receipt and an invalid one are ignored.
pub async fn unknown_receipt_is_ignored(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), MessageContext::default()).await.unwrap();
    let message = receive(subject, &*queue, execution).await.unwrap();
    queue.delete(&message).await.unwrap();
    for receipt in [message.receipt.clone(), "none".to_owned()] {
        let stale = Message { receipt, ..message.clone() };
        queue.delete(&stale).await.unwrap();
        queue.give_back(&stale).await.unwrap();
    }
    assert_eq!(receive(subject, &*queue, execution).await, None);
}
