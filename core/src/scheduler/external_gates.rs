//! The gates of an execution that are opened from outside its plan: by approvals, and by the end of the preceding
//! execution of its group. Also the gates that close approvals which are no longer needed.

use super::conditions::StartConditions;
use crate::execution::status::JobStatus;
use crate::{
    guarded,
    pipeline::When,
    plan::{NodeIx, Plan, PlannedJob},
    records::{ApprovalGate, Node},
};
use std::collections::BTreeMap;

/// The external gates, which follow the plan's own, and after them the gates that close approvals.
pub(super) struct ExternalGates {
    /// The external gates.
    pub gates: Vec<ExternalGate>,
    /// The external gates that an approval opens.
    pub approvals: Vec<ApprovalGate>,
    /// The external gate that the end of the preceding execution of the group opens.
    pub group_gate: Option<u32>,
    /// For each job, whether the execution does not wait for it: it is manual, not approved and allowed to fail, or
    /// depends on such a job.
    pub optional: Vec<bool>,
    /// Index of the first gate in front of a manual job.
    pub first_needs_gate: u32,
    /// For each manual job with dependencies, the gate between those and the job: it closes the approval if a
    /// dependency fails.
    pub needs_gates: Vec<NeedsGate>,
    /// The gates of optional approvals: they are closed once everything else has ended.
    pub closed_at_end: Vec<u32>,
    /// Number of external gates that each job waits for.
    waits: BTreeMap<u32, u32>,
}

/// A gate that is opened from outside the plan.
pub(super) struct ExternalGate {
    /// The jobs that wait for it.
    pub links: Vec<u32>,
    /// Number of arrivals that open it.
    pub waits_for: u32,
}

/// A gate in front of a manual job that receives the arrivals of the job's needs.
pub(super) struct NeedsGate {
    /// The job.
    pub job: u32,
    /// The gate of the job's approval.
    pub approval: u32,
}

impl ExternalGates {
    /// Returns a set without external gates.
    pub fn empty(plan: &Plan) -> Self {
        Self {
            gates: Vec::new(),
            approvals: Vec::new(),
            group_gate: None,
            optional: Vec::new(),
            first_needs_gate: index(plan.jobs.len() + plan.gates.len()),
            needs_gates: Vec::new(),
            closed_at_end: Vec::new(),
            waits: BTreeMap::new(),
        }
    }

    /// Creates the gates that `conditions` and the manual jobs of `plan` require; `nodes` is the state of the plan's
    /// nodes without them.
    pub fn new(plan: &Plan, nodes: &[Node], conditions: StartConditions<'_>) -> Self {
        let mut gates = Self::empty(plan);
        let first = gates.first_needs_gate;
        for (ix, (job, node)) in (0..).zip(plan.jobs.iter().zip(nodes)) {
            let is_manual = job.when == When::Manual && !conditions.approves(job);
            if (is_manual || conditions.protected.contains(&ix)) && !has_ended(node) {
                let waits_for = guarded!(ApprovalWaits, 1, without 0);
                let gate = gates.add(first, vec![ix], waits_for);
                gates.approvals.push(ApprovalGate { gate, job: Some(ix) });
            }
        }
        if conditions.needs_approval {
            let waits_for = guarded!(ApprovalWaits, 1, without 0);
            let gate = gates.add(first, held_jobs(plan, nodes), waits_for);
            gates.approvals.push(ApprovalGate { gate, job: None });
        }
        if conditions.waits_for_group {
            let waits_for = guarded!(GroupWaits, 1, without 0);
            gates.group_gate = Some(gates.add(first, held_jobs(plan, nodes), waits_for));
        }
        gates.first_needs_gate = first + index(gates.gates.len());
        // A job that was asked for is not given up when all others have ended.
        let is_optional = |job: &PlannedJob| job.is_optional() && !conditions.approves(job);
        gates.optional = gates.optional_jobs(plan, is_optional);
        gates.add_closings(plan, is_optional);
        gates
    }

    /// Whether there are no external gates.
    pub fn is_empty(&self) -> bool {
        self.gates.is_empty()
    }

    /// Returns the number of external gates that a job waits for.
    pub fn gate_count(&self, job: u32) -> u32 {
        self.waits.get(&job).copied().unwrap_or(0)
    }

    /// Whether the execution does not wait for a job.
    pub fn is_optional(&self, job: u32) -> bool {
        self.optional.get(job as usize).copied().unwrap_or(false)
    }

    /// Returns the gate that receives the arrivals of a job's needs, if the job itself does not.
    pub fn needs_gate_of(&self, job: u32) -> Option<u32> {
        // They were added in the jobs' order.
        let at = self.needs_gates.binary_search_by_key(&job, |gate| gate.job).ok()?;
        Some(self.first_needs_gate + index(at))
    }

    /// Adds a gate with these links and returns its index; `first` is the index of the first external gate.
    fn add(&mut self, first: u32, links: Vec<u32>, waits_for: u32) -> u32 {
        for job in &links {
            *self.waits.entry(*job).or_default() += 1;
        }
        self.gates.push(ExternalGate { links, waits_for });
        first + index(self.gates.len() - 1)
    }

    fn optional_jobs(&self, plan: &Plan, is_optional: impl Fn(&PlannedJob) -> bool) -> Vec<bool> {
        let mut optional = vec![false; plan.jobs.len()];
        let mut passed = vec![false; plan.gates.len()];
        let manual = self.approvals.iter().filter_map(|approval| approval.job);
        let mut reached: Vec<NodeIx> =
            manual.filter(|ix| is_optional(&plan.jobs[*ix as usize])).map(NodeIx::Job).collect();
        while let Some(node) = reached.pop() {
            let visited = match node {
                NodeIx::Job(ix) => &mut optional[ix as usize],
                NodeIx::Gate(ix) => &mut passed[ix as usize],
            };
            if !std::mem::replace(visited, true) {
                reached.extend(plan.releases(node));
            }
        }
        optional
    }

    fn add_closings(&mut self, plan: &Plan, is_optional: impl Fn(&PlannedJob) -> bool) {
        for approval in &self.approvals {
            let Some(ix) = approval.job else { continue };
            let job = &plan.jobs[ix as usize];
            // A job that runs however its needs end waits for its approval in any case.
            if job.waits_for > 0 && job.when != When::Always {
                self.needs_gates.push(NeedsGate { job: ix, approval: approval.gate });
            }
            if is_optional(job) {
                self.closed_at_end.push(approval.gate);
            }
        }
    }
}

fn has_ended(node: &Node) -> bool {
    node.state.status().is_some_and(JobStatus::is_terminal)
}

/// Returns the jobs that must wait so that nothing runs: those without other dependencies, and those that also run if
/// their dependencies do not succeed, because these may be canceled.
fn held_jobs(plan: &Plan, nodes: &[Node]) -> Vec<u32> {
    let waits = |ix: &u32| {
        let (job, node) = (&plan.jobs[*ix as usize], &nodes[*ix as usize]);
        let runs_regardless = matches!(job.when, When::OnFailure | When::Always);
        !has_ended(node)
            && (node.waits_for == 0 || guarded!(HoldsUnconditionalJobs, runs_regardless, without false))
    };
    (0..index(plan.jobs.len())).filter(waits).collect()
}

/// Converts an index. Plans are bounded, so it always fits.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
