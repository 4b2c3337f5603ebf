//! Checks a job with more dependents than one batch notifies: the process may die after each batch, and a step may run when
//! nothing is left to do.

use super::{
    cases::CHAIN,
    promise::Promise,
    protocol::TTL_MS,
    records::{NOW, PlanShape, token},
};
use std::collections::{HashSet, VecDeque};
use tidemill_core::execution::transition::JobEvent;
use tidemill_core::{
    api::AttemptEnd,
    scheduler::{MAX_ARRIVALS, NextStep, Transition, apply_event, next_step},
};
use tidemill_services::ports::{Node, NodeBody, Write};

#[derive(Debug, Clone)]
struct FanOutModel {
    node: Node,
    /// The number of notifications of each link.
    notified: Vec<u8>,
    /// Whether the request that ended the job is alive, and has more links to notify.
    is_notifying: bool,
}

impl FanOutModel {
    /// Creates a running job whose dependents take three batches to notify.
    fn new() -> Self {
        let (shape, cells) = PlanShape::new(CHAIN);
        let mut node = cells[0].node(&shape, 0);
        let links = MAX_ARRIVALS * 2 + 1;
        node.spec.links = (1..=u32::try_from(links).unwrap()).collect();
        let mut world = Self { node, notified: vec![0; links], is_notifying: false };
        world.apply(JobEvent::Claim {
            token: token(1),
            worker: String::new(),
            ttl_ms: TTL_MS,
            slot_price: 0,
        });
        world
    }

    fn apply(&mut self, event: JobEvent) {
        let NodeBody::Job(item) = &self.node.state.body else { unreachable!("the node is a job") };
        let transition = apply_event(&self.node, item, event, NOW).unwrap();
        self.apply_transition(transition);
    }

    fn apply_transition(&mut self, transition: Transition) {
        for write in transition.writes {
            match write {
                Write::PutNode { state, due_at, .. } => {
                    self.node.version += 1;
                    (self.node.state, self.node.due_at) = (state, due_at);
                }
                Write::Arrive { key, .. } => self.notified[key.ix as usize - 1] += 1,
                other => unreachable!("the end of a job does not write {other:?}"),
            }
        }
        self.is_notifying = transition.more;
    }

    /// Returns the possible next states.
    fn next(&self) -> Vec<Self> {
        let mut successors = Vec::new();
        if self.is_notifying {
            successors.push(Self { is_notifying: false, ..self.clone() });
        }
        // By the request, or by a sweep that read the node as due before the request ended the job.
        if let NextStep::Apply(transition) = next_step(&self.node, NOW) {
            let mut next = self.clone();
            next.apply_transition(transition);
            successors.push(next);
        }
        successors
    }

    fn broken(&self) -> Option<Promise> {
        if self.notified.iter().any(|times| *times > 1) {
            // A second notification counts for another need, which may not hold.
            return Some(Promise::NeedsHold);
        }
        let is_forgotten = !self.is_notifying && self.node.due_at.is_none() && self.notified.contains(&0);
        is_forgotten.then_some(Promise::Ends)
    }
}

/// Returns the promise that breaks first, and the number of steps.
pub fn first_violation() -> Option<(Promise, usize)> {
    let mut first = FanOutModel::new();
    first.apply(JobEvent::End {
        token: token(1),
        end: AttemptEnd { failure: None, exit_code: None, ..AttemptEnd::default() },
        steps: Vec::new(),
    });
    let mut visited = HashSet::new();
    let mut open = VecDeque::from([(first, 1)]);
    while let Some((world, steps)) = open.pop_front() {
        if let Some(promise) = world.broken() {
            return Some((promise, steps));
        }
        if visited.insert((world.node.state.notified, world.node.due_at, world.is_notifying)) {
            open.extend(world.next().into_iter().map(|world| (world, steps + 1)));
        }
    }
    // The three batches may be sent by one request or by several.
    assert!(visited.len() >= 5, "only {} states", visited.len());
    None
}
