//! The next step of a node and the writes of an event: pure functions of the recorded node.
//!
//! A node that has ended notifies each of its links once: `notified` counts them, and is updated in the same batch as
//! the arrivals that it counts. A node with work left stays due, so that the sweep finds it if a process dies midway.

use crate::execution::{
    failure::{self, FailureKind, FailureReason, is_dead_letter},
    status::JobStatus,
    transition::{JobEvent, JobRules, JobState, TransitionError, next_state},
};
use crate::{
    guarded,
    pipeline::{JobConcurrency, When},
    records::{
        ApprovalClosing, DeadLetter, DecidedBy, JobRecord, MAX_MESSAGE_DELAY_MS, Node, NodeBody, NodeKey,
        NodeSpec, NodeState, Write,
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
/// Origin of the end of an approval, or of the gates of a child, for a job that its condition skips. No job has this name.
pub const CONDITION_NOT_MET: &str = "(condition)";
/// Begin of the origin that the gates of a child receive from a job that was skipped or canceled, before the name of the job. No
/// job's name begins like this.
const NOT_RUN: &str = "(not run) ";

/// The next step of a due node.
#[derive(Debug, Clone)]
pub enum NextStep {
    /// Nothing is left to do: the node is not due.
    Idle,
    /// There is nothing to do before this time.
    Wait(Timestamp),
    /// Commit these writes, then send the job's message if one is due.
    Apply(Transition),
    /// The job's needs have ended, and it needs a place in its concurrency group ([`super::change_group`]). With one, commit
    /// the writes of [`with_place`].
    RequestPlace,
    /// A condition on outputs decides, or how the needs ended: read the nodes of [`super::nodes_to_decide`] for the job at this
    /// index, then call [`super::decide`].
    Decide {
        /// The index of the job.
        job: u32,
    },
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
    /// The concurrency group in which the job may have a place that is free once the writes are committed.
    pub releases: Option<JobConcurrency>,
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
            if let Some(DecidedBy::Condition(job)) = node.spec.decided_by
                && !*open
                && node.failed == 0
            {
                return NextStep::Decide { job };
            }
            let transition = open_gate(node, now);
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
            JobStatus::Pending => match decided_job(node) {
                Some(job) => NextStep::Decide { job },
                None => release(node, item, blocked(node), now),
            },
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

/// Returns the step of a job that waits for nothing: it is skipped for `reason`, needs a place in its concurrency group, or is queued.
pub(super) fn release(
    node: &Node,
    item: &JobRecord,
    reason: Option<FailureReason>,
    now: Timestamp,
) -> NextStep {
    if reason.is_none() && node.spec.concurrency.is_some() {
        return NextStep::RequestPlace;
    }
    apply(node, item, JobEvent::Release(reason), now)
}

/// Returns the writes that queue the job of `node`, whose step was [`NextStep::RequestPlace`] and which has a place now; its
/// `start_in` is over. `None`: the node is no job, or the job does not wait.
#[must_use]
pub fn with_place(node: &Node, now: Timestamp) -> Option<Transition> {
    let NodeBody::Job(item) = &node.state.body else { return None };
    if node.waits_for > 0 {
        return None;
    }
    let spec = NodeSpec { start_in_s: None, ..node.spec.clone() };
    apply_event(&Node { spec, ..node.clone() }, item, JobEvent::Release(None), now).ok()
}

/// Returns the writes that open a gate.
pub(super) fn open_gate(node: &Node, now: Timestamp) -> Transition {
    notify(node, NodeState { body: NodeBody::Gate { open: true }, ..node.state.clone() }, now)
}

/// Returns the job whose condition or needs decide about a job that waits for nothing.
fn decided_job(node: &Node) -> Option<u32> {
    match node.spec.decided_by? {
        DecidedBy::Condition(job) => Some(job),
        DecidedBy::Needs => (node.failed > 0).then_some(node.key.ix),
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
    let is_renewal = matches!(event, JobEvent::Heartbeat { .. });
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
            // A renewal leaves the node in its place of the index of due nodes, which costs more to change than the node. When it is
            // due there, the sweep sees that the lease is valid, and moves it ([`NextStep::Wait`]).
            let indexed = node.due_at.filter(|due| is_renewal && Some(*due) < expires_at);
            (indexed.or(expires_at), expires_at.filter(|_| canceled).map(|at| at.since_ms(now)))
        }
        _ => (None, None),
    };
    let dead_letter = dead_letter_of(node.key, &job);
    let body = NodeBody::Job(Box::new(JobRecord { job, ..item.clone() }));
    let state = NodeState { notified: node.state.notified, body, approvals: Vec::new() };
    if status.is_terminal() {
        let mut transition = notify(node, state, now);
        transition.writes.extend(dead_letter.map(Write::PutDeadLetter));
        // A job that waits for others, or that they skip, has never requested a place.
        let may_have_place = node.waits_for == 0 && status != JobStatus::Skipped;
        transition.releases = node.spec.concurrency.clone().filter(|_| may_have_place);
        return Ok(transition);
    }
    let put = Write::PutNode { key: node.key, if_version: node.version, state, due_at };
    Ok(Transition { writes: vec![put], send_after, more: false, releases: None })
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
    NextStep::Apply(Transition { writes, send_after: Some(0), more: false, releases: None })
}

/// Why a job whose dependencies have ended does not run; `None`: it runs.
fn blocked(node: &Node) -> Option<FailureReason> {
    blocked_after(node, node.failed > 0)
}

/// Why a job does not run, given whether a dependency failed.
pub(super) fn blocked_after(node: &Node, has_failed: bool) -> Option<FailureReason> {
    match node.spec.when {
        When::Always => None,
        When::OnFailure => {
            let needed = guarded!(OnFailureNeedsFailure, has_failed);
            (!needed).then(not_needed)
        }
        When::OnSuccess | When::Manual => {
            let holds = guarded!(FailedNeedSkipsJob, !has_failed);
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
        // Without a child, its end does not open the gate. A job that is carried over has none of its own.
        NodeBody::Job(item) if node.spec.child_gate.is_some() => {
            let has_child = item.child.is_some() || item.carried_from.is_some();
            item.job.status == JobStatus::Success && has_child
        }
        NodeBody::Job(item) => guarded!(OkNeedsSuccess, item.job.releases_dependents(node.spec.allowed())),
        NodeBody::Gate { .. } | NodeBody::End => {
            let is_tolerated = node.spec.child_of.is_some() && node.spec.allow_failure;
            node.failed == 0 || (is_tolerated && !has_unrun_job(node))
        }
    }
}

/// Whether a condition on outputs skipped the job, or the one whose child the gate awaits: the stages after it run.
fn is_left_out(node: &Node, body: &NodeBody) -> bool {
    match body {
        NodeBody::Job(item) => failure::is_left_out(item.job.status, item.job.failure.as_ref()),
        NodeBody::Gate { .. } => {
            node.spec.child_of.is_some() && node.blocker.as_deref() == Some(CONDITION_NOT_MET)
        }
        NodeBody::End => false,
    }
}

/// Whether the job whose child the gate awaits was skipped or canceled: only failures are tolerated.
fn has_unrun_job(node: &Node) -> bool {
    let from = node.blocker.as_deref().unwrap_or_default();
    from == CONDITION_NOT_MET || from.starts_with(NOT_RUN)
}

/// The name of a job as recorded with the jobs that it blocks.
pub(super) fn blocker_name(name: &str) -> String {
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
    let is_left_out = is_left_out(node, &state.body);
    let name = match &state.body {
        // The gates of its child pass this on.
        NodeBody::Job(_) if is_left_out && node.spec.child_gate.is_some() => CONDITION_NOT_MET.to_owned(),
        NodeBody::Job(item)
            if node.spec.child_gate.is_some()
                && item.job.status != JobStatus::Failed
                && !item.job.releases_dependents(node.spec.allowed()) =>
        {
            format!("{NOT_RUN}{}", blocker_name(&node.spec.name))
        }
        NodeBody::Job(_) => blocker_name(&node.spec.name),
        NodeBody::Gate { .. } | NodeBody::End => {
            let from = node.blocker.as_deref().unwrap_or_default();
            // The dependents of the job show its name.
            let shown = node.spec.child_of.and_then(|_| from.strip_prefix(NOT_RUN));
            shown.unwrap_or(from).to_owned()
        }
    };
    let arrivals = links.get(from..to).unwrap_or_default().iter().map(|ix| Write::Arrive {
        key: NodeKey { execution: node.key.execution, ix: *ix },
        ok: ok || (is_left_out && node.spec.stage_gate == Some(*ix)),
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
    Transition { writes, send_after: None, more, releases: None }
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
