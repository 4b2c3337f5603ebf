//! The next step of a node, and the writes of an event: pure functions of a node as it is recorded.
//!
//! A node that is over notifies its links, each once: `notified` counts them, and it grows in the same batch as the arrivals
//! that it counts. Whatever is left to do keeps the node due, so that the sweep finds it when a process dies half-way.

use crate::execution::{
    failure::{FailureKind, FailureReason, is_dead_letter},
    status::JobStatus,
    transition::{JobEvent, JobRules, JobState, Refusal, step},
};
use crate::{
    guarded,
    pipeline::When,
    records::{ApprovalClosing, DeadLetter, JobRecord, Node, NodeBody, NodeKey, NodeState, Write},
    time::Timestamp,
};

/// The most arrivals of one batch: DynamoDB writes at most 100 items in one transaction.
pub const MAX_ARRIVALS: usize = 80;

/// Milliseconds after which the message of a job that nobody took is sent again; after that, ever more rarely.
pub const FIRST_RESEND_MS: i64 = 30_000;
/// The longest pause between two messages of a job that nobody took, in milliseconds.
const MAX_RESEND_MS: i64 = 15 * 60_000;

/// Maximum number of bytes of a job's name that are recorded with each job that depends on it: names contain matrix values of any length.
pub const MAX_BLOCKER_BYTES: usize = 64;

/// What a gate's opening without an approval is reported to come from. No job has such a name.
pub const APPROVAL_CLOSED: &str = "(nobody)";

/// What a node that is due does.
#[derive(Debug, Clone)]
pub enum NextStep {
    /// Nothing is left: it is not due.
    Rest,
    /// Nothing before this time.
    Wait(Timestamp),
    /// These writes, and then perhaps its message.
    Apply(Transition),
    /// It is the end node: look at the execution ([`super::end_step`]).
    CheckEnd,
    /// These writes, once the approvals that nobody gave are closed: their gates are opened first, as by a need that failed.
    CloseApprovals {
        /// The gates.
        gates: Vec<u32>,
        /// What failed; [`APPROVAL_CLOSED`]: nothing.
        from: String,
        /// The writes.
        transition: Transition,
    },
}

/// Writes that change one node, and what follows them.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The batch; conditional on the node as it was read.
    pub writes: Vec<Write>,
    /// Milliseconds after which the job's id is to come from the queue; `None`: it is not sent.
    pub send_after: Option<u64>,
    /// Whether links are left to be notified.
    pub more: bool,
}

/// The next step of `node`, as it is recorded, at `now`.
#[must_use]
pub fn next_step(node: &Node, now: Timestamp) -> NextStep {
    match &node.state.body {
        NodeBody::End => NextStep::CheckEnd,
        NodeBody::Gate { open } => {
            if !guarded!(WaitsForAll, node.waits_for == 0) || (*open && has_notified_all(node)) {
                return NextStep::Rest;
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
            JobStatus::Pending if !guarded!(WaitsForAll, node.waits_for == 0) => NextStep::Rest,
            JobStatus::Pending => apply(node, item, JobEvent::Release(blocked(node)), now),
            JobStatus::Queued => guarded!(QueuedStaysDue, resend(node, item, now), without NextStep::Rest),
            JobStatus::Running => match &item.job.lease {
                Some(lease) if !lease.has_run_out(now) => {
                    guarded!(RunningStaysDue, NextStep::Wait(lease.expires_at), without NextStep::Rest)
                }
                _ => apply(node, item, JobEvent::LeaseExpired, now),
            },
            _ if has_notified_all(node) => NextStep::Rest,
            _ => NextStep::Apply(notify(node, node.state.clone(), now)),
        },
    }
}

/// The writes by which `event` happens to the job `item` of `node`.
///
/// # Errors
/// Why the job's state does not allow the event.
pub fn apply_event(
    node: &Node,
    item: &JobRecord,
    event: JobEvent,
    now: Timestamp,
) -> Result<Transition, Refusal> {
    let job = step(&item.job, rules(node), event, now)?;
    let status = job.status;
    let (due_at, send_after) = match status {
        JobStatus::Queued => {
            let ready = job.not_before.unwrap_or(now);
            let sent = item.job.status != JobStatus::Queued;
            (Some(ready.plus_ms(FIRST_RESEND_MS)), sent.then(|| ready.since_ms(now)))
        }
        JobStatus::Running => {
            // Whoever gets this message of a canceled job ends it, should its worker be cut off.
            let canceled = job.cancel_requested && !item.job.cancel_requested;
            let expires_at = job.lease.as_ref().map(|lease| lease.expires_at);
            (expires_at, expires_at.filter(|_| canceled).map(|at| at.since_ms(now)))
        }
        _ => (None, None),
    };
    let letter = dead_letter_of(node.key, &job);
    let body = NodeBody::Job(Box::new(JobRecord { job, ..item.clone() }));
    let state = NodeState { notified: node.state.notified, body };
    if status.is_terminal() {
        let mut transition = notify(node, state, now);
        transition.writes.extend(letter.map(Write::PutDeadLetter));
        return Ok(transition);
    }
    let put = Write::PutNode { key: node.key, if_version: node.version, state, due_at };
    Ok(Transition { writes: vec![put], send_after, more: false })
}

/// The dead letter of a job; `None`: it is none.
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
        seed: low.wrapping_add(u64::from(node.key.ix)),
    }
}

