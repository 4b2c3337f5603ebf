//! Times of positions in a log: at most one a second, and one a MiB of fast output, so that a line is found without reading the log.

use std::time::{Duration, SystemTime};
use tidemill_core::{
    api::{LogMark, MAX_REPORT_MARKS},
    time::Timestamp,
};
use tokio::time::Instant;

/// Time between two marks.
const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes between two marks of output that is faster.
const MARK_BYTES: u64 = 1 << 20;
/// Time between two reports with marks: the server stores each as a document.
const SEND_INTERVAL: Duration = Duration::from_secs(15);

/// Returns the time of this machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// Collects the marks of one attempt.
#[derive(Debug, Default)]
pub struct LogMarks {
    /// Marks that were not taken.
    pending: Vec<LogMark>,
    /// Number of line ends so far.
    line: u64,
    /// Time and offset of the last mark.
    last: Option<(Instant, u64)>,
    /// When marks were taken last; before that, when the first one was recorded.
    taken: Option<Instant>,
    has_taken: bool,
}

impl LogMarks {
    /// Records that `bytes` were added at `offset`, at the time `at`.
    pub fn add(&mut self, offset: u64, bytes: &[u8], now: Instant, at: Timestamp) {
        let is_due = self.last.is_none_or(|(time, last)| {
            now.duration_since(time) >= MARK_INTERVAL || offset.saturating_sub(last) >= MARK_BYTES
        });
        if is_due {
            self.pending.push(LogMark { offset, line: self.line, at });
            self.last = Some((now, offset));
            self.taken.get_or_insert(now);
        }
        self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
    }

    /// Takes the marks that the next report has; `is_last`: no other follows. A log that was written within a second gets none: its
    /// steps have their times.
    pub fn take(&mut self, is_last: bool, now: Instant) -> Vec<LogMark> {
        let is_due = is_last
            || self.pending.len() >= MAX_REPORT_MARKS / 2
            || self.taken.is_some_and(|taken| now.duration_since(taken) >= SEND_INTERVAL);
        if !is_due || (!self.has_taken && self.pending.len() < 2) {
            return Vec::new();
        }
        (self.taken, self.has_taken) = (Some(now), true);
        self.pending.drain(..self.pending.len().min(MAX_REPORT_MARKS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{LogMarks, MARK_BYTES, MARK_INTERVAL, SEND_INTERVAL};
    use std::time::Duration;
    use tidemill_core::{api::LogMark, time::Timestamp};
    use tokio::time::Instant;

    fn mark(offset: u64, line: u64, at: i64) -> LogMark {
        LogMark { offset, line, at: Timestamp(at) }
    }

    #[test]
    fn marks_are_a_second_or_a_mebibyte_apart_and_count_lines() {
        let (mut marks, start) = (LogMarks::default(), Instant::now());
        marks.add(0, b"one\ntwo\n", start, Timestamp(1));
        marks.add(8, b"three\n", start + MARK_INTERVAL / 2, Timestamp(2));
        marks.add(14, b"fi", start + MARK_INTERVAL, Timestamp(3));
        marks.add(16, b"ve\n", start + MARK_INTERVAL, Timestamp(4));
        marks.add(14 + MARK_BYTES, b"x", start + MARK_INTERVAL, Timestamp(5));
        let all = marks.take(true, start + MARK_INTERVAL);
        assert_eq!(all, [mark(0, 0, 1), mark(14, 3, 3), mark(14 + MARK_BYTES, 4, 5)]);
    }

    #[test]
    fn marks_are_sent_rarely_and_a_short_log_has_none() {
        let (mut marks, start) = (LogMarks::default(), Instant::now());
        marks.add(0, b"x\n", start, Timestamp(1));
        assert_eq!(marks.take(true, start), [], "a short log");
        marks.add(2, b"x\n", start + MARK_INTERVAL, Timestamp(2));
        assert_eq!(marks.take(false, start + MARK_INTERVAL), [], "not yet");
        assert_eq!(marks.take(false, start + SEND_INTERVAL), [mark(0, 0, 1), mark(2, 1, 2)]);
        let later = start + SEND_INTERVAL + Duration::from_secs(1);
        marks.add(4, b"x\n", later, Timestamp(3));
        assert_eq!(marks.take(false, later), []);
        assert_eq!(marks.take(true, later), [mark(4, 2, 3)], "the end sends the rest");
    }
}
