//! Creates the nodes of a new execution: those of its plan, and the gates that are opened from outside the plan.
//!
//! The steps that are possible before any job runs (carried-over jobs notify their dependents, `on_failure` jobs are
//! skipped, the first jobs are queued) are computed in memory by the same [`next_step`](super::next_step) that advances
//! the execution later.

use super::{
    conditions::{CarriedJob, StartConditions},
    decide::decided_by,
    external_gates::ExternalGates,
    memory::MemoryNodes,
};
use crate::{
    ids::{ExecutionId, JobId},
    plan::{NodeIx, Plan, PlannedJob},
    records::{
        ApprovalClosing, ApprovalGate, DecidedBy, JobDescription, JobRecord, NewNode, Node, NodeBody,
        NodeKey, NodeSpec, NodeState,
    },
    time::Timestamp,
};
use std::collections::BTreeMap;

/// The nodes of a new execution.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// All nodes by index: jobs, gates, the end node.
    pub nodes: Vec<NewNode>,
    /// The gates that an approval opens.
    pub approvals: Vec<ApprovalGate>,
    /// The gate that the end of the preceding execution in its group opens.
    pub group_gate: Option<u32>,
}

/// Creates all nodes of `plan` for `execution`, with the steps applied that `carried` jobs (by name) and `conditions`
/// allow at once.
#[must_use]
pub fn new_execution(
    plan: &Plan,
    execution: ExecutionId,
    carried: &BTreeMap<String, CarriedJob>,
    conditions: StartConditions<'_>,
    now: Timestamp,
) -> NewExecution {
    let none = ExternalGates::empty(plan);
    let decided = decided_by(plan);
    let waiting: Vec<u32> = (0..)
        .zip(&plan.jobs)
        .filter(|(_, job)| job.surroundings.waits_for_child())
        .map(|(ix, _)| ix)
        .collect();
    let layout =
        |external| Layout { plan, execution, carried, external, decided: &decided, waiting: &waiting };
    let mut nodes = layout(&none).nodes();
    nodes.run_planned(plan, now);
    // Jobs that would run at once wait for the external gates, if there are any.
    let external = ExternalGates::new(plan, nodes.nodes(), conditions);
    if !external.is_empty() {
        nodes = layout(&external).nodes();
        nodes.run_planned(plan, now);
    }
    let mut new = nodes.into_new_nodes();
    for (node, job) in new.iter_mut().zip(&plan.jobs) {
        let description = JobDescription { stage: job.stage.clone(), docker_image: job.image.clone() };
        node.described = Some(description);
    }
    NewExecution { nodes: new, approvals: external.approvals, group_gate: external.group_gate }
}

/// The node indices of an execution, in order: jobs, gates of the plan, external gates, gates in front of manual jobs,
/// two gates for each job that waits for its child, the gate that closes approvals at the end, the end node.
struct Layout<'a> {
    plan: &'a Plan,
    execution: ExecutionId,
    carried: &'a BTreeMap<String, CarriedJob>,
    external: &'a ExternalGates,
    /// What decides about each job when it is due.
    decided: &'a [Option<DecidedBy>],
    /// The jobs that wait for their children, in order.
    waiting: &'a [u32],
}

