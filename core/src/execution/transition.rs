//! The only place where a job's state changes: `step` returns the next state, or why the event is not allowed.

use crate::execution::{
    attempt::{AttemptEnd, AttemptView, Lease, StepView, merge_steps},
    failure::{FailureKind, FailureReason},
    retry::{MAX_IMMEDIATE_GIVE_BACKS, MAX_INFRASTRUCTURE_ATTEMPTS, RetryFor, backoff_ms},
    status::JobStatus,
};
use crate::{guarded, guarded_by_all, ids::LeaseToken, time::Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Time in milliseconds after which a canceled job ends if its worker does not report: the cancel shortens its lease.
pub const CANCEL_GRACE_MS: u64 = 10_000;
/// Time in milliseconds after its cancel at which the lease of an attempt ends, however often its worker reports: enough
/// for the `after_script` (five minutes) and for uploading artifacts.
pub const CANCELED_LEASE_LIMIT_MS: u64 = 600_000;
/// Ends the message of a lost job that is not repeated.
const NOT_REPEATED: &str = "; its script may have had effects, so it is not repeated (`interruptible: false` or an empty \
                            `retry: when`); check them, then run `tidemill retry`";
/// Maximum number of recorded attempts of a job; beyond it, the oldest give-backs are removed.
pub const MAX_RECORDED_ATTEMPTS: usize = 50;

/// The mutable state of a job.
///
/// Default values are not stored: most jobs of a large execution are pending, and each is an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobState {
    /// Status.
    pub status: JobStatus,
    /// Current or last attempt; 0 before the first.
    #[serde(skip_serializing_if = "is_default")]
    pub attempt: u32,
    /// Present only while `Running`.
    #[serde(skip_serializing_if = "is_default")]
    pub lease: Option<Lease>,
    /// Whether a cancel was requested while it ran.
    #[serde(skip_serializing_if = "is_default")]
    pub cancel_requested: bool,
    /// When that cancel was requested.
    #[serde(skip_serializing_if = "is_default")]
    pub cancel_requested_at: Option<Timestamp>,
    /// When its needs had ended.
    #[serde(skip_serializing_if = "is_default")]
    pub queued_at: Option<Timestamp>,
    /// When the last attempt started.
    #[serde(skip_serializing_if = "is_default")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "is_default")]
    pub ended_at: Option<Timestamp>,
    /// Exit code of the last attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub exit_code: Option<i32>,
    /// Variables of the last attempt for the jobs that need this one.
    #[serde(skip_serializing_if = "is_default")]
    pub outputs: IndexMap<String, String>,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "is_default")]
    pub failure: Option<FailureReason>,
    /// Attempts before the current one.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: Vec<AttemptView>,
    /// Commands of the current or last attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub steps: Vec<StepView>,
    /// The worker's current activity.
    #[serde(skip_serializing_if = "is_default")]
    pub phase: Option<String>,
    /// Number of attempts lost to infrastructure failures.
    #[serde(skip_serializing_if = "is_default")]
    pub infrastructure_tries: u32,
    /// Number of attempts that failed by the job's own fault.
    #[serde(skip_serializing_if = "is_default")]
    pub failed_tries: u32,
    /// When the next attempt may start, if it is delayed; its message is held back until then. A repeated attempt may
    /// start earlier if a message is delivered twice.
    #[serde(skip_serializing_if = "is_default")]
    pub not_before: Option<Timestamp>,
    /// What its ended attempts cost, in billionths of a dollar; 0 if their workers have no price.
    #[serde(skip_serializing_if = "is_default")]
    pub cost_nano_usd: u64,
}

/// The parts of a job's definition that affect its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRules<'a> {
    /// Additional attempts after the job's own failures.
    pub retry: u32,
    /// The failures that `retry` applies to.
    pub retry_for: &'a RetryFor,
    /// How long it waits, in milliseconds, once its dependencies have ended.
    pub start_in_ms: u64,
    /// Randomizes the delays between attempts; constant for a job.
    pub seed: u64,
}

/// Which failures of a job are tolerated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllowFailureRules<'a> {
    /// All failures.
    pub any: bool,
    /// Failures of its script with these exit codes.
    pub exit_codes: &'a [i32],
}

