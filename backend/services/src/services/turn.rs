//! What a node does next: pure functions from a node as it is recorded to the writes that move it on.
//!
//! A node that is over tells its links, each once: `told` counts them, and it grows in the same batch as the arrivals
//! that it counts. Whatever is left to do keeps the node due, so that the sweep finds it when a process dies half-way.

use crate::ports::{
    Arrival, Closing, Committed, DeadLetter, JobItem, Node, NodeBody, NodeKey, NodeState, Outgoing, Then,
    Write,
};
use std::collections::BTreeMap;
use tidemill_core::{
    failure::{FailureKind, FailureReason, is_dead_letter},
    guard::{Guard, holds},
    pipeline::RunWhen,
    status::JobStatus,
    time::Timestamp,
    transition::{JobEvent, JobRules, JobState, Refusal, step},
};

/// The most arrivals of one batch: DynamoDB writes at most 100 items in one transaction.
pub const MOST_ARRIVALS: usize = 80;

/// A job's message is sent again when it was not taken for this long; after that, ever more rarely.
pub const RESEND_FIRST_MS: i64 = 30_000;
const RESEND_MOST_MS: i64 = 15 * 60_000;

/// The most bytes of a job's name that are recorded with each job that waits for it: a name is as long as its matrix values.
pub const MAX_BLOCKER_BYTES: usize = 64;

/// What a gate's opening without an approval comes from. No job has such a name.
pub const TOO_LATE: &str = "(nobody)";

/// What a node that is due does.
#[derive(Debug, Clone)]
pub enum Turn {
    /// Nothing is left: it is not due.
    Rest,
    /// Nothing before this time.
    Later(Timestamp),
    /// These writes, and then perhaps its message.
    Move(Move),
    /// All jobs told the end, or a cancel is not through: look at the execution.
    End,
    /// These writes, once approvals that nobody gave are needless: their gates are opened first, as if this had failed.
    Close {
        /// The gates.
        gates: Vec<u32>,
        /// What failed; [`TOO_LATE`]: nothing.
        from: String,
        /// The writes.
        then: Move,
    },
}

/// Writes that move one node.
#[derive(Debug, Clone)]
pub struct Move {
    /// The batch; conditional on the node as it was read.
    pub writes: Vec<Write>,
    /// Milliseconds after which the job's id is to come from the queue; `None`: it is not sent.
    pub send_after: Option<u64>,
    /// Whether links are left to be told.
    pub more: bool,
}

/// What `node`, as it is recorded, does at `now`.
#[must_use]
pub fn turn(node: &Node, now: Timestamp) -> Turn {
    match &node.state.body {
        NodeBody::End => Turn::End,
        NodeBody::Gate { open } => {
            if !holds(Guard::WaitsForAll, node.waits_for == 0) || (*open && told_all(node)) {
                return Turn::Rest;
            }
            let state = NodeState { told: node.state.told, body: NodeBody::Gate { open: true } };
            let then = tell(node, state, now);
            match &node.spec.closing {
                Some(Closing { gates, after_failure }) if !*open && (!after_failure || node.failed > 0) => {
                    let failed = node.blocker.clone().filter(|_| *after_failure);
                    let from = failed.unwrap_or_else(|| TOO_LATE.to_owned());
                    Turn::Close { gates: gates.clone(), from, then }
                }
                _ => Turn::Move(then),
            }
        }
        NodeBody::Job(item) => match item.job.status {
            JobStatus::Pending if !holds(Guard::WaitsForAll, node.waits_for == 0) => Turn::Rest,
            JobStatus::Pending => apply(node, item, JobEvent::Release(blocked(node)), now),
            JobStatus::Queued if holds(Guard::QueuedStaysDue, false) => Turn::Rest,
            JobStatus::Queued => resend(node, item, now),
            JobStatus::Running => match &item.job.lease {
                Some(lease) if !lease.has_run_out(now) => {
                    let due = !holds(Guard::RunningStaysDue, false);
                    if due { Turn::Later(lease.expires_at) } else { Turn::Rest }
                }
                _ => apply(node, item, JobEvent::LeaseExpired, now),
            },
            _ if told_all(node) => Turn::Rest,
            _ => Turn::Move(tell(node, node.state.clone(), now)),
        },
    }
}

