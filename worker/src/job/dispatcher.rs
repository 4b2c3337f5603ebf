//! Decisions on a running job: one synchronous function from an event to responses, without a clock or an engine.

use std::time::Duration;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// Time for a script to end by itself after its timeout.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);
/// The same after a cancel.
const CANCEL_GRACE: Duration = Duration::from_secs(4);
/// The same after a limit was exceeded.
const LIMIT_GRACE: Duration = Duration::from_secs(1);

/// An event of a running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The script has ended.
    ScriptEnded {
        /// Its exit code.
        exit_code: i32,
        /// Whether the kernel killed one of its processes for using too much memory.
        out_of_memory: bool,
    },
    /// The container ended before its script did.
    ContainerDied {
        /// A description of how it ended.
        cause: String,
        /// Whether the kernel killed one of its processes for using too much memory.
        out_of_memory: bool,
    },
    /// Time passed.
    Tick,
    /// The job exceeded a limit.
    LimitExceeded(FailureReason),
    /// The job was canceled.
    Canceled,
    /// The lease is no longer this worker's.
    LeaseLost,
    /// The worker is stopping.
    Shutdown,
}

/// An action on the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Send SIGTERM to the container.
    Terminate,
    /// Send SIGKILL to the container.
    Kill,
    /// End the attempt with this result.
    Finish(AttemptEnd),
    /// Stop reporting the attempt, as another worker may have it.
    Abandon,
}

/// The state of one running attempt. Times are durations since the script's start.
#[derive(Debug)]
pub struct Dispatcher {
    timeout: Duration,
    stopping: Option<(FailureReason, Duration)>,
    killed_at: Option<Duration>,
    has_ended: bool,
}

impl Dispatcher {
    /// Creates the state of an attempt that starts now and may take `timeout`.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, stopping: None, killed_at: None, has_ended: false }
    }

    /// Returns the responses to `event`, `now` after the start.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Response> {
        if self.has_ended {
            return Vec::new();
        }
        match event {
            Event::ScriptEnded { exit_code, out_of_memory } => self.finish(Some(exit_code), |stopped| {
                stopped.or_else(|| script_failure(exit_code, out_of_memory))
            }),
            Event::ContainerDied { out_of_memory: true, .. } => {
                self.finish(None, |stopped| Some(stopped.unwrap_or_else(out_of_memory_failure)))
            }
            Event::ContainerDied { cause, .. } => self.finish(None, |stopped| {
                Some(stopped.unwrap_or_else(|| {
                    FailureReason::new(
                        FailureKind::EngineFailed,
                        format!("the container ended before its script did ({cause}); check that the engine is running"),
                    )
                }))
            }),
            Event::LimitExceeded(reason) => self.stop(now, LIMIT_GRACE, reason),
            Event::LeaseLost => {
                self.has_ended = true;
                vec![Response::Kill, Response::Abandon]
            }
            Event::Canceled => {
                self.stop(now, CANCEL_GRACE, FailureReason::new(FailureKind::Canceled, "the job was canceled"))
            }
            Event::Shutdown => {
                let message = "the worker is stopping and gave the job back";
                self.stop(now, Duration::from_secs(1), FailureReason::new(FailureKind::GivenBack, message))
            }
            Event::Tick => self.tick(now),
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<Response> {
        if let Some(killed_at) = self.killed_at {
            if now.saturating_sub(killed_at) < Duration::from_secs(3) {
                return Vec::new();
            }
            // The engine does not report the exit; the attempt must not wait for it.
            return self.finish(None, |stopped| stopped);
        }
        match &self.stopping {
            Some((_, deadline)) if now >= *deadline => {
                self.killed_at = Some(now);
                vec![Response::Kill]
            }
            None if now >= self.timeout => {
                let message = format!(
                    "the job exceeded its timeout of {} s; raise `timeout`, or split the job",
                    self.timeout.as_secs()
                );
                self.stop(now, TIMEOUT_GRACE, FailureReason::new(FailureKind::TimedOut, message))
            }
            _ => Vec::new(),
        }
    }

    fn stop(&mut self, now: Duration, grace: Duration, reason: FailureReason) -> Vec<Response> {
        let deadline = now + grace;
        if let Some((_, current)) = &mut self.stopping {
            // The first reason is kept, but a shorter grace applies.
            *current = deadline.min(*current);
            return Vec::new();
        }
        self.stopping = Some((reason, deadline));
        vec![Response::Terminate]
    }

    fn finish(
        &mut self,
        exit_code: Option<i32>,
        failure: impl FnOnce(Option<FailureReason>) -> Option<FailureReason>,
    ) -> Vec<Response> {
        self.has_ended = true;
        let failure = failure(self.stopping.take().map(|(reason, _)| reason));
        vec![Response::Finish(AttemptEnd { failure, exit_code })]
    }
}

