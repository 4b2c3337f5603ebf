//! A job that more nodes need than one batch notifies: whoever notifies them may die after each batch, and a step may come when
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
    /// How often each link was notified.
    notified: Vec<u8>,
    /// Whether the request that ended the job lives, and has more to notify.
    goes_on: bool,
}

impl FanOutModel {
    /// A job that runs, and that as many need as three batches notify.
    fn new() -> Self {
        let (shape, cells) = PlanShape::new(CHAIN);
        let mut node = cells[0].node(&shape, 0);
        let links = MAX_ARRIVALS * 2 + 1;
        node.spec.links = (1..=u32::try_from(links).unwrap()).collect();
        let mut world = Self { node, notified: vec![0; links], goes_on: false };
        world.apply(JobEvent::Claim { token: token(1), worker: String::new(), ttl_ms: TTL_MS });
        world
    }

    fn apply(&mut self, event: JobEvent) {
        let NodeBody::Job(item) = &self.node.state.body else { unreachable!("it is a job") };
        let transition = apply_event(&self.node, item, event, NOW).unwrap();
        self.make(transition);
    }

    fn make(&mut self, transition: Transition) {
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
        self.goes_on = transition.more;
    }

    /// What may come next.
    fn next(&self) -> Vec<Self> {
        let mut after = Vec::new();
        if self.goes_on {
            after.push(Self { goes_on: false, ..self.clone() });
        }
        // Of the request, or of a sweep, which may have found the node due before the request ended the job.
        if let NextStep::Apply(transition) = next_step(&self.node, NOW) {
            let mut taken = self.clone();
            taken.make(transition);
            after.push(taken);
        }
        after
    }

    fn broken(&self) -> Option<Promise> {
        if self.notified.iter().any(|times| *times > 1) {
            // What is notified twice counts for another need that may not hold.
            return Some(Promise::NeedsHold);
        }
        let forgotten = !self.goes_on && self.node.due_at.is_none() && self.notified.contains(&0);
        forgotten.then_some(Promise::Ends)
    }
}

/// The promise that breaks first, and after how many steps.
pub fn first_broken() -> Option<(Promise, usize)> {
    let mut first = FanOutModel::new();
    first.apply(JobEvent::End {
        token: token(1),
        end: AttemptEnd { failure: None, exit_code: None },
        steps: Vec::new(),
    });
    let mut seen = HashSet::new();
    let mut open = VecDeque::from([(first, 1)]);
    while let Some((world, steps)) = open.pop_front() {
        if let Some(promise) = world.broken() {
            return Some((promise, steps));
        }
        if seen.insert((world.node.state.notified, world.node.due_at, world.goes_on)) {
            open.extend(world.next().into_iter().map(|world| (world, steps + 1)));
        }
    }
    // The three batches, notified by one request or by several.
    assert!(seen.len() >= 5, "only {} states", seen.len());
    None
}
