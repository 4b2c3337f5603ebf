//! The nodes of a new execution.

use super::turn::not_needed;
use crate::ports::{ApprovalGate, Closing, JobItem, NewNode, NodeBody, NodeSpec, NodeState};
use std::collections::BTreeMap;
use tidemill_core::{
    guard::{Guard, holds},
    ids::{ExecutionId, JobId},
    pipeline::RunWhen,
    plan::{NodeIx, Plan},
    status::JobStatus,
    time::Timestamp,
    transition::JobState,
};

/// A job that already succeeded in the execution that is retried.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The job whose log and artifacts it keeps: where it really ran.
    pub from: JobId,
    /// The attempt that succeeded there.
    pub attempt: u32,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Its state there.
    pub state: JobState,
}

/// What must come before anything of an execution runs, besides its jobs' needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Somebody must approve it.
    pub hold: bool,
    /// Another execution of its group must end.
    pub in_turn: bool,
    /// Names of manual jobs that are approved already.
    pub approved: &'a [String],
}

/// The nodes of a new execution.
#[derive(Debug, Clone)]
pub struct Made {
    /// All of them by index: jobs, gates, the end.
    pub nodes: Vec<NewNode>,
    /// The gates that open when somebody approves.
    pub approvals: Vec<ApprovalGate>,
    /// The gate that opens when the execution before it ends.
    pub turn_gate: Option<u32>,
}

/// All nodes of `plan`, to run as `execution`, with what `carried` jobs (by name) release already done.
pub fn nodes(
    plan: &Plan,
    execution: ExecutionId,
    carried: &BTreeMap<String, Carried>,
    entry: Entry<'_>,
    (now, resend_ms): (Timestamp, i64),
) -> Made {
    let gates_from = index(plan.jobs.len());
    let opened = Opened::new(plan, carried, entry);
    let undone = opened.may_be_undone(plan);
    let closings = Closings::new(plan, &opened);
    let rest = closings.first + index(closings.of_needs.len());
    let end = rest + u32::from(!closings.late.is_empty());
    let place = |node: &NodeIx| match node {
        NodeIx::Job(ix) => closings.in_front_of(*ix).unwrap_or(*ix),
        NodeIx::Gate(ix) => gates_from + *ix,
    };
    let mut nodes: Vec<NewNode> = Vec::with_capacity(end as usize + 1);
    for (ix, job) in (0..).zip(&plan.jobs) {
        let id = JobId::of(execution, ix);
        let mut links: Vec<u32> = job.releases.iter().map(place).collect();
        let may_be_undone = undone[ix as usize];
        if rest < end && !may_be_undone {
            links.push(rest);
        }
        links.push(end);
        let kept = carried.get(&job.name);
        let item = JobItem {
            job: kept.map(|kept| kept.state.clone()).unwrap_or_default(),
            log_bytes: kept.map_or(0, |kept| kept.log_bytes),
            carried_from: kept.map(|kept| kept.from),
            carried_attempt: kept.map_or(0, |kept| kept.attempt),
        };
        nodes.push(NewNode {
            spec: NodeSpec {
                name: job.name.clone(),
                job: Some(id),
                allow_failure: job.allow_failure,
                retry: job.retry,
                retry_for: job.retry_for.clone(),
                links,
                when: job.when,
                allow_exit_codes: job.allow_exit_codes.clone(),
                may_be_undone,
                closing: None,
            },
            state: NodeState { told: 0, body: NodeBody::Job(Box::new(item)) },
            waits_for: opened.waits_for(ix) + closings.in_front_of(ix).map_or(job.waits_for, |_| 1),
            failed: 0,
            due_at: None,
        });
    }
    for gate in &plan.gates {
        let links = gate.releases.iter().map(place).collect();
        nodes.push(silent(links, NodeBody::Gate { open: false }, gate.waits_for));
    }
    for (ix, links) in (gates_from + index(plan.gates.len())..).zip(opened.gates) {
        // What opens it comes from outside the plan.
        let guard = if opened.turn_gate == Some(ix) { Guard::TurnWaits } else { Guard::ApprovalWaits };
        let waits_for = u32::from(!holds(guard, false));
        nodes.push(silent(links, NodeBody::Gate { open: false }, waits_for));
    }
    for of in &closings.of_needs {
        let mut gate =
            silent(vec![of.job], NodeBody::Gate { open: false }, plan.jobs[of.job as usize].waits_for);
        gate.spec.closing = Some(Closing { gates: vec![of.approval], after_failure: true });
        nodes.push(gate);
    }
    if rest < end {
        let awaited = undone.iter().filter(|undone| !**undone).count();
        let mut gate = silent(Vec::new(), NodeBody::Gate { open: false }, index(awaited));
        gate.spec.closing = Some(Closing { gates: closings.late, after_failure: false });
        nodes.push(gate);
    }
    nodes.push(silent(Vec::new(), NodeBody::End, gates_from));
    settle(&mut nodes, now);
    queue(&mut nodes, now, resend_ms);
    if !holds(Guard::NothingToRunIsDue, false) {
        for node in nodes.iter_mut().filter(|node| node.waits_for == 0 && !acts_only_on_jobs(node)) {
            // Nothing is left to run, so that nobody comes by who would have it take its turn.
            node.due_at = Some(now);
        }
    }
    Made { nodes, approvals: opened.approvals, turn_gate: opened.turn_gate }
}

