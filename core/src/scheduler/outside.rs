//! The gates of an execution that something outside of its plan opens: approvals, and the end of the execution before it in its
//! group; and the gates that close approvals which are needless.

use super::conditions::StartConditions;
use crate::execution::status::JobStatus;
use crate::{
    guarded,
    pipeline::When,
    plan::{NodeIx, Plan},
    records::{ApprovalGate, Node},
};
use std::collections::BTreeMap;

/// Gates from outside, after the plan's own, and those that close approvals, after them.
pub(super) struct OutsideGates {
    /// The gates that are opened from outside.
    pub gates: Vec<OutsideGate>,
    /// Those of them that an approval opens.
    pub approvals: Vec<ApprovalGate>,
    /// The one that the end of the execution before it in its group opens.
    pub group_gate: Option<u32>,
    /// For each job whether nobody waits for it: it is manual, still to be approved, and allowed to fail, or it waits for such a job.
    pub optional: Vec<bool>,
    /// Index of the first gate in front of a manual job.
    pub first_of_needs: u32,
    /// Of each manual job that waits for others, the gate between these and it: it closes the approval should a need fail.
    pub of_needs: Vec<GateOfNeeds>,
    /// The gates of the approvals that nobody has to give: they are closed once all else is over.
    pub closed_at_end: Vec<u32>,
    /// How many gates from outside each job waits for.
    waits: BTreeMap<u32, u32>,
}

/// A gate that is opened from outside.
pub(super) struct OutsideGate {
    /// The jobs that wait for it.
    pub links: Vec<u32>,
    /// Arrivals that open it.
    pub waits_for: u32,
}

/// A gate in front of a manual job, at which the job's needs arrive.
pub(super) struct GateOfNeeds {
    /// The job.
    pub job: u32,
    /// The gate of its approval.
    pub approval: u32,
}

impl OutsideGates {
    /// No gates from outside.
    pub fn none(plan: &Plan) -> Self {
        Self {
            gates: Vec::new(),
            approvals: Vec::new(),
            group_gate: None,
            optional: Vec::new(),
            first_of_needs: index(plan.jobs.len() + plan.gates.len()),
            of_needs: Vec::new(),
            closed_at_end: Vec::new(),
            waits: BTreeMap::new(),
        }
    }

    /// The gates that `conditions` and the manual jobs of `plan` ask for; `nodes` are what the plan's nodes come to without them.
    pub fn new(plan: &Plan, nodes: &[Node], conditions: StartConditions<'_>) -> Self {
        let mut gates = Self::none(plan);
        let first = gates.first_of_needs;
        for (ix, (job, node)) in (0..).zip(plan.jobs.iter().zip(nodes)) {
            let approved = || conditions.approved.iter().any(|name| job.is_called(name));
            if job.when == When::Manual && !is_over(node) && !approved() {
                let waits_for = guarded!(ApprovalWaits, 1, without 0);
                let gate = gates.add(first, vec![ix], waits_for);
                gates.approvals.push(ApprovalGate { gate, job: Some(ix) });
            }
        }
        if conditions.needs_approval {
            let waits_for = guarded!(ApprovalWaits, 1, without 0);
            let gate = gates.add(first, held(plan, nodes), waits_for);
            gates.approvals.push(ApprovalGate { gate, job: None });
        }
        if conditions.waits_for_group {
            let waits_for = guarded!(TurnWaits, 1, without 0);
            gates.group_gate = Some(gates.add(first, held(plan, nodes), waits_for));
        }
        gates.first_of_needs = first + index(gates.gates.len());
        gates.optional = gates.optional_jobs(plan);
        gates.add_closings(plan);
        gates
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.gates.is_empty()
    }

    /// How many gates from outside a job waits for.
    pub fn gates_of(&self, job: u32) -> u32 {
        self.waits.get(&job).copied().unwrap_or(0)
    }

    /// Whether nobody waits for a job.
    pub fn is_optional(&self, job: u32) -> bool {
        self.optional.get(job as usize).copied().unwrap_or(false)
    }

    /// The gate at which the needs of a job arrive, where they do not at the job itself.
    pub fn in_front_of(&self, job: u32) -> Option<u32> {
        // They were added in the jobs' order.
        let at = self.of_needs.binary_search_by_key(&job, |of| of.job).ok()?;
        Some(self.first_of_needs + index(at))
    }

    /// The index of a new gate with these links, the first of them being `first`.
    fn add(&mut self, first: u32, links: Vec<u32>, waits_for: u32) -> u32 {
        for job in &links {
            *self.waits.entry(*job).or_default() += 1;
        }
        self.gates.push(OutsideGate { links, waits_for });
        first + index(self.gates.len() - 1)
    }

    fn optional_jobs(&self, plan: &Plan) -> Vec<bool> {
        let mut optional = vec![false; plan.jobs.len()];
        let mut passed = vec![false; plan.gates.len()];
        let manual = self.approvals.iter().filter_map(|approval| approval.job);
        let mut reached: Vec<NodeIx> =
            manual.filter(|ix| plan.jobs[*ix as usize].is_optional()).map(NodeIx::Job).collect();
        while let Some(node) = reached.pop() {
            let seen = match node {
                NodeIx::Job(ix) => &mut optional[ix as usize],
                NodeIx::Gate(ix) => &mut passed[ix as usize],
            };
            if !std::mem::replace(seen, true) {
                reached.extend(plan.releases(node));
            }
        }
        optional
    }

    fn add_closings(&mut self, plan: &Plan) {
        for approval in &self.approvals {
            let Some(ix) = approval.job else { continue };
            let job = &plan.jobs[ix as usize];
            if job.waits_for > 0 {
                self.of_needs.push(GateOfNeeds { job: ix, approval: approval.gate });
            }
            if job.is_optional() {
                self.closed_at_end.push(approval.gate);
            }
        }
    }
}

fn is_over(node: &Node) -> bool {
    node.state.status().is_some_and(JobStatus::is_terminal)
}

/// The jobs that must wait so that nothing runs: those that wait for nothing else, and those that run also when these do not
/// succeed, as they may be canceled.
fn held(plan: &Plan, nodes: &[Node]) -> Vec<u32> {
    let waits = |ix: &u32| {
        let (job, node) = (&plan.jobs[*ix as usize], &nodes[*ix as usize]);
        let by_itself = matches!(job.when, When::OnFailure | When::Always);
        !is_over(node) && (node.waits_for == 0 || guarded!(HeldWhole, by_itself, without false))
    };
    (0..index(plan.jobs.len())).filter(waits).collect()
}

/// Plans are bounded, so an index always fits.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
