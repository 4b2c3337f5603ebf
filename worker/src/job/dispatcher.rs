//! Decisions on a running job: one synchronous function from an event to responses, without a clock or an engine.

use std::time::Duration;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// Time for a script to end by itself after its timeout.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);
/// The same after a cancel.
const CANCEL_GRACE: Duration = Duration::from_secs(4);
/// The same after a limit was exceeded, or when the job is given back.
const SHORT_GRACE: Duration = Duration::from_secs(1);
/// Time limit of the `after_script`, which is not part of the job's timeout.
const AFTER_SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the container's first process may take to react to a signal, and the engine to report an exit.
const REACTION_TIME: Duration = Duration::from_secs(3);

/// An event of a running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The container exited with a code of its first process.
    ScriptEnded {
        /// The exit code of the script.
        exit_code: i32,
        /// Whether the kernel killed one of its processes for using too much memory.
        out_of_memory: bool,
        /// Whether it ended by itself, before any signal of the worker reached it.
        completed: bool,
    },
    /// The container ended before its script did.
    ContainerDied {
        /// A description of how it ended.
        cause: String,
        /// Whether the kernel killed one of its processes for using too much memory.
        out_of_memory: bool,
    },
    /// The `after_script` starts, as the output says. A job that forges this limits its own time.
    AfterScriptStarted,
    /// Time passed.
    Tick,
    /// The job is held for a shell: its time does not count.
    Held {
        /// Whether its script has ended, as its output says. A job can forge this.
        has_ended: bool,
    },
    /// The job goes on.
    Released,
    /// The job exceeded a limit.
    LimitExceeded(FailureReason),
    /// The job was canceled.
    Canceled,
    /// The lease is no longer this worker's.
    LeaseLost,
    /// The worker is stopping.
    Shutdown,
}

/// Why a script is stopped, as its `after_script` learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The job fails.
    Failed,
    /// The job is canceled.
    Canceled,
    /// Nothing of the job may run afterwards, not even its `after_script`: it exceeds a limit, or will run again.
    Final,
}

/// An action on the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Ask the script to end. Has no effect on an `after_script`.
    Stop(StopCause),
    /// Kill the script; its `after_script` starts then. Has no effect on an `after_script`.
    KillScript,
    /// Kill the `after_script`. Has no effect on a script.
    KillAfterScript,
    /// Let the job go on that is held.
    EndHold,
    /// Kill the container.
    Kill,
    /// End the attempt with this result.
    Finish(AttemptEnd),
    /// Stop reporting the attempt, as another worker may have it.
    Abandon,
}

/// The state of one running attempt. Times are durations since the script's start.
///
/// What a job prints decides nothing but the time of its own `after_script`: the timeout and a cancel are passed on to the
/// container in any case, whose first process ignores them once the script has ended, and reports whether it did.
#[derive(Debug)]
pub struct Dispatcher {
    timeout: Duration,
    has_after_script: bool,
    stopping: Option<Stopping>,
    after_script_since: Option<Duration>,
    script_killed_at: Option<Duration>,
    after_script_killed_at: Option<Duration>,
    killed_at: Option<Duration>,
    /// Since when the job is held.
    held_since: Option<Duration>,
    /// Whether it is held after its script, as its output says.
    held_after_script: bool,
    has_ended: bool,
    death: fn(&str) -> FailureReason,
}

/// The first reason to stop the script.
#[derive(Debug)]
struct Stopping {
    reason: FailureReason,
    cause: StopCause,
    /// When the script is killed.
    deadline: Duration,
    /// Whether the reason applies even if the script ended by itself before it was stopped.
    is_final: bool,
}

impl Dispatcher {
    /// Creates the state of an attempt that starts now and may take `timeout`.
    #[must_use]
    pub const fn new(timeout: Duration, has_after_script: bool) -> Self {
        Self {
            timeout,
            has_after_script,
            stopping: None,
            after_script_since: None,
            script_killed_at: None,
            after_script_killed_at: None,
            killed_at: None,
            held_since: None,
            held_after_script: false,
            has_ended: false,
            death: container_death,
        }
    }

    /// Sets the reason of a job whose script did not end, given a description of what happened.
    #[must_use]
    pub fn with_death(self, death: fn(&str) -> FailureReason) -> Self {
        Self { death, ..self }
    }

