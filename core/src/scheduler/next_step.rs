//! The next step of a node and the writes of an event: pure functions of the recorded node.
//!
//! A node that has ended notifies each of its links once: `notified` counts them, and is updated in the same batch as
//! the arrivals that it counts. A node with work left stays due, so that the sweep finds it if a process dies midway.

use crate::execution::{
    failure::{FailureKind, FailureReason, is_dead_letter},
    status::JobStatus,
    transition::{JobEvent, JobRules, JobState, TransitionError, next_state},
};
use crate::{
    guarded,
    pipeline::When,
    records::{
        ApprovalClosing, DeadLetter, JobRecord, MAX_MESSAGE_DELAY_MS, Node, NodeBody, NodeKey, NodeState,
        Write,
    },
    time::Timestamp,
};

/// Maximum number of arrivals in one batch: DynamoDB writes at most 100 items in one transaction.
pub const MAX_ARRIVALS: usize = 80;

/// Milliseconds after which the message of an unclaimed job is resent for the first time; the interval then grows.
pub const FIRST_RESEND_MS: i64 = 30_000;
/// Maximum interval between two messages of an unclaimed job, in milliseconds.
const MAX_RESEND_MS: i64 = 15 * 60_000;

/// Maximum length in bytes of a job name recorded with each dependent job: names contain matrix values of any length.
pub const MAX_BLOCKER_BYTES: usize = 64;

/// The origin recorded when a gate opens without an approval. No job has this name.
pub const APPROVAL_CLOSED: &str = "(nobody)";

/// The next step of a due node.
#[derive(Debug, Clone)]
pub enum NextStep {
    /// Nothing is left to do: the node is not due.
    Idle,
    /// There is nothing to do before this time.
    Wait(Timestamp),
    /// Commit these writes, then send the job's message if one is due.
    Apply(Transition),
    /// The node is an end node: check its execution ([`super::end_step`]).
    CheckEnd,
    /// Close the approvals that nobody gave, by opening their gates as if a need had failed; then commit the writes.
    CloseApprovals {
        /// The gates.
        gates: Vec<u32>,
        /// The node that failed; [`APPROVAL_CLOSED`] if none did.
        from: String,
        /// The writes to commit.
        transition: Transition,
    },
}

/// Writes that change one node, and what follows from them.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The batch, conditional on the version of the node that was read.
    pub writes: Vec<Write>,
    /// Milliseconds until the queue delivers the job's message; `None`: no message is sent.
    pub send_after: Option<u64>,
    /// Whether links are still to be notified.
    pub more: bool,
}

/// Returns the next step of the recorded `node` at `now`.
#[must_use]
pub fn next_step(node: &Node, now: Timestamp) -> NextStep {
    match &node.state.body {
        NodeBody::End => NextStep::CheckEnd,
        NodeBody::Gate { open } => {
            if !guarded!(WaitsForAll, node.waits_for == 0) || (*open && has_notified_all(node)) {
                return NextStep::Idle;
            }
            let state = NodeState { notified: node.state.notified, body: NodeBody::Gate { open: true } };
            let transition = notify(node, state, now);
            match &node.spec.closing {
                Some(ApprovalClosing { gates, after_failure })
                    if !*open && (!after_failure || node.failed > 0) =>
                {
                    let failed = node.blocker.clone().filter(|_| *after_failure);
                    let from = failed.unwrap_or_else(|| APPROVAL_CLOSED.to_owned());
                    NextStep::CloseApprovals { gates: gates.clone(), from, transition }
                }
                _ => NextStep::Apply(transition),
            }
        }
        NodeBody::Job(item) => match item.job.status {
            JobStatus::Pending if !guarded!(WaitsForAll, node.waits_for == 0) => NextStep::Idle,
            JobStatus::Pending => apply(node, item, JobEvent::Release(blocked(node)), now),
            JobStatus::Queued => guarded!(QueuedStaysDue, resend(node, item, now), without NextStep::Idle),
            JobStatus::Running => match &item.job.lease {
                Some(lease) if !lease.is_expired(now) => {
                    guarded!(RunningStaysDue, NextStep::Wait(lease.expires_at), without NextStep::Idle)
                }
                _ => apply(node, item, JobEvent::LeaseExpired, now),
            },
            _ if has_notified_all(node) => NextStep::Idle,
            _ => NextStep::Apply(notify(node, node.state.clone(), now)),
        },
    }
}