fn script_failure(exit_code: i32, out_of_memory: bool) -> Option<FailureReason> {
    if exit_code == 0 {
        return None;
    }
    Some(if out_of_memory {
        out_of_memory_failure()
    } else {
        FailureReason::new(FailureKind::ScriptFailed, format!("the script ended with exit code {exit_code}"))
    })
}

fn out_of_memory_failure() -> FailureReason {
    FailureReason::new(
        FailureKind::OutOfMemory,
        "the kernel killed the job for exceeding its memory limit; raise `resources.memory` or reduce its memory usage",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Dispatcher, Event, Response};
    use std::time::Duration;
    use tidemill_core::execution::failure::{FailureKind, FailureReason};

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn kind(responses: &[Response]) -> Option<FailureKind> {
        responses.iter().find_map(|response| match response {
            Response::Finish(end) => end.failure.as_ref().map(|reason| reason.kind),
            _ => None,
        })
    }

    const fn ended(exit_code: i32) -> Event {
        Event::ScriptEnded { exit_code, out_of_memory: false }
    }

    #[test]
    fn script_that_ignores_term_is_killed_after_its_grace() {
        let mut job = Dispatcher::new(s(60));
        assert_eq!(job.handle(s(59), Event::Tick), []);
        assert_eq!(job.handle(s(60), Event::Tick), [Response::Terminate]);
        assert_eq!(job.handle(s(69), Event::Tick), []);
        assert_eq!(job.handle(s(70), Event::Tick), [Response::Kill]);
        assert_eq!(kind(&job.handle(s(71), ended(137))), Some(FailureKind::TimedOut));
        assert_eq!(job.handle(s(72), Event::Canceled), [], "the end is final");
    }

    #[test]
    fn cancel_ends_within_ten_seconds_when_the_engine_is_silent() {
        let mut job = Dispatcher::new(s(600));
        assert_eq!(job.handle(s(1), Event::Canceled), [Response::Terminate]);
        assert_eq!(job.handle(s(2), Event::Canceled), [], "terminated once");
        assert_eq!(job.handle(s(5), Event::Tick), [Response::Kill]);
        assert_eq!(kind(&job.handle(s(8), Event::Tick)), Some(FailureKind::Canceled));
    }

    #[test]
    fn exceeded_limit_stops_job_with_own_kind() {
        let mut job = Dispatcher::new(s(600));
        let reason = FailureReason::new(FailureKind::LogLimit, "the log is too long");
        assert_eq!(job.handle(s(1), Event::LimitExceeded(reason)), [Response::Terminate]);
        assert_eq!(job.handle(s(2), Event::Tick), [Response::Kill]);
        assert_eq!(kind(&job.handle(s(3), ended(0))), Some(FailureKind::LogLimit));
    }

    #[test]
    fn each_end_maps_to_its_failure_kind() {
        let end = |event| kind(&Dispatcher::new(s(9)).handle(s(1), event));
        assert_eq!(end(ended(0)), None);
        assert_eq!(end(ended(3)), Some(FailureKind::ScriptFailed));
        let oom = Event::ScriptEnded { exit_code: 137, out_of_memory: true };
        assert_eq!(end(oom), Some(FailureKind::OutOfMemory));
        let died = |out_of_memory| Event::ContainerDied { cause: "gone".into(), out_of_memory };
        assert_eq!(end(died(false)), Some(FailureKind::EngineFailed));
        assert_eq!(end(died(true)), Some(FailureKind::OutOfMemory));
    }

    #[test]
    fn lost_lease_stops_the_container_and_reports_nothing() {
        let mut job = Dispatcher::new(s(9));
        assert_eq!(job.handle(s(1), Event::LeaseLost), [Response::Kill, Response::Abandon]);
    }
}
