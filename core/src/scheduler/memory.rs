//! The nodes of one execution in memory: computes the first steps of a new execution before it is recorded.

use super::decide::decide;
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
            described: None,
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
        self.run_from(self.ready(), now);
    }

    /// Returns the nodes that wait for nothing or have ended.
    fn ready(&self) -> Vec<u32> {
        let can_step = |node: &&Node| {
            let has_ended = node.state.status().is_some_and(JobStatus::is_terminal);
            node.waits_for == 0 || has_ended
        };
        self.nodes.iter().filter(can_step).map(|node| node.key.ix).collect()
    }

    /// Like [`Self::run`], and decides about jobs with conditions on outputs, which are those of `plan`. Each node is visited when
    /// something that it waits for has ended, and no other.
    pub(super) fn run_planned(&mut self, plan: &Plan, now: Timestamp) {
        let mut undecided = Vec::new();
        self.run_all(self.ready(), now, &mut undecided);
        while let Some(ix) = undecided.pop() {
            let Some(node) = self.nodes.get(ix as usize) else { continue };
            let NextStep::Decide { job } = next_step(node, now) else { continue };
            let Some(planned) = plan.jobs.get(job as usize) else { continue };
            if let NextStep::Apply(transition) = decide(node, planned, &self.nodes, now) {
                let mut ready = self.apply(transition.writes);
                ready.extend(transition.more.then_some(ix));
                self.run_all(ready, now, &mut undecided);
            }
        }
    }

    /// Like [`Self::run`], for these nodes and those that follow from them.
    pub fn run_from(&mut self, ready: Vec<u32>, now: Timestamp) {
        self.run_all(ready, now, &mut Vec::new());
    }

    /// Like [`Self::run_from`], and adds the nodes whose next step is to decide.
    fn run_all(&mut self, mut ready: Vec<u32>, now: Timestamp, undecided: &mut Vec<u32>) {
        while let Some(ix) = ready.pop() {
            let Some(node) = self.nodes.get_mut(ix as usize) else { continue };
            let step = next_step(node, now);
            if let NextStep::Decide { .. } = step {
                undecided.push(ix);
            }
            match step {
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