/// Returns the writes that apply `event` to the job `item` of `node`.
///
/// # Errors
/// Returns an error if the job's state does not allow the event.
pub fn apply_event(
    node: &Node,
    item: &JobRecord,
    event: JobEvent,
    now: Timestamp,
) -> Result<Transition, TransitionError> {
    let job = next_state(&item.job, rules(node), event, now)?;
    let status = job.status;
    let (due_at, send_after) = match status {
        JobStatus::Queued => {
            let ready_at = job.not_before.unwrap_or(now);
            let is_new = item.job.status != JobStatus::Queued;
            let delay_ms = ready_at.since_ms(now);
            if delay_ms > MAX_MESSAGE_DELAY_MS {
                // The sweep sends the message when the node is due.
                (Some(ready_at), None)
            } else {
                (Some(ready_at.plus_ms(FIRST_RESEND_MS)), is_new.then_some(delay_ms))
            }
        }
        JobStatus::Running => {
            // If its worker is cut off, the receiver of this message ends the canceled job.
            let canceled = job.cancel_requested && !item.job.cancel_requested;
            let expires_at = job.lease.as_ref().map(|lease| lease.expires_at);
            (expires_at, expires_at.filter(|_| canceled).map(|at| at.since_ms(now)))
        }
        _ => (None, None),
    };
    let dead_letter = dead_letter_of(node.key, &job);
    let body = NodeBody::Job(Box::new(JobRecord { job, ..item.clone() }));
    let state = NodeState { notified: node.state.notified, body };
    if status.is_terminal() {
        let mut transition = notify(node, state, now);
        transition.writes.extend(dead_letter.map(Write::PutDeadLetter));
        return Ok(transition);
    }
    let put = Write::PutNode { key: node.key, if_version: node.version, state, due_at };
    Ok(Transition { writes: vec![put], send_after, more: false })
}

/// Returns the dead letter of a job; `None` if it is not one.
#[must_use]
pub fn dead_letter_of(key: NodeKey, job: &JobState) -> Option<DeadLetter> {
    let dead = is_dead_letter(job.status, job.failure.as_ref());
    Some(DeadLetter { at: job.ended_at?, execution: key.execution, ix: key.ix }).filter(|_| dead)
}

fn rules(node: &Node) -> JobRules<'_> {
    let (_, low) = node.key.execution.0.as_u64_pair();
    JobRules {
        retry: node.spec.retry,
        retry_for: &node.spec.retry_for,
        start_in_ms: node.spec.start_in_s.unwrap_or(0).saturating_mul(1000),
        seed: low.wrapping_add(u64::from(node.key.ix)),
    }
}

fn apply(node: &Node, item: &JobRecord, event: JobEvent, now: Timestamp) -> NextStep {
    match apply_event(node, item, event, now) {
        Ok(transition) => NextStep::Apply(transition),
        // The status was checked just before, so that a rejected event needs no action.
        Err(_) => NextStep::Idle,
    }
}

/// Resends the message of a queued job, which may be lost, or sends that of a job whose delay was too long for a queue.
/// The interval doubles with the time that the job has been queued.
fn resend(node: &Node, item: &JobRecord, now: Timestamp) -> NextStep {
    let since = item.job.not_before.or(item.job.queued_at).unwrap_or(now);
    let delay_ms = item.job.queued_at.map_or(0, |queued_at| since.since_ms(queued_at));
    let is_unsent = delay_ms > MAX_MESSAGE_DELAY_MS;
    if is_unsent && since > now {
        return NextStep::Wait(since);
    }
    let waited = i64::try_from(now.since_ms(since)).unwrap_or(MAX_RESEND_MS);
    if waited < FIRST_RESEND_MS && !is_unsent {
        return NextStep::Wait(since.plus_ms(FIRST_RESEND_MS));
    }
    let due_at = Some(now.plus_ms(waited.clamp(FIRST_RESEND_MS, MAX_RESEND_MS)));
    let writes = vec![Write::SetDue { key: node.key, if_version: node.version, due_at }];
    NextStep::Apply(Transition { writes, send_after: Some(0), more: false })
}

/// Why a job whose dependencies have ended does not run; `None`: it runs.
fn blocked(node: &Node) -> Option<FailureReason> {
    match node.spec.when {
        When::Always => None,
        When::OnFailure => {
            let needed = guarded!(OnFailureNeedsFailure, node.failed > 0);
            (!needed).then(not_needed)
        }
        When::OnSuccess | When::Manual => {
            let holds = guarded!(FailedNeedSkipsJob, node.failed == 0);
            (!holds).then(|| needs_failed(node))
        }
    }
}