impl Layout<'_> {
    fn nodes(&self) -> MemoryNodes {
        let (plan, external) = (self.plan, self.external);
        let jobs = index(plan.jobs.len());
        let mut nodes = Vec::with_capacity(self.end() as usize + 1);
        for (ix, job) in (0..).zip(&plan.jobs) {
            let waits_for = external.gate_count(ix) + external.needs_gate_of(ix).map_or(job.waits_for, |_| 1);
            nodes.push(self.node(ix, self.job_spec(ix, job), self.job_body(job), waits_for));
        }
        for (ix, gate) in (jobs..).zip(&plan.gates) {
            let links = gate.releases.iter().map(|node| self.target_index(*node)).collect();
            nodes.push(self.gate(ix, links, gate.waits_for));
        }
        for (ix, gate) in (self.first_external()..).zip(&external.gates) {
            nodes.push(self.gate(ix, gate.links.clone(), gate.waits_for));
        }
        for (ix, needs_gate) in (external.first_needs_gate..).zip(&external.needs_gates) {
            let closing = ApprovalClosing { gates: vec![needs_gate.approval], after_failure: true };
            let waits_for = plan.jobs[needs_gate.job as usize].waits_for;
            // A condition is decided before the approval is asked for.
            let decided_by = self.decided[needs_gate.job as usize];
            let decided_by = decided_by.filter(|by| matches!(by, DecidedBy::Condition(_)));
            let links = vec![needs_gate.job];
            let spec = NodeSpec { links, closing: Some(closing), decided_by, ..NodeSpec::default() };
            nodes.push(self.node(ix, spec, NodeBody::Gate { open: false }, waits_for));
        }
        for (ix, job) in (self.first_child_gate()..).step_by(2).zip(self.waiting) {
            self.add_child_gates(ix, *job, &mut nodes);
        }
        if let Some(ix) = self.closing_gate() {
            let children = self.waiting.iter().filter(|job| !external.is_optional(**job)).count();
            let awaited = external.optional.iter().filter(|optional| !**optional).count() + children;
            let closing = ApprovalClosing { gates: external.closed_at_end.clone(), after_failure: false };
            let spec = NodeSpec { closing: Some(closing), ..NodeSpec::default() };
            nodes.push(self.node(ix, spec, NodeBody::Gate { open: false }, index(awaited)));
        }
        let ends = jobs + index(self.waiting.len());
        nodes.push(self.node(self.end(), NodeSpec::default(), NodeBody::End, ends));
        MemoryNodes::new(nodes)
    }

    /// Index of the first external gate.
    fn first_external(&self) -> u32 {
        index(self.plan.jobs.len() + self.plan.gates.len())
    }

    /// Index of the gate that closes the optional approvals once everything else has ended.
    fn closing_gate(&self) -> Option<u32> {
        (!self.external.closed_at_end.is_empty()).then_some(self.after_child_gates())
    }

    fn end(&self) -> u32 {
        self.closing_gate().map_or(self.after_child_gates(), |gate| gate + 1)
    }

    /// Index of the first gate of a job that waits for its child.
    fn first_child_gate(&self) -> u32 {
        self.external.first_needs_gate + index(self.external.needs_gates.len())
    }

    fn after_child_gates(&self) -> u32 {
        self.first_child_gate() + 2 * index(self.waiting.len())
    }

    /// Adds the two gates of a job that waits for its child. The first one receives the end of the job: if it did not succeed,
    /// there is no child, and the gate opens the second one as failed. The second one opens with the end of the child as well,
    /// and links to the job's dependents.
    fn add_child_gates(&self, ix: u32, job: u32, nodes: &mut Vec<Node>) {
        let (planned, gate) = (&self.plan.jobs[job as usize], ix + 1);
        let closing = ApprovalClosing { gates: vec![gate], after_failure: true };
        let links = vec![gate];
        let spec = NodeSpec { links, closing: Some(closing), ..NodeSpec::default() };
        nodes.push(self.node(ix, spec, NodeBody::Gate { open: false }, 1));
        let mut links: Vec<u32> = planned.releases.iter().map(|node| self.target_index(*node)).collect();
        links.extend(self.closing_gate().filter(|_| !self.external.is_optional(job)));
        links.push(self.end());
        let spec = NodeSpec {
            links,
            allow_failure: planned.allow_failure,
            stage_gate: self.stage_gate(job),
            child_of: Some(job),
            ..NodeSpec::default()
        };
        // The child of a carried-over job has ended.
        let waits_for = if self.carried.contains_key(&planned.name) { 1 } else { 2 };
        nodes.push(self.node(gate, spec, NodeBody::Gate { open: false }, waits_for));
    }

    /// Index of the node that receives the arrivals for a node of the plan.
    fn target_index(&self, node: NodeIx) -> u32 {
        match node {
            NodeIx::Job(ix) => self.external.needs_gate_of(ix).unwrap_or(ix),
            NodeIx::Gate(ix) => index(self.plan.jobs.len()) + ix,
        }
    }

    /// The link to the gate after the stage of a job that a condition on outputs may skip.
    fn stage_gate(&self, ix: u32) -> Option<u32> {
        self.decided[ix as usize]?;
        let joins_stage = |node: &&NodeIx| match node {
            NodeIx::Gate(ix) => self.plan.gates[*ix as usize].joins_stage,
            NodeIx::Job(_) => false,
        };
        let node = self.plan.jobs[ix as usize].releases.iter().find(joins_stage)?;
        Some(self.target_index(*node))
    }

    fn job_spec(&self, ix: u32, job: &PlannedJob) -> NodeSpec {
        let optional = self.external.is_optional(ix);
        let decided_by = self.decided[ix as usize];
        let waiting = self.waiting.binary_search(&ix).ok().map(|at| self.first_child_gate() + 2 * index(at));
        let mut links: Vec<u32> = match waiting {
            Some(first) => vec![first],
            None => job.releases.iter().map(|node| self.target_index(*node)).collect(),
        };
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
            start_in_s: job.start_in_s,
            allow_exit_codes: job.allow_exit_codes.clone(),
            optional,
            closing: None,
            deploys: job.surroundings.environment.is_some(),
            concurrency: job.surroundings.concurrency.clone(),
            decided_by,
            stage_gate: self.stage_gate(ix).filter(|_| waiting.is_none()),
            child_gate: waiting.map(|first| first + 1),
            child_of: None,
        }
    }

    fn job_body(&self, job: &PlannedJob) -> NodeBody {
        let carried_job = self.carried.get(&job.name);
        NodeBody::Job(Box::new(JobRecord {
            job: carried_job.map(|carried_job| carried_job.state.clone()).unwrap_or_default(),
            log_bytes: carried_job.map_or(0, |carried_job| carried_job.log_bytes),
            carried_from: carried_job.map(|carried_job| carried_job.from),
            carried_attempt: carried_job.map_or(0, |carried_job| carried_job.attempt),
            child: carried_job.and_then(|carried_job| carried_job.child),
            watched_until: None,
        }))
    }

    fn gate(&self, ix: u32, links: Vec<u32>, waits_for: u32) -> Node {
        let spec = NodeSpec { links, ..NodeSpec::default() };
        self.node(ix, spec, NodeBody::Gate { open: false }, waits_for)
    }

    fn node(&self, ix: u32, spec: NodeSpec, body: NodeBody, waits_for: u32) -> Node {
        Node {
            key: NodeKey { execution: self.execution, ix },
            spec,
            state: NodeState { notified: 0, body, approvals: Vec::new() },
            version: 0,
            waits_for,
            failed: 0,
            blocker: None,
            due_at: None,
        }
    }
}

/// Converts an index. Plans are bounded, so it always fits.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
