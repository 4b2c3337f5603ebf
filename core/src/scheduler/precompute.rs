//! What a batch leads to: steps that are written together with what causes them, and the nodes and messages that follow.

use super::next_step::{NextStep, Transition, next_step};
use crate::{
    guarded,
    records::{ArrivalOutcome, CommitResult, Continuation, Node, QueuedJob, Write},
    time::Timestamp,
};
use std::collections::BTreeMap;

/// Precomputes what the arrivals among `writes` lead to, as far as `nodes` are known: a job that waits for just one of them,
/// and whose needs hold, is queued in the same write, and a gate opened and its own arrivals made, while `room` for more
/// writes is left in the batch.
pub fn precompute(writes: &mut [Write], nodes: &BTreeMap<u32, Node>, room: &mut usize, now: Timestamp) {
    for write in writes {
        let Write::Arrive { key, ok, from, continuation, .. } = write else { continue };
        let Some(target) =
            nodes.get(&key.ix).filter(|target| guarded!(ForeseenOnlyLast, target.waits_for == 1))
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
        if writes.len() > 1 && (writes.len() > *room || target.state.status().is_some()) {
            // A job that is skipped notifies its links in a step of its own.
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

/// Nodes that wait for nothing any more after a batch, and have a step to take.
#[must_use]
pub fn ready_nodes(done: &CommitResult) -> Vec<u32> {
    let last = |arrival: &ArrivalOutcome| guarded!(WaitsForAll, arrival.waits_for == 0);
    let still = done.arrivals.iter().filter(|arrival| last(arrival) && !arrival.continued);
    still.map(|arrival| arrival.key.ix).collect()
}

/// Messages of the jobs that their last arrival queued in a batch.
pub fn queued_jobs(done: &CommitResult) -> impl Iterator<Item = QueuedJob> {
    done.arrivals.iter().filter(|arrival| arrival.continued).map(|arrival| QueuedJob::now(arrival.key))
}