/// An event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// Its dependencies have ended. `None`: it is queued; otherwise it is skipped for this reason.
    Release(Option<FailureReason>),
    /// A worker claims it.
    Claim {
        /// The new lease's token.
        token: LeaseToken,
        /// Name of the worker.
        worker: String,
        /// Duration of the lease in milliseconds.
        ttl_ms: u64,
        /// What a slot of the worker costs, in millionths of a dollar for an hour; 0 if it has no price.
        slot_price: u64,
    },
    /// A report that does not end the attempt.
    Heartbeat {
        /// The reporter's lease.
        token: LeaseToken,
        /// New duration of the lease in milliseconds.
        ttl_ms: u64,
        /// New phase.
        phase: Option<String>,
        /// Commands that changed.
        steps: Vec<StepView>,
    },
    /// The attempt ended.
    End {
        /// The reporter's lease.
        token: LeaseToken,
        /// Its outcome.
        end: AttemptEnd,
        /// Commands that changed.
        steps: Vec<StepView>,
    },
    /// The lease may have expired.
    LeaseExpired,
    /// The server was suspended (its process, or its machine), so that nobody could report.
    ServerResumed {
        /// When it ran last. A lease that had expired by then stays expired.
        suspended_at: Timestamp,
        /// New duration of the lease in milliseconds.
        ttl_ms: u64,
    },
    /// The queue gave up its message: no worker could take it.
    Undeliverable,
    /// A cancel is requested.
    Cancel,
}

/// Why an event does not apply to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The job has another lease or none: the reporter has lost the job.
    #[error(
        "the lease is no longer valid: the job has ended, was canceled, or is assigned to another worker"
    )]
    LeaseLost,
    /// The status does not allow the event.
    #[error("a job with status {0} does not allow this")]
    Status(JobStatus),
    /// The lease has not expired.
    #[error("the lease has not expired")]
    LeaseValid,
}

/// Whether a value is the default of its type.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for JobState {
    fn default() -> Self {
        Self {
            status: JobStatus::Pending,
            attempt: 0,
            lease: None,
            cancel_requested: false,
            cancel_requested_at: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
            exit_code: None,
            outputs: IndexMap::new(),
            failure: None,
            attempts: Vec::new(),
            steps: Vec::new(),
            phase: None,
            infrastructure_tries: 0,
            failed_tries: 0,
            not_before: None,
            cost_nano_usd: 0,
        }
    }
}

impl JobState {
    /// Whether `token` is the valid lease.
    #[must_use]
    pub fn is_leased_to(&self, token: LeaseToken) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_held_by(token))
    }

    /// Returns when a lease that a report renews at `now` expires. The attempt of a canceled job may report for a limited
    /// time, so that its `after_script` runs and its artifacts are stored.
    #[must_use]
    pub fn renewed_until(&self, ttl_ms: u64, now: Timestamp) -> Timestamp {
        let renewed = after(now, ttl_ms);
        let Some(canceled_at) = self.cancel_requested_at else { return renewed };
        let limited = renewed.min(after(canceled_at, CANCELED_LEASE_LIMIT_MS));
        guarded!(CanceledRenewalIsLimited, limited, without renewed)
    }

    /// Returns how many of its last attempts were given back consecutively.
    #[must_use]
    pub fn consecutive_give_backs(&self) -> u32 {
        let last = self.attempts.iter().rev().take_while(|attempt| is_give_back(attempt));
        u32::try_from(last.count()).unwrap_or(u32::MAX)
    }

    /// Whether the job counts as successful although it did not succeed: its failure is tolerated, it was not needed,
    /// it is optional and was not approved, or a condition on outputs did not hold.
    #[must_use]
    pub fn is_tolerated(&self, allowed: AllowFailureRules<'_>) -> bool {
        let kind = self.failure.as_ref().map(|reason| reason.kind);
        match self.status {
            JobStatus::Failed => {
                let code = self.exit_code.is_some_and(|code| allowed.exit_codes.contains(&code));
                allowed.any || (code && kind == Some(FailureKind::ScriptFailed))
            }
            JobStatus::Skipped => kind.is_some_and(FailureKind::is_tolerated_skip),
            _ => false,
        }
    }

    /// Whether dependents of this job may run.
    #[must_use]
    pub fn releases_dependents(&self, allowed: AllowFailureRules<'_>) -> bool {
        let kind = self.failure.as_ref().map(|reason| reason.kind);
        let waived = matches!(kind, Some(FailureKind::NotApproved | FailureKind::ConditionNotMet));
        self.status == JobStatus::Success || (self.is_tolerated(allowed) && !waived)
    }
}

