//! When the reports of an attempt are due: a pure function of what there is to report.

use std::time::Duration;
use tidemill_core::execution::{
    assignment::LeaseGrant,
    attempt::{EACH_SECOND_MS, heartbeat_ms},
};
use tokio::time::Instant;

/// How long the first log bytes wait for more output or the end, so that a short job needs one report.
const FIRST_LOG_DELAY: Duration = Duration::from_millis(100);
/// The longest time for which a server may have output collected.
const MAX_REPORT_INTERVAL_MS: u64 = 300_000;

/// When reports are due.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// When the last report was sent.
    pub last: Instant,
    /// When the last one with log bytes, a phase or a step was sent; before that, when the attempt started.
    pub last_news: Instant,
    /// Whether any report contained log bytes.
    pub sent_log: bool,
    /// For how long log bytes, phases and steps are collected. The server sets it: where a report costs money, it is short only while
    /// a user reads the log.
    pub interval: Duration,
    /// The longest time between two reports.
    pub heartbeat: Duration,
}

/// What there is to report.
#[derive(Debug, Clone, Copy)]
pub struct News {
    /// Whether it must not wait: the end, or many log bytes.
    pub is_urgent: bool,
    /// When the first unsent log bytes were added.
    pub log_since: Option<Instant>,
    /// When the first unsent phase or step was added.
    pub status_since: Option<Instant>,
}

/// When a report with news is due.
#[derive(Debug, Clone, Copy)]
enum NewsDue {
    Now,
    At(Instant),
    /// There are no news.
    Never,
}

impl Schedule {
    /// Creates the schedule of an attempt that starts now.
    pub fn new(start: Instant, lease: &LeaseGrant) -> Self {
        let (interval, heartbeat) = (Duration::ZERO, Duration::ZERO);
        let schedule = Self { last: start, last_news: start, sent_log: false, interval, heartbeat };
        schedule.with_pace(lease.ttl_ms, lease.report_interval_ms)
    }

    /// Returns the schedule with what the server asks for.
    pub fn with_pace(self, ttl_ms: u64, report_interval_ms: u64) -> Self {
        let interval_ms = report_interval_ms.clamp(EACH_SECOND_MS, MAX_REPORT_INTERVAL_MS);
        let heartbeat = Duration::from_millis(heartbeat_ms(ttl_ms, interval_ms));
        Self { interval: Duration::from_millis(interval_ms), heartbeat, ..self }
    }

    /// Whether a report costs money, so that there are few.
    fn is_batched(&self) -> bool {
        self.interval > Duration::from_millis(EACH_SECOND_MS)
    }

    /// Returns when the next report is due; `None`: immediately.
    pub fn due(&self, news: News) -> Option<Instant> {
        let heartbeat = self.last + self.heartbeat;
        match self.news_due(news) {
            NewsDue::Now => None,
            NewsDue::At(due) => Some(due.min(heartbeat)),
            NewsDue::Never => Some(heartbeat),
        }
    }

    /// Whether the report that is sent at `now` is only a heartbeat, and the news wait for the next one.
    pub fn holds_back(&self, news: News, now: Instant) -> bool {
        self.is_batched()
            && match self.news_due(news) {
                NewsDue::Now => false,
                NewsDue::At(due) => now < due,
                NewsDue::Never => true,
            }
    }

    /// Returns when a report with news is due.
    ///
    /// A call costs more than a wait: a job that ends soon after its output sends one report, and phases and steps are sent with
    /// the next bytes. Where a call costs nothing, the first output is sent after 100 ms, everything else within a second.
    fn news_due(&self, news: News) -> NewsDue {
        let News { is_urgent, log_since, status_since } = news;
        if is_urgent {
            return NewsDue::Now;
        }
        let due = if self.is_batched() {
            let since = log_since.into_iter().chain(status_since).min();
            since.map(|since| (self.last_news + self.interval).max(since + FIRST_LOG_DELAY))
        } else {
            let next = if self.sent_log { self.last + self.interval } else { self.last };
            let log = log_since.map(|since| next.max(since + FIRST_LOG_DELAY));
            let status = status_since.map(|since| since + self.interval);
            log.into_iter().chain(status).min()
        };
        due.map_or(NewsDue::Never, NewsDue::At)
    }
}