    /// Returns the responses to `event`, `now` after the start.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Response> {
        if self.has_ended {
            return Vec::new();
        }
        match event {
            Event::ScriptEnded { exit_code, out_of_memory, completed } => {
                // A container that was killed could not confirm it.
                let completed = completed && self.killed_at.is_none();
                let stopped = self.stopping.take().filter(|stopping| stopping.is_final || !completed);
                let failure = stopped.map(|stopping| stopping.reason);
                self.finish(Some(exit_code), failure.or_else(|| script_failure(exit_code, out_of_memory)))
            }
            Event::ContainerDied { cause, out_of_memory } => {
                let failure = self.stopping.take().map(|stopping| stopping.reason);
                self.finish(None, Some(failure.unwrap_or_else(|| self.death_failure(&cause, out_of_memory))))
            }
            Event::AfterScriptStarted => {
                if self.has_after_script {
                    self.after_script_since.get_or_insert(now);
                }
                // Everything had ended, as the job said before, so that was false.
                if self.held_after_script { vec![Response::KillAfterScript] } else { Vec::new() }
            }
            Event::Held { has_ended } => {
                self.held_since.get_or_insert(now);
                self.held_after_script = has_ended;
                // Its time does not count any longer. What still runs although its output says that it has ended is killed;
                // otherwise the container's first process ignores both.
                if has_ended { vec![Response::KillScript, Response::KillAfterScript] } else { Vec::new() }
            }
            Event::Released => {
                self.held_after_script = false;
                if let Some(since) = self.held_since.take() {
                    self.postpone(now.saturating_sub(since));
                }
                Vec::new()
            }
            Event::LimitExceeded(reason) => self.stop(now, SHORT_GRACE, StopCause::Final, reason),
            Event::LeaseLost => {
                self.has_ended = true;
                vec![Response::Kill, Response::Abandon]
            }
            Event::Canceled => {
                let reason = FailureReason::new(FailureKind::Canceled, "the job was canceled");
                self.stop(now, CANCEL_GRACE, StopCause::Canceled, reason)
            }
            Event::Shutdown => {
                let message = "the worker is stopping and gave the job back";
                let reason = FailureReason::new(FailureKind::GivenBack, message);
                self.stop(now, SHORT_GRACE, StopCause::Final, reason)
            }
            Event::Tick => self.tick(now),
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<Response> {
        let has_passed = |since: Option<Duration>, limit| since.is_some_and(|since| now >= since + limit);
        if self.killed_at.is_some() {
            if !has_passed(self.killed_at, REACTION_TIME) {
                return Vec::new();
            }
            // The engine does not report the exit; the attempt must not wait for it.
            let failure = self.stopping.take().map(|stopping| stopping.reason);
            return self
                .finish(None, Some(failure.unwrap_or_else(|| self.death_failure("it was killed", false))));
        }
        if self.held_since.is_some() {
            return Vec::new();
        }
        if has_passed(self.after_script_killed_at, REACTION_TIME) {
            return self.kill(now);
        }
        let is_final = self.stopping.as_ref().is_some_and(|stopping| stopping.cause == StopCause::Final);
        let limit = if is_final { Duration::ZERO } else { AFTER_SCRIPT_TIMEOUT };
        if self.after_script_killed_at.is_none() && has_passed(self.after_script_since, limit) {
            return self.kill_after_script(now);
        }
        if self.after_script_since.is_none() && has_passed(self.script_killed_at, REACTION_TIME) {
            return self.kill(now);
        }
        match &self.stopping {
            Some(stopping) if now >= stopping.deadline && self.script_killed_at.is_none() => {
                if !self.has_after_script || stopping.cause == StopCause::Final {
                    return self.kill(now);
                }
                self.script_killed_at = Some(now);
                vec![Response::KillScript]
            }
            None if now >= self.timeout => {
                let message = format!(
                    "the job exceeded its timeout of {} s; raise `timeout`, or split the job",
                    self.timeout.as_secs()
                );
                let reason = FailureReason::new(FailureKind::TimedOut, message);
                self.stop(now, TIMEOUT_GRACE, StopCause::Failed, reason)
            }
            _ => Vec::new(),
        }
    }

    /// Moves all that is due later by `time`, for which the job was held.
    fn postpone(&mut self, time: Duration) {
        self.timeout = self.timeout.saturating_add(time);
        let due =
            [&mut self.after_script_since, &mut self.script_killed_at, &mut self.after_script_killed_at];
        for moment in due.into_iter().flatten() {
            *moment += time;
        }
        if let Some(stopping) = &mut self.stopping {
            stopping.deadline += time;
        }
    }

    fn kill(&mut self, now: Duration) -> Vec<Response> {
        self.killed_at = Some(now);
        vec![Response::Kill]
    }

    fn kill_after_script(&mut self, now: Duration) -> Vec<Response> {
        self.after_script_killed_at = Some(now);
        vec![Response::KillAfterScript]
    }

    /// Stops the script. An `after_script` that runs continues after a cancel and a timeout.
    fn stop(
        &mut self,
        now: Duration,
        grace: Duration,
        cause: StopCause,
        reason: FailureReason,
    ) -> Vec<Response> {
        let deadline = now + grace;
        let in_after_script = self.after_script_since.is_some();
        let is_first = self.stopping.is_none();
        let gives_back = reason.kind == FailureKind::GivenBack;
        let is_held = self.held_since.is_some();
        let stopping = self.stopping.get_or_insert_with(|| {
            let is_final =
                cause == StopCause::Final && reason.kind != FailureKind::GivenBack && !in_after_script;
            Stopping { reason, cause, deadline, is_final }
        });
        if is_held && self.held_after_script && gives_back {
            // The script has ended, so the job ends with its result instead of running again.
            stopping.deadline = deadline;
            return vec![Response::EndHold];
        }
        if is_held {
            // The script has ended, or has not started: there is nothing to wait for.
            return if self.killed_at.is_some() { Vec::new() } else { self.kill(now) };
        }
        // The first reason is kept, but a shorter grace applies.
        stopping.deadline = deadline.min(stopping.deadline);
        let becomes_final = cause == StopCause::Final && (is_first || stopping.cause != StopCause::Final);
        if becomes_final {
            stopping.cause = StopCause::Final;
            if in_after_script {
                return self.kill_after_script(now);
            }
        }
        // The container's first process ignores this once the script has ended: its output may claim that falsely.
        if is_first || becomes_final { vec![Response::Stop(cause)] } else { Vec::new() }
    }

    fn death_failure(&self, cause: &str, out_of_memory: bool) -> FailureReason {
        if out_of_memory { out_of_memory_failure() } else { (self.death)(cause) }
    }

    fn finish(&mut self, exit_code: Option<i32>, failure: Option<FailureReason>) -> Vec<Response> {
        self.has_ended = true;
        vec![Response::Finish(AttemptEnd { failure, exit_code, ..AttemptEnd::default() })]
    }
}

/// Returns the reason of a job whose container ended before its script did.
#[must_use]
pub fn container_death(cause: &str) -> FailureReason {
    let message =
        format!("the container ended before its script did ({cause}); check that the engine is running");
    FailureReason::new(FailureKind::EngineFailed, message)
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
mod tests;
