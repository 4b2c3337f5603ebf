//! Precomputes the steps that follow from a batch, so that they are written with it, and lists the nodes and messages
//! that remain.

use super::next_step::{NextStep, Transition, next_step};
use crate::{
    execution::status::JobStatus,
    guarded,
    records::{ArrivalOutcome, CommitResult, Continuation, Node, NodeKey, QueuedJob, Write},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// Precomputes the effects of the arrivals among `writes`, as far as `nodes` contains their targets: a job that waits
/// for only one of them, and whose dependencies allow it, is queued in the same write; a gate is opened and its
/// arrivals are added. This uses at most `room` additional writes of the batch.
pub fn precompute(writes: &mut [Write], nodes: &BTreeMap<u32, Node>, room: &mut usize, now: Timestamp) {
    for write in writes {
        let Write::Arrive { key, ok, from, continuation, .. } = write else { continue };
        let Some(target) =
            nodes.get(&key.ix).filter(|target| guarded!(PrecomputeOnlyLastArrival, target.waits_for == 1))
        else {
            continue;
        };
        let mut arrived = target.clone();
        arrived.waits_for = 0;
        if !*ok {
            arrived.failed += 1;
            arrived.blocker.get_or_insert_with(|| from.clone());
        }
        let NextStep::Apply(Transition { mut writes, more: false, .. }) = next_step(&arrived, now) else {
            continue;
        };
        if arrived.spec.start_in_s.is_some() {
            // Its message is delayed: a step of its own sends it.
            continue;
        }
        if writes.len() > 1 && (writes.len() > *room || target.state.status().is_some()) {
            // A skipped job notifies its links in a separate step.
            continue;
        }
        let mut arrivals = writes.split_off(1);
        *room -= arrivals.len();
        precompute(&mut arrivals, nodes, room, now);
        if let Some(Write::PutNode { if_version, state, due_at, .. }) = writes.pop() {
            *continuation = Some(Box::new(Continuation { if_version, state, due_at, arrivals }));
        }
    }
}

/// Returns the nodes that received their last arrival in a batch and have a step to take.
#[must_use]
pub fn ready_nodes(result: &CommitResult) -> Vec<u32> {
    let is_last = |arrival: &ArrivalOutcome| guarded!(WaitsForAll, arrival.waits_for == 0);
    let pending = result.arrivals.iter().filter(|arrival| is_last(arrival) && !arrival.continued);
    pending.map(|arrival| arrival.key.ix).collect()
}

/// Returns the nodes that a batch would queue with their last arrival: only these need a worker. Gates that it opens and jobs that it
/// skips do not.
#[must_use]
pub fn continued_jobs(writes: &[Write]) -> BTreeSet<NodeKey> {
    let mut jobs = BTreeSet::new();
    for write in writes {
        let Write::Arrive { key, continuation: Some(continuation), .. } = write else { continue };
        if continuation.state.status() == Some(JobStatus::Queued) {
            jobs.insert(*key);
        }
        jobs.extend(continued_jobs(&continuation.arrivals));
    }
    jobs
}

/// Returns the messages of the jobs that a batch queued with their last arrival, out of its [`continued_jobs`].
#[must_use]
pub fn queued_jobs(result: &CommitResult, jobs: &BTreeSet<NodeKey>) -> Vec<QueuedJob> {
    let queued = |arrival: &&ArrivalOutcome| arrival.continued && jobs.contains(&arrival.key);
    result.arrivals.iter().filter(queued).map(|arrival| QueuedJob::immediate(arrival.key)).collect()
}
