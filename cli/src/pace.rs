//! How often a server is asked, and how long one that is away is waited for.

use std::time::{Duration, Instant};
use tidemill_worker::client::BackOff;

/// From one question to the next, while things change.
const SHORTEST: Duration = Duration::from_secs(1);
/// The same while nothing changes.
const LONGEST: Duration = Duration::from_secs(5);
/// A reply that took so long was held by the server until there was something to say.
const HELD: Duration = Duration::from_secs(2);

/// What a reply said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// That nothing changed.
    Nothing,
    /// That something changed which is not shown, such as a worker's sign of life.
    Same,
    /// Something new.
    News,
}

/// The pace of questions. A server that holds its replies is asked again at once. Of one that does not, such as a
/// function that is paid for its time, there is at most one question a second, and fewer while nothing changes.
#[derive(Debug, Clone)]
pub struct Pace {
    holds: bool,
    interval: Duration,
}

impl Pace {
    /// The pace for a server that is known to hold its replies, or not known to.
    pub const fn new(holds: bool) -> Self {
        Self { holds, interval: SHORTEST }
    }

    /// How long to wait with the next question, after a reply that took `took`.
    pub fn after(&mut self, said: Said, took: Duration) -> Duration {
        if took >= HELD {
            self.holds = true;
        } else if said == Said::Nothing {
            // It could have waited, and did not.
            self.holds = false;
        }
        if said == Said::News || self.holds {
            self.interval = SHORTEST;
        } else {
            self.interval = (self.interval + self.interval / 2).min(LONGEST);
        }
        if self.holds { Duration::ZERO } else { self.interval.saturating_sub(took) }
    }
}

/// From so long on an outage is worth a note.
const NOTICEABLE: Duration = Duration::from_secs(3);

/// A server that is away for a while.
#[derive(Debug)]
pub struct Outage {
    patience: Duration,
    since: Option<(Instant, BackOff)>,
    noted: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask again after a pause, and say so once.
    Note(Duration),
    /// Ask again after a pause.
    Wait(Duration),
    /// It lasts too long.
    GiveUp,
}

impl Outage {
    /// No outage so far; one of `patience` is too long.
    pub const fn new(patience: Duration) -> Self {
        Self { patience, since: None, noted: false }
    }

    /// How long is too long.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// The server did not answer, at `now`.
    pub fn failed(&mut self, now: Instant) -> Next {
        let usual = || (now, BackOff::new(Duration::from_millis(500), Duration::from_secs(10)));
        let (since, pauses) = self.since.get_or_insert_with(usual);
        let lasts = now.saturating_duration_since(*since);
        if lasts >= self.patience {
            return Next::GiveUp;
        }
        let pause = pauses.pause();
        if lasts >= NOTICEABLE && !self.noted {
            self.noted = true;
            return Next::Note(pause);
        }
        Next::Wait(pause)
    }

    /// The server answered; whether that ends an outage that was noted.
    pub fn is_over(&mut self) -> bool {
        self.since = None;
        std::mem::take(&mut self.noted)
    }
}

#[cfg(test)]
mod tests {
    use super::{HELD, LONGEST, Next, Outage, Pace, SHORTEST, Said};
    use std::time::{Duration, Instant};

    const QUICK: Duration = Duration::from_millis(100);
    /// What is left of the shortest pause after a quick reply.
    const REST: Duration = Duration::from_millis(900);

    #[test]
    fn a_server_that_answers_at_once_is_asked_ever_more_rarely_until_something_changes() {
        let mut pace = Pace::new(false);
        assert_eq!(pace.after(Said::News, QUICK), REST);
        let mut before = SHORTEST;
        for said in [Said::Nothing, Said::Same, Said::Nothing, Said::Same, Said::Nothing] {
            let wait = pace.after(said, QUICK) + QUICK;
            assert!(wait > before || wait == LONGEST, "{wait:?} after {before:?}");
            before = wait;
        }
        assert_eq!(before, LONGEST);
        assert_eq!(pace.after(Said::News, QUICK), REST, "at once back to one a second");
        assert_eq!(pace.after(Said::News, SHORTEST + QUICK), Duration::ZERO, "a slow reply was a pause");
    }

    #[test]
    fn a_server_that_holds_is_asked_again_at_once() {
        let mut known = Pace::new(true);
        for said in [Said::News, Said::Same, Said::News] {
            assert_eq!(known.after(said, QUICK), Duration::ZERO);
        }
        let mut learnt = Pace::new(false);
        assert_eq!(learnt.after(Said::News, QUICK), REST);
        assert_eq!(learnt.after(Said::Nothing, HELD), Duration::ZERO);
        assert_eq!(learnt.after(Said::News, QUICK), Duration::ZERO);
        // A first call may be slow without being held: the next one shows it.
        assert!(learnt.after(Said::Nothing, QUICK) >= REST);
    }

    #[test]
    fn an_outage_is_noted_once_waited_for_and_given_up_after_minutes() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut outage = Outage::new(Duration::from_secs(300));
        assert!(matches!(outage.failed(at(0)), Next::Wait(_)), "one lost call is nothing");
        assert!(!outage.is_over());
        assert!(matches!(outage.failed(at(10)), Next::Wait(_)));
        assert!(matches!(outage.failed(at(14)), Next::Note(_)));
        assert!(matches!(outage.failed(at(200)), Next::Wait(_)));
        assert_eq!(outage.failed(at(310)), Next::GiveUp);
        assert!(outage.is_over());
        assert!(matches!(outage.failed(at(400)), Next::Wait(_)), "the next outage is another one");
    }
}