/// The gates that something outside the plan opens, after the plan's own.
struct Opened {
    gates: Vec<Vec<u32>>,
    approvals: Vec<ApprovalGate>,
    turn_gate: Option<u32>,
    /// How many of them each job waits for.
    waits: BTreeMap<u32, u32>,
}

impl Opened {
    fn new(plan: &Plan, carried: &BTreeMap<String, Carried>, entry: Entry<'_>) -> Self {
        let first = index(plan.jobs.len() + plan.gates.len());
        let mut opened =
            Self { gates: Vec::new(), approvals: Vec::new(), turn_gate: None, waits: BTreeMap::new() };
        let begins = Begins::of(plan, carried);
        for (ix, job) in (0..).zip(&plan.jobs) {
            let approved = || entry.approved.iter().any(|name| job.is_called(name));
            if job.when == RunWhen::Manual && !begins.over[ix as usize] && !approved() {
                let gate = opened.add(first, vec![ix]);
                opened.approvals.push(ApprovalGate { gate, job: Some(ix) });
            }
        }
        if entry.hold {
            let gate = opened.add(first, begins.held());
            opened.approvals.push(ApprovalGate { gate, job: None });
        }
        if entry.in_turn {
            opened.turn_gate = Some(opened.add(first, begins.held()));
        }
        opened
    }

    /// The index of a new gate with these links, the first of them being `first`.
    fn add(&mut self, first: u32, links: Vec<u32>) -> u32 {
        for job in &links {
            *self.waits.entry(*job).or_default() += 1;
        }
        self.gates.push(links);
        first + index(self.gates.len() - 1)
    }

    /// For each job whether nobody waits for it: it is manual, still to be approved, and allowed to fail, or it waits for such a job.
    fn may_be_undone(&self, plan: &Plan) -> Vec<bool> {
        let mut undone = vec![false; plan.jobs.len()];
        let mut passed = vec![false; plan.gates.len()];
        let manual = self.approvals.iter().filter_map(|approval| approval.job);
        let mut reached: Vec<NodeIx> =
            manual.filter(|ix| plan.jobs[*ix as usize].may_be_left_undone()).map(NodeIx::Job).collect();
        while let Some(node) = reached.pop() {
            let seen = match node {
                NodeIx::Job(ix) => &mut undone[ix as usize],
                NodeIx::Gate(ix) => &mut passed[ix as usize],
            };
            if !std::mem::replace(seen, true) {
                reached.extend(plan.releases(node));
            }
        }
        undone
    }

    fn waits_for(&self, job: u32) -> u32 {
        self.waits.get(&job).copied().unwrap_or(0)
    }
}

/// What makes approvals needless: that a need failed, or that all which is waited for is over.
struct Closings {
    first: u32,
    /// Of each manual job that waits for others, the gate between these and it: from `first` on.
    of_needs: Vec<OfNeeds>,
    /// The gates of the approvals that nobody has to give.
    late: Vec<u32>,
}

struct OfNeeds {
    job: u32,
    approval: u32,
}

impl Closings {
    fn new(plan: &Plan, opened: &Opened) -> Self {
        let mut closings = Self {
            first: index(plan.jobs.len() + plan.gates.len() + opened.gates.len()),
            of_needs: Vec::new(),
            late: Vec::new(),
        };
        for approval in &opened.approvals {
            let Some(ix) = approval.job else { continue };
            let job = &plan.jobs[ix as usize];
            if job.waits_for > 0 {
                closings.of_needs.push(OfNeeds { job: ix, approval: approval.gate });
            }
            if job.may_be_left_undone() {
                closings.late.push(approval.gate);
            }
        }
        closings
    }

    /// The gate at which arrives what the job waits for.
    fn in_front_of(&self, job: u32) -> Option<u32> {
        // They were made in the jobs' order.
        let at = self.of_needs.binary_search_by_key(&job, |of| of.job).ok()?;
        Some(self.first + index(at))
    }
}

/// Which jobs are over before anything runs, and which wait for nothing then.
struct Begins<'a> {
    plan: &'a Plan,
    over: Vec<bool>,
    waits: Vec<u32>,
}