/// Returns the state after `event`; what the event does not concern is unchanged.
pub fn next_state(
    state: &JobState,
    rules: JobRules<'_>,
    event: JobEvent,
    now: Timestamp,
) -> Result<JobState, TransitionError> {
    let mut next = state.clone();
    match event {
        JobEvent::Release(blocked) => {
            if !guarded!(ReleaseOnlyPending, state.status == JobStatus::Pending) {
                return Err(TransitionError::Status(state.status));
            }
            if let Some(reason) = blocked {
                next.failure = Some(reason);
                next.ended_at = Some(now);
                next.status = JobStatus::Skipped;
            } else {
                next.queued_at = Some(now);
                next.not_before = (rules.start_in_ms > 0).then(|| after(now, rules.start_in_ms));
                next.status = JobStatus::Queued;
            }
        }
        JobEvent::Claim { token, worker, ttl_ms, slot_price } => {
            if !guarded!(ClaimOnlyQueued, state.status == JobStatus::Queued) {
                return Err(TransitionError::Status(state.status));
            }
            next.status = JobStatus::Running;
            next.attempt += 1;
            next.not_before = None;
            next.lease = Some(Lease { token, worker, expires_at: after(now, ttl_ms), slot_price });
            next.started_at = Some(now);
            (next.exit_code, next.outputs) = (None, IndexMap::new());
            next.failure = None;
            next.steps = Vec::new();
            next.phase = None;
        }
        JobEvent::Heartbeat { token, ttl_ms, phase, steps } => {
            let expires_at = state.renewed_until(ttl_ms, now);
            let lease = lease_held_by(&mut next, token)?;
            lease.expires_at = lease.expires_at.max(expires_at);
            if phase.is_some() {
                next.phase = phase;
            }
            merge_steps(&mut next.steps, steps);
        }
        JobEvent::End { token, end, steps } => {
            lease_held_by(&mut next, token)?;
            merge_steps(&mut next.steps, steps);
            (next.exit_code, next.outputs) = (end.exit_code, end.outputs);
            let has_started = !next.steps.is_empty();
            end_attempt(&mut next, rules, end.failure, has_started, now);
        }
        JobEvent::LeaseExpired => match &state.lease {
            Some(lease) => {
                if !guarded!(ExpireOnlyPastExpiry, lease.is_expired(now)) {
                    return Err(TransitionError::LeaseValid);
                }
                let message = format!(
                    "worker `{}` stopped reporting during attempt {}: it was killed, disconnected, or its machine was lost",
                    lease.worker, state.attempt
                );
                next.exit_code = None;
                // The last report may be older than the start of the script.
                let reason = FailureReason::new(FailureKind::WorkerLost, message);
                end_attempt(&mut next, rules, Some(reason), true, now);
            }
            None => return Err(TransitionError::Status(state.status)),
        },
        JobEvent::ServerResumed { suspended_at, ttl_ms } => {
            let renewed = state.renewed_until(ttl_ms, now);
            match &mut next.lease {
                Some(lease) if lease.is_expired(suspended_at) => return Err(TransitionError::LeaseLost),
                // Only the holder of this lease can have the job, and it could not report.
                Some(lease) => lease.expires_at = lease.expires_at.max(renewed),
                None => return Err(TransitionError::Status(state.status)),
            }
        }
        JobEvent::Undeliverable => {
            if !guarded!(UndeliverableOnlyQueued, state.status == JobStatus::Queued) {
                return Err(TransitionError::Status(state.status));
            }
            next.status = JobStatus::Failed;
            next.ended_at = Some(now);
            next.failure = Some(FailureReason::new(
                FailureKind::Undeliverable,
                "no worker could take the job: the queue delivered its message too many times; check the workers' logs, then retry",
            ));
        }
        JobEvent::Cancel => match state.status {
            JobStatus::Running if state.cancel_requested => {
                return Err(TransitionError::Status(state.status));
            }
            JobStatus::Running => {
                next.cancel_requested = true;
                next.cancel_requested_at = Some(now);
                if let Some(lease) = &mut next.lease {
                    let shortened = lease.expires_at.min(after(now, CANCEL_GRACE_MS));
                    lease.expires_at = guarded!(CancelShortensLease, shortened, without lease.expires_at);
                }
            }
            status if guarded!(CancelOnlyLive, !status.is_terminal()) => {
                next.status = JobStatus::Canceled;
                next.ended_at = Some(now);
                next.failure = Some(canceled());
            }
            _ => return Err(TransitionError::Status(state.status)),
        },
    }
    debug_assert!(guarded_by_all!(next.status == state.status || state.status.can_become(next.status)));
    Ok(next)
}