/// The writes by which `event` happens to a job.
pub fn happen(node: &Node, item: &JobItem, event: JobEvent, now: Timestamp) -> Result<Move, Refusal> {
    let job = step(&item.job, rules(node), event, now)?;
    let status = job.status;
    let (due_at, send_after) = match status {
        JobStatus::Queued => {
            let ready = job.not_before.unwrap_or(now);
            let sent = item.job.status != JobStatus::Queued;
            (Some(ready.plus_ms(RESEND_FIRST_MS)), sent.then(|| ready.since_ms(now)))
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
    let body = NodeBody::Job(Box::new(JobItem { job, ..item.clone() }));
    let state = NodeState { told: node.state.told, body };
    if status.is_terminal() {
        let mut moved = tell(node, state, now);
        moved.writes.extend(letter.map(Write::PutDeadLetter));
        return Ok(moved);
    }
    let put = Write::PutNode { key: node.key, if_version: node.version, state, due_at };
    Ok(Move { writes: vec![put], send_after, more: false })
}

/// The dead letter that a job is; `None`: it is none.
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

fn apply(node: &Node, item: &JobItem, event: JobEvent, now: Timestamp) -> Turn {
    match happen(node, item, event, now) {
        Ok(moved) => Turn::Move(moved),
        // The status was looked at just before; a refusal here has nothing to act on.
        Err(_) => Turn::Rest,
    }
}

/// A queued job whose message may be lost gets another one; the wait doubles with the time it has been queued.
fn resend(node: &Node, item: &JobItem, now: Timestamp) -> Turn {
    let since = item.job.not_before.or(item.job.queued_at).unwrap_or(now);
    let waited = i64::try_from(now.since_ms(since)).unwrap_or(RESEND_MOST_MS);
    if waited < RESEND_FIRST_MS {
        return Turn::Later(since.plus_ms(RESEND_FIRST_MS));
    }
    let due_at = Some(now.plus_ms(waited.clamp(RESEND_FIRST_MS, RESEND_MOST_MS)));
    let writes = vec![Write::SetDue { key: node.key, if_version: node.version, due_at }];
    Turn::Move(Move { writes, send_after: Some(0), more: false })
}

/// Why a job whose needs have all ended does not run; `None`: they hold.
fn blocked(node: &Node) -> Option<FailureReason> {
    match node.spec.when {
        RunWhen::Always => return None,
        RunWhen::OnFailure => {
            return (node.failed == 0).then(not_needed);
        }
        RunWhen::OnSuccess | RunWhen::Manual => {}
    }
    (!holds(Guard::FailedNeedSkips, node.failed == 0)).then(|| {
        if node.spec.when == RunWhen::Manual && node.blocker.as_deref() == Some(TOO_LATE) {
            let name = &node.spec.name;
            let words =
                format!("skipped: nobody approved it; `tidemill approve --job '{name}'` still runs it");
            return FailureReason::new(FailureKind::NotApproved, words);
        }
        let by = node.blocker.as_deref().unwrap_or("a need");
        FailureReason::new(
            FailureKind::NeedsFailed,
            format!("skipped: `{by}`, which must succeed first, did not"),
        )
    })
}

/// Why a job for failures does not run where there are none.
pub(super) fn not_needed() -> FailureReason {
    let words = "skipped: it runs when something that it waits for fails, and nothing did";
    FailureReason::new(FailureKind::NotNeeded, words)
}

/// Foresees what the arrivals among `writes` lead to, as far as `nodes` are known: a job that waits for just one of them,
/// and whose needs hold, is queued in the same write, and a gate opened and its own arrivals made, while `room` for more
/// writes is left in the batch.
pub fn foresee(writes: &mut [Write], nodes: &BTreeMap<u32, Node>, room: &mut usize, now: Timestamp) {
    for write in writes {
        let Write::Arrive { key, ok, from, then, .. } = write else { continue };
        let Some(target) =
            nodes.get(&key.ix).filter(|target| holds(Guard::ForeseenOnlyLast, target.waits_for == 1))
        else {
            continue;
        };
        let mut arrived = target.clone();
        arrived.waits_for = 0;
        if !*ok {
            arrived.failed += 1;
            arrived.blocker.get_or_insert_with(|| from.clone());
        }
        let Turn::Move(Move { mut writes, more: false, .. }) = turn(&arrived, now) else { continue };
        if writes.len() > 1 && (writes.len() > *room || target.state.status().is_some()) {
            // A job that is skipped tells its links in a turn of its own.
            continue;
        }
        let mut arrivals = writes.split_off(1);
        *room -= arrivals.len();
        foresee(&mut arrivals, nodes, room, now);
        if let Some(Write::PutNode { if_version, state, due_at, .. }) = writes.pop() {
            *then = Some(Box::new(Then { if_version, state, due_at, arrivals }));
        }
    }
}

/// Nodes that wait for nothing any more after a batch, and have a turn to take.
#[must_use]
pub fn released(done: &Committed) -> Vec<u32> {
    let last = |arrival: &Arrival| holds(Guard::WaitsForAll, arrival.waits_for == 0);
    let still = done.arrivals.iter().filter(|arrival| last(arrival) && !arrival.moved);
    still.map(|arrival| arrival.key.ix).collect()
}

/// Jobs that their last arrival queued in a batch.
pub fn queued_by(done: &Committed) -> impl Iterator<Item = Outgoing> {
    done.arrivals.iter().filter(|arrival| arrival.moved).map(|arrival| Outgoing::now(arrival.key))
}

fn told_all(node: &Node) -> bool {
    told(node.state.told) >= node.spec.links.len()
}

/// How many links were told, as the record `told` says.
fn told(told: u32) -> usize {
    if holds(Guard::ToldOnce, false) { 0 } else { told as usize }
}

/// Whether what waits for this node may run.
fn ok(node: &Node, body: &NodeBody) -> bool {
    match body {
        NodeBody::Job(item) => holds(Guard::OkNeedsSuccess, item.job.counts_as_ok(node.spec.allowed())),
        NodeBody::Gate { .. } | NodeBody::End => node.failed == 0,
    }
}

/// A job's name as it is recorded with those that it blocks.
fn blocker_name(name: &str) -> String {
    const CUT: &str = "...";
    if name.len() <= MAX_BLOCKER_BYTES {
        return name.to_owned();
    }
    let fits = |end: &usize| name.is_char_boundary(*end);
    let end = (0..=MAX_BLOCKER_BYTES - CUT.len()).rev().find(fits).unwrap_or(0);
    format!("{}{CUT}", &name[..end])
}

/// Puts a node that is over, and tells the next of its links.
fn tell(node: &Node, mut state: NodeState, now: Timestamp) -> Move {
    let links = &node.spec.links;
    let from = told(state.told);
    let to = links.len().min(from + MOST_ARRIVALS);
    let ok = ok(node, &state.body);
    let name = match &state.body {
        NodeBody::Job(_) => blocker_name(&node.spec.name),
        NodeBody::Gate { .. } | NodeBody::End => node.blocker.clone().unwrap_or_default(),
    };
    let arrivals = links.get(from..to).unwrap_or_default().iter().map(|ix| Write::Arrive {
        key: NodeKey { execution: node.key.execution, ix: *ix },
        ok,
        from: name.clone(),
        now,
        then: None,
    });
    let more = to < links.len();
    state.told = u32::try_from(to).unwrap_or(u32::MAX);
    let stays_due = more && !holds(Guard::HalfToldStaysDue, false);
    let due_at = stays_due.then_some(now);
    let mut writes = vec![Write::PutNode { key: node.key, if_version: node.version, state, due_at }];
    writes.extend(arrivals);
    Move { writes, send_after: None, more }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BLOCKER_BYTES, blocker_name};

    #[test]
    fn long_name_of_a_blocker_is_cut_between_characters() {
        let fits = "x".repeat(MAX_BLOCKER_BYTES);
        assert_eq!(blocker_name(&fits), fits);
        for long in ["x", "\u{e4}", "\u{1f30a}"].map(|one| one.repeat(MAX_BLOCKER_BYTES + 1)) {
            let cut = blocker_name(&long);
            assert!((MAX_BLOCKER_BYTES - 3..=MAX_BLOCKER_BYTES).contains(&cut.len()), "{cut}");
            assert!(cut.strip_suffix("...").is_some_and(|begin| long.starts_with(begin)), "{cut}");
        }
    }
}
