//! Checks of the queue. Each receives only of executions of its own.

use super::{Subject, samples::execution_id};
use crate::ports::{JobQueue, Message, NodeKey};
use futures_util::{FutureExt, future::join_all};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tidemill_core::ids::ExecutionId;

/// How long a message is hidden here.
const HIDE_MS: u64 = 30_000;
/// Longer than any check takes: a wait that ends earlier was woken.
const LONG: Duration = Duration::from_secs(60);

fn keys(execution: ExecutionId, count: u32) -> Vec<NodeKey> {
    (0..count).map(|ix| NodeKey { execution, ix }).collect()
}

async fn take(queue: &dyn JobQueue, execution: ExecutionId) -> Option<Message> {
    queue.receive(Some(execution), HIDE_MS, Duration::ZERO).await.unwrap()
}

async fn take_all(queue: &dyn JobQueue, execution: ExecutionId) -> HashSet<NodeKey> {
    let mut taken = HashSet::new();
    while let Some(message) = take(queue, execution).await {
        assert!(taken.insert(message.node), "{message:?} came twice");
    }
    taken
}

/// Once it was received it is hidden, and once it was deleted it never comes again.
pub async fn a_message_is_delivered_and_deleted(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    assert_eq!(take(&*queue, execution).await, None);
    queue.send(&keys(execution, 1)).await.unwrap();
    let message = take(&*queue, execution).await.unwrap();
    assert_eq!(message.node, NodeKey { execution, ix: 0 });
    assert_eq!(take(&*queue, execution).await, None);
    queue.delete(&message).await.unwrap();
    queue.delete(&message).await.unwrap();
    subject.clock.turn(1_000_000);
    assert_eq!(take(&*queue, execution).await, None);
    queue.send(&[]).await.unwrap();
}

/// Neither earlier nor never.
pub async fn a_message_comes_again_when_its_time_is_over(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&keys(execution, 2)).await.unwrap();
    assert_eq!(take_all(&*queue, execution).await.len(), 2);
    subject.clock.turn(29_999);
    assert_eq!(take(&*queue, execution).await, None);
    subject.clock.turn(1);
    assert_eq!(take_all(&*queue, execution).await.len(), 2);
}

/// Who was too slow can neither delete nor give back what another has received since.
pub async fn a_stale_receipt_does_nothing(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&keys(execution, 1)).await.unwrap();
    let stale = take(&*queue, execution).await.unwrap();
    subject.clock.turn(30_000);
    let newest = take(&*queue, execution).await.unwrap();
    assert_ne!(newest.receipt, stale.receipt);
    queue.give_back(&stale).await.unwrap();
    assert_eq!(take(&*queue, execution).await, None);
    queue.delete(&stale).await.unwrap();
    queue.delete(&Message { receipt: "none".to_owned(), ..stale.clone() }).await.unwrap();
    queue.give_back(&newest).await.unwrap();
    let last = take(&*queue, execution).await.expect("still there");
    queue.delete(&last).await.unwrap();
    queue.give_back(&last).await.unwrap();
    assert_eq!(take(&*queue, execution).await, None);
}

/// Without waiting for its time, and its old receipt is void.
pub async fn a_message_given_back_is_visible_at_once(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&keys(execution, 1)).await.unwrap();
    let first = take(&*queue, execution).await.unwrap();
    queue.give_back(&first).await.unwrap();
    queue.delete(&first).await.unwrap();
    assert_eq!(take(&*queue, execution).await.unwrap().node, first.node);
}

/// A job that is sent twice comes at least once, also when it was hidden; who held it cannot delete the new one.
pub async fn sending_again_makes_one_visible_message(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&keys(execution, 1)).await.unwrap();
    let held = take(&*queue, execution).await.unwrap();
    queue.send(&keys(execution, 1)).await.unwrap();
    queue.delete(&held).await.unwrap();
    let again = take(&*queue, execution).await.expect("sent after it was received");
    queue.delete(&again).await.unwrap();
    queue.send(&keys(execution, 1)).await.unwrap();
    assert!(take(&*queue, execution).await.is_some());
}

/// Of the execution that was named, or of any.
pub async fn a_receiver_takes_only_what_it_asked_for(subject: &Subject) {
    let queue = subject.open().await.queue;
    let (one, other) = (execution_id(), execution_id());
    queue.send(&keys(one, 2)).await.unwrap();
    queue.send(&keys(other, 1)).await.unwrap();
    assert_eq!(take_all(&*queue, other).await, keys(other, 1).into_iter().collect());
    let mut wanted: HashSet<NodeKey> = keys(one, 2).into_iter().collect();
    // In a store that is shared others' messages come too.
    while !wanted.is_empty() {
        let message = queue.receive(None, HIDE_MS, Duration::ZERO).await.unwrap().expect("any");
        wanted.remove(&message.node);
    }
}

/// As two processes would, at the same time.
pub async fn racing_receivers_each_get_another_message(subject: &Subject) {
    let opened = [subject.open().await.queue, subject.open().await.queue];
    let execution = execution_id();
    opened[0].send(&keys(execution, 24)).await.unwrap();
    let all = (0..32).map(|ix| {
        let queue = Arc::clone(&opened[ix % 2]);
        tokio::spawn(async move { take(&*queue, execution).await.map(|message| message.node) })
    });
    let got: Vec<NodeKey> = join_all(all).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(got.len(), 24);
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), keys(execution, 24).into_iter().collect());
}

/// Long before its wait is over: by a send here, by one elsewhere, and by a message whose time is over.
pub async fn a_waiting_receiver_is_woken(subject: &Subject) {
    let (queue, elsewhere) = (subject.open().await.queue, subject.open().await.queue);
    let execution = execution_id();
    let started = tokio::time::Instant::now();
    for sender in [&queue, &elsewhere] {
        let (got, sent) = tokio::join!(queue.receive(Some(execution), HIDE_MS, LONG), async {
            sender.send(&keys(execution, 1)).await
        });
        sent.unwrap();
        let message = got.unwrap().expect("woken");
        sender.give_back(&message).await.unwrap();
        let message = take(&*queue, execution).await.unwrap();
        let (again, ()) = tokio::join!(queue.receive(Some(execution), HIDE_MS, LONG), async {
            subject.clock.turn(30_000);
        });
        assert_eq!(again.unwrap().expect("visible again").node, message.node);
    }
    assert!(started.elapsed() < LONG);
}

/// A receive that is dropped half-way does not hide a message from the next one.
pub async fn a_receiver_that_went_away_keeps_nothing(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&keys(execution, 1)).await.unwrap();
    for _ in 0..20 {
        if let Some(got) = queue.receive(Some(execution), HIDE_MS, LONG).now_or_never() {
            queue.give_back(&got.unwrap().unwrap()).await.unwrap();
        }
    }
    // The clock stands still, so only what was given back can come.
    let got = queue.receive(Some(execution), HIDE_MS, LONG).await.unwrap();
    assert_eq!(got.unwrap().node, NodeKey { execution, ix: 0 });
}

/// Durable with what is hidden.
pub async fn messages_outlive_their_sender(subject: &Subject) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&keys(execution, 2)).await.unwrap();
    let held = take(&*queue, execution).await.unwrap();
    drop(queue);
    let queue = subject.open().await.queue;
    let other = take_all(&*queue, execution).await;
    assert_eq!(other.len(), 1);
    assert!(!other.contains(&held.node));
    queue.delete(&held).await.unwrap();
    subject.clock.turn(30_000);
    assert_eq!(take_all(&*queue, execution).await, other);
}