/// Why a job whose dependency did not succeed does not run.
fn needs_failed(node: &Node) -> FailureReason {
    if node.spec.when == When::Manual && node.blocker.as_deref() == Some(APPROVAL_CLOSED) {
        let name = &node.spec.name;
        let message = format!("skipped: not approved; run it with `tidemill approve '{name}'`");
        return FailureReason::new(FailureKind::NotApproved, message);
    }
    let by = node.blocker.as_deref().unwrap_or("a need");
    let message = format!("skipped: `{by}` did not succeed");
    FailureReason::new(FailureKind::NeedsFailed, message)
}

/// Why an `on_failure` job does not run when nothing failed.
fn not_needed() -> FailureReason {
    let message = "skipped: it runs only if a dependency fails, and none did";
    FailureReason::new(FailureKind::NotNeeded, message)
}

fn has_notified_all(node: &Node) -> bool {
    notified(node.state.notified) >= node.spec.links.len()
}

/// The number of links that were notified, according to the record.
fn notified(notified: u32) -> usize {
    guarded!(NotifyLinkOnce, notified as usize, without 0)
}

/// Whether dependents of this node may run.
fn is_ok(node: &Node, body: &NodeBody) -> bool {
    match body {
        // Without a success there is no child whose end opens the gate.
        NodeBody::Job(item) if node.spec.child_gate.is_some() => item.job.status == JobStatus::Success,
        NodeBody::Job(item) => guarded!(OkNeedsSuccess, item.job.releases_dependents(node.spec.allowed())),
        NodeBody::Gate { .. } | NodeBody::End => {
            node.failed == 0 || (node.spec.child_of.is_some() && node.spec.allow_failure)
        }
    }
}

/// The name of a job as recorded with the jobs that it blocks.
fn blocker_name(name: &str) -> String {
    const ELLIPSIS: &str = "...";
    if name.len() <= MAX_BLOCKER_BYTES {
        return name.to_owned();
    }
    let is_boundary = |end: &usize| name.is_char_boundary(*end);
    let end = (0..=MAX_BLOCKER_BYTES - ELLIPSIS.len()).rev().find(is_boundary).unwrap_or(0);
    format!("{}{ELLIPSIS}", &name[..end])
}

/// Returns the writes that store an ended node and notify its next links.
fn notify(node: &Node, mut state: NodeState, now: Timestamp) -> Transition {
    let links = &node.spec.links;
    let from = notified(state.notified);
    let to = links.len().min(from + MAX_ARRIVALS);
    let ok = is_ok(node, &state.body);
    let name = match &state.body {
        NodeBody::Job(_) => blocker_name(&node.spec.name),
        NodeBody::Gate { .. } | NodeBody::End => node.blocker.clone().unwrap_or_default(),
    };
    let arrivals = links.get(from..to).unwrap_or_default().iter().map(|ix| Write::Arrive {
        key: NodeKey { execution: node.key.execution, ix: *ix },
        ok,
        from: name.clone(),
        now,
        continuation: None,
    });
    let more = to < links.len();
    state.notified = u32::try_from(to).unwrap_or(u32::MAX);
    let stays_due = guarded!(PartlyNotifiedStaysDue, more, without false);
    let due_at = stays_due.then_some(now);
    let mut writes = vec![Write::PutNode { key: node.key, if_version: node.version, state, due_at }];
    writes.extend(arrivals);
    Transition { writes, send_after: None, more }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BLOCKER_BYTES, blocker_name};

    #[test]
    fn long_blocker_name_is_truncated_at_character_boundary() {
        let fits = "x".repeat(MAX_BLOCKER_BYTES);
        assert_eq!(blocker_name(&fits), fits);
        for long in ["x", "\u{e4}", "\u{1f30a}"].map(|one| one.repeat(MAX_BLOCKER_BYTES + 1)) {
            let cut = blocker_name(&long);
            assert!((MAX_BLOCKER_BYTES - 3..=MAX_BLOCKER_BYTES).contains(&cut.len()), "{cut}");
            assert!(cut.strip_suffix("...").is_some_and(|begin| long.starts_with(begin)), "{cut}");
        }
    }
}
