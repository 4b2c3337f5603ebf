//! The nodes of a new execution: those of its plan, and the gates that something outside of the plan opens.
//!
//! Whatever an execution does before anything of it runs (jobs carried over by a retry notify what waits for them, jobs for failures
//! are skipped, the first jobs are queued) is the same [`next_step`](super::next_step) that moves it on later, here in memory.

use super::{
    conditions::{CarriedJob, StartConditions},
    memory::MemoryNodes,
    outside::OutsideGates,
};
use crate::{
    ids::{ExecutionId, JobId},
    plan::{NodeIx, Plan, PlannedJob},
    records::{
        ApprovalClosing, ApprovalGate, JobRecord, NewNode, Node, NodeBody, NodeKey, NodeSpec, NodeState,
    },
    time::Timestamp,
};
use std::collections::BTreeMap;

/// The nodes of a new execution.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// All of them by index: jobs, gates, the end.
    pub nodes: Vec<NewNode>,
    /// The gates that open when somebody approves.
    pub approvals: Vec<ApprovalGate>,
    /// The gate that opens when the execution before it in its group ends.
    pub group_gate: Option<u32>,
}

/// All nodes of `plan`, to run as `execution`, with the steps taken that `carried` jobs (by name) and `conditions` allow at once.
#[must_use]
pub fn new_execution(
    plan: &Plan,
    execution: ExecutionId,
    carried: &BTreeMap<String, CarriedJob>,
    conditions: StartConditions<'_>,
    now: Timestamp,
) -> NewExecution {
    let none = OutsideGates::none(plan);
    let mut nodes = Layout { plan, execution, carried, outside: &none }.nodes();
    nodes.run(now);
    // What would run at once waits for the gates, if there are any.
    let outside = OutsideGates::new(plan, nodes.nodes(), conditions);
    if !outside.is_empty() {
        nodes = Layout { plan, execution, carried, outside: &outside }.nodes();
        nodes.run(now);
    }
    NewExecution {
        nodes: nodes.into_new_nodes(),
        approvals: outside.approvals,
        group_gate: outside.group_gate,
    }
}

/// Where the nodes of an execution stand: jobs, gates of the plan, gates from outside, gates in front of manual jobs, the gate that
/// closes approvals at the end, the end.
struct Layout<'a> {
    plan: &'a Plan,
    execution: ExecutionId,
    carried: &'a BTreeMap<String, CarriedJob>,
    outside: &'a OutsideGates,
}

impl Layout<'_> {
    fn nodes(&self) -> MemoryNodes {
        let (plan, outside) = (self.plan, self.outside);
        let jobs = index(plan.jobs.len());
        let mut nodes = Vec::with_capacity(self.end() as usize + 1);
        for (ix, job) in (0..).zip(&plan.jobs) {
            let waits_for = outside.gates_of(ix) + outside.in_front_of(ix).map_or(job.waits_for, |_| 1);
            nodes.push(self.node(ix, self.job_spec(ix, job), self.job_body(job), waits_for));
        }
        for (ix, gate) in (jobs..).zip(&plan.gates) {
            let links = gate.releases.iter().map(|node| self.place(*node)).collect();
            nodes.push(self.gate(ix, links, None, gate.waits_for));
        }
        for (ix, gate) in (self.first_outside()..).zip(&outside.gates) {
            nodes.push(self.gate(ix, gate.links.clone(), None, gate.waits_for));
        }
        for (ix, of) in (outside.first_of_needs..).zip(&outside.of_needs) {
            let closing = ApprovalClosing { gates: vec![of.approval], after_failure: true };
            let waits_for = plan.jobs[of.job as usize].waits_for;
            nodes.push(self.gate(ix, vec![of.job], Some(closing), waits_for));
        }
        if let Some(ix) = self.closing_gate() {
            let awaited = outside.optional.iter().filter(|optional| !**optional).count();
            let closing = ApprovalClosing { gates: outside.closed_at_end.clone(), after_failure: false };
            nodes.push(self.gate(ix, Vec::new(), Some(closing), index(awaited)));
        }
        nodes.push(self.node(self.end(), NodeSpec::default(), NodeBody::End, jobs));
        MemoryNodes::new(nodes)
    }

    /// The first gate that something outside of the plan opens.
    fn first_outside(&self) -> u32 {
        index(self.plan.jobs.len() + self.plan.gates.len())
    }

    /// The gate that closes the approvals that nobody has to give once all else is over.
    fn closing_gate(&self) -> Option<u32> {
        let outside = self.outside;
        let place = outside.first_of_needs + index(outside.of_needs.len());
        (!outside.closed_at_end.is_empty()).then_some(place)
    }

    fn end(&self) -> u32 {
        let outside = self.outside;
        let place = outside.first_of_needs + index(outside.of_needs.len());
        self.closing_gate().map_or(place, |gate| gate + 1)
    }

    /// The index of what a node of the plan arrives at.
    fn place(&self, node: NodeIx) -> u32 {
        match node {
            NodeIx::Job(ix) => self.outside.in_front_of(ix).unwrap_or(ix),
            NodeIx::Gate(ix) => index(self.plan.jobs.len()) + ix,
        }
    }

    fn job_spec(&self, ix: u32, job: &PlannedJob) -> NodeSpec {
        let optional = self.outside.is_optional(ix);
        let mut links: Vec<u32> = job.releases.iter().map(|node| self.place(*node)).collect();
        links.extend(self.closing_gate().filter(|_| !optional));
        links.push(self.end());
        NodeSpec {
            name: job.name.clone(),
            job: Some(JobId::of(self.execution, ix)),
            allow_failure: job.allow_failure,
            retry: job.retry,
            retry_for: job.retry_for.clone(),
            links,
            when: job.when,
            allow_exit_codes: job.allow_exit_codes.clone(),
            optional,
            closing: None,
        }
    }

    fn job_body(&self, job: &PlannedJob) -> NodeBody {
        let kept = self.carried.get(&job.name);
        NodeBody::Job(Box::new(JobRecord {
            job: kept.map(|kept| kept.state.clone()).unwrap_or_default(),
            log_bytes: kept.map_or(0, |kept| kept.log_bytes),
            carried_from: kept.map(|kept| kept.from),
            carried_attempt: kept.map_or(0, |kept| kept.attempt),
        }))
    }

    fn gate(&self, ix: u32, links: Vec<u32>, closing: Option<ApprovalClosing>, waits_for: u32) -> Node {
        let spec = NodeSpec { links, closing, ..NodeSpec::default() };
        self.node(ix, spec, NodeBody::Gate { open: false }, waits_for)
    }

    fn node(&self, ix: u32, spec: NodeSpec, body: NodeBody, waits_for: u32) -> Node {
        Node {
            key: NodeKey { execution: self.execution, ix },
            spec,
            state: NodeState { notified: 0, body },
            version: 0,
            waits_for,
            failed: 0,
            blocker: None,
            due_at: None,
        }
    }
}

/// Plans are bounded, so an index always fits.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
