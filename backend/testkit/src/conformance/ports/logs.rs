//! Checks of the logs.

use crate::conformance::{StoresUnderTest, samples::job_id};
use futures_util::future::join_all;
use std::sync::Arc;
use tidemill_core::ids::JobId;
use tidemill_services::Error;
use tidemill_services::ports::Logs;

async fn all(logs: &dyn Logs, job: JobId, attempt: u32) -> Vec<u8> {
    let (bytes, stored) = logs.read(job, attempt, 0, usize::MAX >> 1).await.unwrap();
    assert_eq!(bytes.len() as u64, stored);
    bytes.to_vec()
}

/// A log returns every byte value in order; a log that does not exist is empty.
pub async fn log_bytes_are_returned_unchanged(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let job = job_id();
    assert_eq!(all(&*logs, job, 1).await, b"");
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n\0\xff\xfe").collect();
    assert_eq!(logs.append(job, 1, 0, &bytes).await.unwrap(), 261);
    assert_eq!(logs.append(job, 1, 261, &bytes).await.unwrap(), 522);
    assert_eq!(logs.append(job, 1, 522, b"").await.unwrap(), 522);
    assert_eq!(all(&*logs, job, 1).await, [bytes.clone(), bytes].concat());
}

/// A repeated append, whole or partial, does not change stored bytes.
pub async fn repeated_append_stores_nothing(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let job = job_id();
    assert_eq!(logs.append(job, 1, 0, b"hello").await.unwrap(), 5);
    assert_eq!(logs.append(job, 1, 0, b"HELLO").await.unwrap(), 5);
    assert_eq!(logs.append(job, 1, 2, b"L").await.unwrap(), 5);
    assert_eq!(logs.append(job, 1, 3, b"LO world").await.unwrap(), 11);
    assert_eq!(all(&*logs, job, 1).await, b"hello world");
}

/// An append after a gap changes nothing, also if the log does not exist.
pub async fn append_after_gap_returns_error(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let job = job_id();
    assert!(matches!(logs.append(job, 1, 1, b"x").await, Err(Error::Conflict(_))));
    assert_eq!(all(&*logs, job, 1).await, b"");
    logs.append(job, 1, 0, b"abc").await.unwrap();
    for offset in [4, u64::MAX] {
        assert!(matches!(logs.append(job, 1, offset, b"x").await, Err(Error::Conflict(_))));
    }
    assert_eq!(all(&*logs, job, 1).await, b"abc");
}

/// A read is bounded by offset and limit, and returns the stored length.
pub async fn reads_are_bounded(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let job = job_id();
    logs.append(job, 1, 0, b"0123456789").await.unwrap();
    for (offset, limit, expected) in
        [(0, 4, "0123"), (8, 4, "89"), (3, 0, ""), (10, 5, ""), (99, 5, ""), (u64::MAX, 5, "")]
    {
        let (bytes, stored) = logs.read(job, 1, offset, limit).await.unwrap();
        assert_eq!((bytes.as_ref(), stored), (expected.as_bytes(), 10));
    }
}

/// Logs are separate by job and attempt.
pub async fn each_attempt_has_its_own_log(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let (one, other) = (job_id(), job_id());
    for (job, attempt, text) in [(one, 1, "a"), (one, 2, "b"), (other, 1, "c"), (one, 12, "d")] {
        assert_eq!(logs.append(job, attempt, 0, text.as_bytes()).await.unwrap(), 1);
    }
    for (job, attempt, text) in [(one, 1, "a"), (one, 2, "b"), (other, 1, "c"), (one, 12, "d")] {
        assert_eq!(all(&*logs, job, attempt).await, text.as_bytes());
    }
}

/// Repeated appends through two handles at the same time store each byte once.
pub async fn concurrent_repeated_appends_store_once(subject: &StoresUnderTest) {
    let opened = [subject.open().await.logs, subject.open().await.logs];
    let job = job_id();
    let mut expected = Vec::new();
    for round in 0_u8..8 {
        let offset = expected.len() as u64;
        let bytes = vec![round; 10_000];
        expected.extend_from_slice(&bytes);
        let all = (0..8).map(|ix| {
            let (logs, part) = (Arc::clone(&opened[ix % 2]), bytes[..bytes.len() - ix * 100].to_vec());
            tokio::spawn(async move { logs.append(job, 1, offset, &part).await.unwrap() })
        });
        for stored in join_all(all).await {
            assert!(stored.unwrap() <= expected.len() as u64);
        }
    }
    assert!(all(&*opened[1], job, 1).await == expected);
}

/// A log can be appended to after a reopen; an earlier handle reads the new bytes.
pub async fn logs_survive_reopen(subject: &StoresUnderTest) {
    let job = job_id();
    let before = subject.open().await.logs;
    assert_eq!(before.append(job, 1, 0, b"one ").await.unwrap(), 4);
    let logs = subject.open().await.logs;
    assert_eq!(logs.append(job, 1, 2, b"e two").await.unwrap(), 7);
    drop(logs);
    assert_eq!(all(&*before, job, 1).await, b"one two");
    assert_eq!(before.append(job, 1, 7, b" three").await.unwrap(), 13);
    assert_eq!(all(&*subject.open().await.logs, job, 1).await, b"one two three");
}

/// More logs can be written concurrently than an adapter keeps open.
pub async fn many_logs_are_written_at_once(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let jobs: Vec<JobId> = (0..100).map(|_| job_id()).collect();
    for (offset, part) in [(0, "first "), (6, "second")] {
        let appends = jobs.iter().map(|job| logs.append(*job, 1, offset, part.as_bytes()));
        for stored in join_all(appends).await {
            assert_eq!(stored.unwrap(), offset + part.len() as u64);
        }
    }
    for job in jobs {
        assert_eq!(all(&*logs, job, 1).await, b"first second");
    }
}