fn apply(node: &Node, item: &JobRecord, event: JobEvent, now: Timestamp) -> NextStep {
    match apply_event(node, item, event, now) {
        Ok(transition) => NextStep::Apply(transition),
        // The status was looked at just before; a refusal here has nothing to act on.
        Err(_) => NextStep::Rest,
    }
}

/// A queued job whose message may be lost gets another one; the wait doubles with the time it has been queued.
fn resend(node: &Node, item: &JobRecord, now: Timestamp) -> NextStep {
    let since = item.job.not_before.or(item.job.queued_at).unwrap_or(now);
    let waited = i64::try_from(now.since_ms(since)).unwrap_or(MAX_RESEND_MS);
    if waited < FIRST_RESEND_MS {
        return NextStep::Wait(since.plus_ms(FIRST_RESEND_MS));
    }
    let due_at = Some(now.plus_ms(waited.clamp(FIRST_RESEND_MS, MAX_RESEND_MS)));
    let writes = vec![Write::SetDue { key: node.key, if_version: node.version, due_at }];
    NextStep::Apply(Transition { writes, send_after: Some(0), more: false })
}

/// Why a job whose needs have all ended does not run; `None`: they hold.
fn blocked(node: &Node) -> Option<FailureReason> {
    match node.spec.when {
        When::Always => None,
        When::OnFailure => {
            let needed = guarded!(SparedAtOnce, node.failed > 0);
            (!needed).then(not_needed)
        }
        When::OnSuccess | When::Manual => {
            let hold = guarded!(FailedNeedSkips, node.failed == 0);
            (!hold).then(|| needs_failed(node))
        }
    }
}

/// Why a job does not run that waits for something which did not succeed.
fn needs_failed(node: &Node) -> FailureReason {
    if node.spec.when == When::Manual && node.blocker.as_deref() == Some(APPROVAL_CLOSED) {
        let name = &node.spec.name;
        let message = format!("skipped: nobody approved it; `tidemill approve --job '{name}'` still runs it");
        return FailureReason::new(FailureKind::NotApproved, message);
    }
    let by = node.blocker.as_deref().unwrap_or("a need");
    let message = format!("skipped: `{by}`, which must succeed first, did not");
    FailureReason::new(FailureKind::NeedsFailed, message)
}

/// Why a job for failures does not run where there are none.
fn not_needed() -> FailureReason {
    let message = "skipped: it runs when something that it waits for fails, and nothing did";
    FailureReason::new(FailureKind::NotNeeded, message)
}

fn has_notified_all(node: &Node) -> bool {
    notified(node.state.notified) >= node.spec.links.len()
}

/// How many links were notified, as the record says.
fn notified(notified: u32) -> usize {
    guarded!(ToldOnce, notified as usize, without 0)
}

/// Whether what waits for this node may run.
fn is_ok(node: &Node, body: &NodeBody) -> bool {
    match body {
        NodeBody::Job(item) => guarded!(OkNeedsSuccess, item.job.counts_as_ok(node.spec.allowed())),
        NodeBody::Gate { .. } | NodeBody::End => node.failed == 0,
    }
}

/// A job's name as it is recorded with the jobs that it blocks.
fn blocker_name(name: &str) -> String {
    const ELLIPSIS: &str = "...";
    if name.len() <= MAX_BLOCKER_BYTES {
        return name.to_owned();
    }
    let fits = |end: &usize| name.is_char_boundary(*end);
    let end = (0..=MAX_BLOCKER_BYTES - ELLIPSIS.len()).rev().find(fits).unwrap_or(0);
    format!("{}{ELLIPSIS}", &name[..end])
}

/// Puts a node that is over, and notifies the next of its links.
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
    let stays_due = guarded!(HalfToldStaysDue, more, without false);
    let due_at = stays_due.then_some(now);
    let mut writes = vec![Write::PutNode { key: node.key, if_version: node.version, state, due_at }];
    writes.extend(arrivals);
    Transition { writes, send_after: None, more }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BLOCKER_BYTES, blocker_name};

    #[test]
    fn long_blocker_name_is_cut_between_characters() {
        let fits = "x".repeat(MAX_BLOCKER_BYTES);
        assert_eq!(blocker_name(&fits), fits);
        for long in ["x", "\u{e4}", "\u{1f30a}"].map(|one| one.repeat(MAX_BLOCKER_BYTES + 1)) {
            let cut = blocker_name(&long);
            assert!((MAX_BLOCKER_BYTES - 3..=MAX_BLOCKER_BYTES).contains(&cut.len()), "{cut}");
            assert!(cut.strip_suffix("...").is_some_and(|begin| long.starts_with(begin)), "{cut}");
        }
    }
}