/// Ends the running attempt: the job ends, or returns to the queue if it is retried.
fn end_attempt(
    next: &mut JobState,
    rules: JobRules<'_>,
    failure: Option<FailureReason>,
    may_have_started: bool,
    now: Timestamp,
) {
    let lease = next.lease.take();
    let cost =
        lease.as_ref().zip(next.started_at).map_or(0, |(lease, start)| lease.cost_nano_usd(start, now));
    next.cost_nano_usd = next.cost_nano_usd.saturating_add(cost);
    let worker = lease.map(|lease| lease.worker);
    next.phase = None;
    let Some(mut reason) = failure else {
        // A script that succeeded before the cancel reached it has succeeded.
        next.status = JobStatus::Success;
        next.ended_at = Some(now);
        return;
    };
    if !guarded!(CanceledIsNotRetried, !next.cancel_requested) {
        next.status = JobStatus::Canceled;
        next.ended_at = Some(now);
        next.failure = Some(canceled());
        return;
    }
    let (is_retried, pause_ms) = count_failure(next, rules, reason.kind, may_have_started);
    if is_retried {
        next.attempts.push(AttemptView {
            attempt: next.attempt,
            started_at: next.started_at.unwrap_or(now),
            ended_at: now,
            exit_code: next.exit_code,
            failure: Some(reason.clone()),
            worker,
        });
        drop_oldest_give_back(&mut next.attempts);
        next.status = JobStatus::Queued;
        next.queued_at = Some(now);
        next.not_before = (pause_ms > 0).then(|| after(now, pause_ms));
    } else {
        if rules.retry_for.lost_is_final && reason.kind.is_infrastructure() && may_have_started {
            reason.message.push_str(NOT_REPEATED);
        }
        next.status =
            if reason.kind == FailureKind::Canceled { JobStatus::Canceled } else { JobStatus::Failed };
        next.ended_at = Some(now);
    }
    next.failure = Some(reason);
}

/// Counts a failed attempt. Returns whether the job is retried, and the delay in milliseconds.
fn count_failure(
    next: &mut JobState,
    rules: JobRules<'_>,
    kind: FailureKind,
    may_have_started: bool,
) -> (bool, u64) {
    let is_repeated = rules.retry_for.repeats_lost(kind, may_have_started);
    if is_repeated && kind == FailureKind::GivenBack {
        let excess = next.consecutive_give_backs().saturating_add(1).saturating_sub(MAX_IMMEDIATE_GIVE_BACKS);
        return (true, if excess == 0 { 0 } else { backoff_ms(excess, rules.seed) });
    }
    if is_repeated {
        next.infrastructure_tries += 1;
        if guarded!(LossesAreLimited, next.infrastructure_tries < MAX_INFRASTRUCTURE_ATTEMPTS) {
            return (true, backoff_ms(next.infrastructure_tries, rules.seed));
        }
    }
    if !rules.retry_for.matches(kind, next.exit_code) {
        return (false, 0);
    }
    next.failed_tries += 1;
    let pause = if kind.is_infrastructure() { backoff_ms(next.infrastructure_tries, rules.seed) } else { 0 };
    (guarded!(RetriesAreLimited, next.failed_tries <= rules.retry), pause)
}

fn is_give_back(attempt: &AttemptView) -> bool {
    attempt.failure.as_ref().is_some_and(|reason| reason.kind == FailureKind::GivenBack)
}

/// A job may be given back without limit while no worker has room for it, so the list of its attempts must be bounded.
fn drop_oldest_give_back(attempts: &mut Vec<AttemptView>) {
    if attempts.len() > MAX_RECORDED_ATTEMPTS
        && let Some(oldest) = attempts.iter().position(is_give_back)
    {
        attempts.remove(oldest);
    }
}

fn canceled() -> FailureReason {
    FailureReason::new(FailureKind::Canceled, "canceled on request")
}

fn lease_held_by(state: &mut JobState, token: LeaseToken) -> Result<&mut Lease, TransitionError> {
    // A lease exists only while the job runs.
    state.lease.as_mut().filter(|lease| lease.is_held_by(token)).ok_or(TransitionError::LeaseLost)
}

fn after(now: Timestamp, ms: u64) -> Timestamp {
    now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}
