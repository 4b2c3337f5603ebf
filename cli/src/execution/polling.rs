//! Polling intervals and tolerance of server outages.

use std::time::{Duration, Instant};
use tidemill_worker::client::BackOff;

/// Minimum interval between requests to a server that replies immediately.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum interval, reached while nothing changes.
const MAX_INTERVAL: Duration = Duration::from_secs(5);
/// A reply that takes at least this long was held by the server until something changed.
const LONG_POLL_MIN: Duration = Duration::from_secs(2);

/// The kind of change in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Nothing changed.
    Unchanged,
    /// A change that is not shown, such as a heartbeat.
    HiddenChange,
    /// A change that is shown.
    Changed,
}

/// The interval between requests. A server that holds replies (long poll) is polled again immediately. A server that does not, such
/// as a function billed by time, is polled at most once a second, and less often while nothing changes.
#[derive(Debug, Clone)]
pub struct PollInterval {
    holds_replies: bool,
    interval: Duration,
}

impl PollInterval {
    /// Creates the interval. `holds_replies`: the server is known to support long polls.
    pub const fn new(holds_replies: bool) -> Self {
        Self { holds_replies, interval: MIN_INTERVAL }
    }

    /// Returns the pause before the next request, after a reply that took `took`.
    pub fn pause_after(&mut self, reply: Reply, took: Duration) -> Duration {
        if took >= LONG_POLL_MIN {
            self.holds_replies = true;
        } else if reply == Reply::Unchanged {
            // With long poll, the server would have held this reply.
            self.holds_replies = false;
        }
        if reply == Reply::Changed || self.holds_replies {
            self.interval = MIN_INTERVAL;
        } else {
            self.interval = (self.interval + self.interval / 2).min(MAX_INTERVAL);
        }
        if self.holds_replies { Duration::ZERO } else { self.interval.saturating_sub(took) }
    }
}

/// Outages of at least this duration are reported to the user.
const REPORT_AFTER: Duration = Duration::from_secs(3);

/// Tracks whether a server is unavailable, and for how long.
#[derive(Debug)]
pub struct Outage {
    max: Duration,
    since: Option<(Instant, BackOff)>,
    is_reported: bool,
}

/// The next step after a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Report the outage, and retry after this pause.
    Report(Duration),
    /// Retry after this pause.
    Retry(Duration),
    /// The outage is too long.
    GiveUp,
}

impl Outage {
    /// Creates a tracker without an outage. `max`: the longest tolerated outage.
    pub const fn new(max: Duration) -> Self {
        Self { max, since: None, is_reported: false }
    }

    /// Returns the longest tolerated outage.
    pub const fn max_duration(&self) -> Duration {
        self.max
    }

    /// Records that a request failed at `now`.
    pub fn record_failure(&mut self, now: Instant) -> AfterFailure {
        let start = || (now, BackOff::new(Duration::from_millis(500), Duration::from_secs(10)));
        let (since, back_off) = self.since.get_or_insert_with(start);
        let duration = now.saturating_duration_since(*since);
        if duration >= self.max {
            return AfterFailure::GiveUp;
        }
        let pause = back_off.next_delay();
        if duration >= REPORT_AFTER && !self.is_reported {
            self.is_reported = true;
            return AfterFailure::Report(pause);
        }
        AfterFailure::Retry(pause)
    }

    /// Records that the server answered. Returns whether that ends a reported outage.
    pub fn record_success(&mut self) -> bool {
        self.since = None;
        std::mem::take(&mut self.is_reported)
    }
}

#[cfg(test)]
mod tests {
    use super::{AfterFailure, LONG_POLL_MIN, MAX_INTERVAL, MIN_INTERVAL, Outage, PollInterval, Reply};
    use std::time::{Duration, Instant};

    const FAST: Duration = Duration::from_millis(100);
    /// The rest of the minimum interval after a fast reply.
    const REST: Duration = Duration::from_millis(900);

    #[test]
    fn interval_grows_while_a_server_replies_immediately_without_changes() {
        let mut interval = PollInterval::new(false);
        assert_eq!(interval.pause_after(Reply::Changed, FAST), REST);
        let mut before = MIN_INTERVAL;
        for reply in
            [Reply::Unchanged, Reply::HiddenChange, Reply::Unchanged, Reply::HiddenChange, Reply::Unchanged]
        {
            let pause = interval.pause_after(reply, FAST) + FAST;
            assert!(pause > before || pause == MAX_INTERVAL, "{pause:?} after {before:?}");
            before = pause;
        }
        assert_eq!(before, MAX_INTERVAL);
        assert_eq!(interval.pause_after(Reply::Changed, FAST), REST, "a change resets the interval");
        assert_eq!(
            interval.pause_after(Reply::Changed, MIN_INTERVAL + FAST),
            Duration::ZERO,
            "slow replies need no pause"
        );
    }

    #[test]
    fn server_that_holds_replies_is_polled_again_immediately() {
        let mut known = PollInterval::new(true);
        for reply in [Reply::Changed, Reply::HiddenChange, Reply::Changed] {
            assert_eq!(known.pause_after(reply, FAST), Duration::ZERO);
        }
        let mut learned = PollInterval::new(false);
        assert_eq!(learned.pause_after(Reply::Changed, FAST), REST);
        assert_eq!(learned.pause_after(Reply::Unchanged, LONG_POLL_MIN), Duration::ZERO);
        assert_eq!(learned.pause_after(Reply::Changed, FAST), Duration::ZERO);
        // A slow first reply does not prove support for long poll; a fast unchanged reply disproves it.
        assert!(learned.pause_after(Reply::Unchanged, FAST) >= REST);
    }

    #[test]
    fn outage_is_reported_once_and_given_up_after_its_maximum() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::new(Duration::from_secs(300));
        assert!(
            matches!(outage.record_failure(at(0)), AfterFailure::Retry(_)),
            "one failed request is not reported"
        );
        assert!(!outage.record_success());
        assert!(matches!(outage.record_failure(at(10)), AfterFailure::Retry(_)));
        assert!(matches!(outage.record_failure(at(14)), AfterFailure::Report(_)));
        assert!(matches!(outage.record_failure(at(200)), AfterFailure::Retry(_)));
        assert_eq!(outage.record_failure(at(310)), AfterFailure::GiveUp);
        assert!(outage.record_success());
        assert!(matches!(outage.record_failure(at(400)), AfterFailure::Retry(_)), "a new outage starts anew");
    }
}
