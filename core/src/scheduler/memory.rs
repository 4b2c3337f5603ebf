//! The nodes of one execution in memory: computes the first steps of a new execution before it is recorded.

use super::decide::{child_gates, decide, nodes_to_decide};
use super::next_step::{NextStep, next_step};
use crate::execution::status::JobStatus;
use crate::{
    guarded,
    plan::Plan,
    records::{NewNode, Node, Write},
    time::Timestamp,
};

/// The nodes of one execution, by index.
#[derive(Debug, Clone, Default)]
pub struct MemoryNodes {
    nodes: Vec<Node>,
}

impl MemoryNodes {
    /// Creates the set from these nodes, each at the index of its key.
    #[must_use]
    pub fn new(nodes: Vec<Node>) -> Self {
        Self { nodes }
    }

    /// All nodes in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the nodes to record.
    #[must_use]
    pub fn into_new_nodes(self) -> Vec<NewNode> {
        let new = |node: Node| NewNode {
            spec: node.spec,
            state: node.state,
            waits_for: node.waits_for,
            failed: node.failed,
            due_at: node.due_at,
        };
        self.nodes.into_iter().map(new).collect()
    }

    /// Applies the writes of one transition, and returns the nodes that received their last arrival. Writes that do not
    /// concern nodes are ignored.
    pub fn apply(&mut self, writes: Vec<Write>) -> Vec<u32> {
        let mut ready = Vec::new();
        for write in writes {
            match write {
                Write::PutNode { key, state, due_at, .. } => {
                    if let Some(node) = self.nodes.get_mut(key.ix as usize) {
                        node.version += 1;
                        (node.state, node.due_at) = (state, due_at);
                    }
                }
                Write::SetDue { key, due_at, .. } => {
                    if let Some(node) = self.nodes.get_mut(key.ix as usize) {
                        node.due_at = due_at;
                    }
                }
                Write::Arrive { key, ok, from, .. } => {
                    let Some(node) = self.nodes.get_mut(key.ix as usize) else { continue };
                    node.waits_for = node.waits_for.saturating_sub(1);
                    if !ok {
                        node.failed += 1;
                        node.blocker.get_or_insert(from);
                    }
                    if node.waits_for == 0 {
                        ready.push(key.ix);
                    }
                }
                _ => {}
            }
        }
        ready
    }

    /// Takes the next steps of each node that waits for nothing or has ended, until only workers, users or time can
    /// advance the execution. A node whose next step needs more than the node (an end, approvals to close, outputs, a place in a
    /// group) becomes due
    /// `now`.
    pub fn run(&mut self, now: Timestamp) {
        let can_step = |node: &&Node| {
            let has_ended = node.state.status().is_some_and(JobStatus::is_terminal);
            node.waits_for == 0 || has_ended
        };
        let ready = self.nodes.iter().filter(can_step).map(|node| node.key.ix).collect();
        self.run_from(ready, now);
    }

    /// Like [`Self::run`], and decides about jobs with conditions on outputs, which are those of `plan`.
    pub(super) fn run_planned(&mut self, plan: &Plan, now: Timestamp) {
        self.run(now);
        if plan.jobs.iter().all(|job| job.condition.is_none()) {
            return;
        }
        let mut undecided = self.undecided(now);
        while let Some((ix, job)) = undecided.pop() {
            let (Some(node), Some(planned)) = (self.nodes.get(ix as usize), plan.jobs.get(job as usize))
            else {
                continue;
            };
            let mut read = self.at(&nodes_to_decide(planned));
            read.extend(self.at(&child_gates(&read)));
            if let NextStep::Apply(transition) = decide(node, planned, &read, now) {
                let mut ready = self.apply(transition.writes);
                ready.extend(transition.more.then_some(ix));
                self.run_from(ready, now);
                undecided = self.undecided(now);
            }
        }
    }

    /// Returns copies of the nodes at these indices.
    fn at(&self, ixs: &[u32]) -> Vec<Node> {
        ixs.iter().filter_map(|ix| self.nodes.get(*ix as usize)).cloned().collect()
    }

    /// Returns the nodes whose next step is to decide, and the jobs that they decide about.
    fn undecided(&self, now: Timestamp) -> Vec<(u32, u32)> {
        let of = |node: &Node| match next_step(node, now) {
            NextStep::Decide { job } => Some((node.key.ix, job)),
            _ => None,
        };
        self.nodes.iter().filter_map(of).collect()
    }

    /// Like [`Self::run`], for these nodes and those that follow from them.
    pub fn run_from(&mut self, mut ready: Vec<u32>, now: Timestamp) {
        while let Some(ix) = ready.pop() {
            let Some(node) = self.nodes.get_mut(ix as usize) else { continue };
            match next_step(node, now) {
                NextStep::Apply(transition) => {
                    if transition.more {
                        ready.push(ix);
                    }
                    ready.extend(self.apply(transition.writes));
                }
                NextStep::CheckEnd | NextStep::CloseApprovals { .. } | NextStep::Decide { .. } => {
                    node.due_at = guarded!(EmptyExecutionIsDue, Some(now), without node.due_at);
                }
                NextStep::RequestPlace => node.due_at = Some(now),
                NextStep::Idle | NextStep::Wait(_) => {}
            }
        }
    }
}