impl<'a> Begins<'a> {
    fn of(plan: &'a Plan, carried: &BTreeMap<String, Carried>) -> Self {
        let mut waits: Vec<u32> = plan.jobs.iter().map(|job| job.waits_for).collect();
        let mut gates: Vec<u32> = plan.gates.iter().map(|gate| gate.waits_for).collect();
        // A job for failures that waits for nothing more is spared.
        let spared = |ix: usize, waits: u32| waits == 0 && is_spared(plan.jobs[ix].when);
        let mut over: Vec<bool> = (0..)
            .zip(&plan.jobs)
            .map(|(ix, job)| carried.contains_key(&job.name) || spared(ix, job.waits_for))
            .collect();
        let jobs = (0..).zip(&over).filter(|(_, over)| **over).map(|(ix, _)| NodeIx::Job(ix));
        let mut told: Vec<NodeIx> = jobs.collect();
        while let Some(node) = told.pop() {
            for next in plan.releases(node) {
                match *next {
                    NodeIx::Job(ix) => {
                        let at = ix as usize;
                        waits[at] = waits[at].saturating_sub(1);
                        if !over[at] && spared(at, waits[at]) {
                            over[at] = true;
                            told.push(*next);
                        }
                    }
                    NodeIx::Gate(ix) => {
                        let waits = &mut gates[ix as usize];
                        *waits = waits.saturating_sub(1);
                        if *waits == 0 {
                            told.push(*next);
                        }
                    }
                }
            }
        }
        Self { plan, over, waits }
    }

    /// The jobs that must wait so that nothing runs: those that wait for nothing else, and those that run also when these do not
    /// succeed, as they may be canceled.
    fn held(&self) -> Vec<u32> {
        let waits = |ix: &u32| {
            let at = *ix as usize;
            let by_itself = matches!(self.plan.jobs[at].when, RunWhen::OnFailure | RunWhen::Always)
                && !holds(Guard::HeldWhole, false);
            !self.over[at] && (self.waits[at] == 0 || by_itself)
        };
        (0..index(self.plan.jobs.len())).filter(waits).collect()
    }
}

/// Whether a job that waits for nothing more, of which nothing failed, does not run.
fn is_spared(when: RunWhen) -> bool {
    when == RunWhen::OnFailure && !holds(Guard::SparedAtOnce, false)
}

fn silent(links: Vec<u32>, body: NodeBody, waits_for: u32) -> NewNode {
    NewNode {
        spec: NodeSpec { links, ..NodeSpec::default() },
        state: NodeState { told: 0, body },
        waits_for,
        failed: 0,
        due_at: None,
    }
}

/// Lets every job that is over already, those for failures that will not come, and every gate that this opens, tell its links.
fn settle(nodes: &mut [NewNode], now: Timestamp) {
    let mut over: Vec<usize> = (0..nodes.len()).filter(|ix| is_over(&mut nodes[*ix], now)).collect();
    while let Some(ix) = over.pop() {
        let links = nodes[ix].spec.links.clone();
        nodes[ix].state.told = index(links.len());
        for link in links {
            let node = &mut nodes[link as usize];
            let carried = node.state.status().is_some_and(JobStatus::is_terminal);
            node.waits_for = node.waits_for.saturating_sub(1);
            if !carried && node.waits_for == 0 && is_over(node, now) {
                over.push(link as usize);
            }
        }
    }
}

/// Whether a node is over before anything ran; a gate that waits for nothing opens, and a job for failures is spared: what is over so
/// has ended well.
fn is_over(node: &mut NewNode, now: Timestamp) -> bool {
    let waits = node.waits_for > 0;
    match &mut node.state.body {
        NodeBody::Job(item) => {
            if !waits && item.job.status == JobStatus::Pending && is_spared(node.spec.when) {
                item.job.status = JobStatus::Skipped;
                item.job.failure = Some(not_needed());
                item.job.ended_at = Some(now);
            }
            item.job.status.is_terminal()
        }
        // It makes approvals needless in a turn of its own.
        NodeBody::Gate { .. } if node.spec.closing.as_ref().is_some_and(|closing| !closing.after_failure) => {
            false
        }
        NodeBody::Gate { open } => {
            *open = !waits;
            *open
        }
        NodeBody::End => false,
    }
}

/// Whether all that a node does is queued, or done, when an execution is made.
fn acts_only_on_jobs(node: &NewNode) -> bool {
    match node.state.body {
        NodeBody::Job(_) => true,
        NodeBody::Gate { open } => open || node.spec.closing.is_none(),
        NodeBody::End => false,
    }
}

/// Queues every job that waits for nothing.
fn queue(nodes: &mut [NewNode], now: Timestamp, resend_ms: i64) {
    for node in nodes.iter_mut().filter(|node| node.waits_for == 0) {
        if let NodeBody::Job(item) = &mut node.state.body
            && item.job.status == JobStatus::Pending
        {
            item.job.status = JobStatus::Queued;
            item.job.queued_at = Some(now);
            node.due_at = Some(now.plus_ms(resend_ms));
        }
    }
}

/// Plans are bounded, so an index always fits.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
