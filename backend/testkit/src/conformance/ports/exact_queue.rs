//! Checks of what the queue promises beyond the port's contract when one process, or several on one file, are all there
//! is: every message at most once at a time. The embedded server relies on it for its speed, never for its correctness.

use super::queue::{LONG_WAIT, keys, messages, take, take_all};
use crate::conformance::{StoresUnderTest, samples::execution_id};
use futures_util::{FutureExt, future::join_all};
use std::{collections::HashSet, sync::Arc};
use tidemill_core::pipeline::labels::Labels;
use tidemill_services::ports::{Message, NodeKey};

/// Hidden to the last millisecond.
pub async fn delayed_message_is_not_visible_early(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 2), None).await.unwrap();
    assert_eq!(take_all(subject, &*queue, execution).await.len(), 2);
    subject.clock.turn(29_999);
    assert_eq!(take(subject, &*queue, execution).await, None);
    subject.clock.turn(1);
    assert_eq!(take_all(subject, &*queue, execution).await.len(), 2);
}

/// Who was too slow can neither delete nor give back what another has received since.
pub async fn stale_receipt_does_nothing(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), None).await.unwrap();
    let stale = take(subject, &*queue, execution).await.unwrap();
    subject.clock.turn(30_000);
    let newest = take(subject, &*queue, execution).await.unwrap();
    assert_ne!(newest.receipt, stale.receipt);
    queue.give_back(&stale).await.unwrap();
    assert_eq!(take(subject, &*queue, execution).await, None);
    queue.delete(&stale).await.unwrap();
    queue.delete(&Message { receipt: "none".to_owned(), ..stale.clone() }).await.unwrap();
    queue.give_back(&newest).await.unwrap();
    let last = take(subject, &*queue, execution).await.expect("still there");
    queue.delete(&last).await.unwrap();
    queue.give_back(&last).await.unwrap();
    assert_eq!(take(subject, &*queue, execution).await, None);
}

/// Who gave it back cannot delete it.
pub async fn receipt_is_invalid_after_give_back(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), None).await.unwrap();
    let first = take(subject, &*queue, execution).await.unwrap();
    queue.give_back(&first).await.unwrap();
    queue.delete(&first).await.unwrap();
    assert_eq!(take(subject, &*queue, execution).await.unwrap().node, first.node);
}

/// A job that is sent twice comes at least once, also when it was hidden; who held it cannot delete the new one.
pub async fn repeated_send_makes_one_visible_message(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), None).await.unwrap();
    let held = take(subject, &*queue, execution).await.unwrap();
    queue.send(&messages(execution, 1), None).await.unwrap();
    queue.delete(&held).await.unwrap();
    let again = take(subject, &*queue, execution).await.expect("sent after it was received");
    queue.delete(&again).await.unwrap();
    queue.send(&messages(execution, 1), None).await.unwrap();
    assert!(take(subject, &*queue, execution).await.is_some());
}

/// As two processes would, at the same time.
pub async fn concurrent_receivers_get_distinct_messages(subject: &StoresUnderTest) {
    let opened = [subject.open().await.queue, subject.open().await.queue];
    let execution = execution_id();
    opened[0].send(&messages(execution, 24), None).await.unwrap();
    let all = (0..32).map(|ix| {
        let queue = Arc::clone(&opened[ix % 2]);
        let hide_ms = subject.hide_ms();
        tokio::spawn(async move {
            let got = queue
                .receive(Some(execution), &Labels::new(), hide_ms, std::time::Duration::ZERO)
                .await
                .unwrap();
            got.map(|message| message.node)
        })
    });
    let got: Vec<NodeKey> = join_all(all).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(got.len(), 24);
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), keys(execution, 24).into_iter().collect());
}

/// A receive that is dropped half-way does not hide a message from the next one.
pub async fn dropped_receiver_returns_its_messages(subject: &StoresUnderTest) {
    let queue = subject.open().await.queue;
    let execution = execution_id();
    queue.send(&messages(execution, 1), None).await.unwrap();
    for _ in 0..20 {
        if let Some(got) =
            queue.receive(Some(execution), &Labels::new(), subject.hide_ms(), LONG_WAIT).now_or_never()
        {
            queue.give_back(&got.unwrap().unwrap()).await.unwrap();
        }
    }
    // The clock stands still, so only what was given back can come.
    let got = queue.receive(Some(execution), &Labels::new(), subject.hide_ms(), LONG_WAIT).await.unwrap();
    assert_eq!(got.unwrap().node, NodeKey { execution, ix: 0 });
}
