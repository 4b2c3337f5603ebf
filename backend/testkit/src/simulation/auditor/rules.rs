//! What may happen when, in other words than those of the functions that decide it.

use super::known::{Known, Made};
use std::collections::BTreeSet;
use tidemill_core::execution::{
    failure::FailureKind,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::pipeline::labels::Labels;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    pipeline::When,
    plan::Plan,
};
use tidemill_services::ports::{Node, NodeBody, NodeKey};

/// How what a job waits for has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NeedsOutcome {
    Open,
    Well,
    Badly,
}

impl Known {
    /// Why an attempt of a job may not begin.
    pub fn too_early(&self, key: NodeKey, nodes: &[Node]) -> Option<String> {
        let made = self.made.get(&key.execution)?;
        let plan = made.plan.as_ref()?;
        let when = plan.jobs.get(key.ix as usize)?.when;
        let needs = needs(plan, key.ix, nodes);
        let fits = match when {
            When::OnSuccess | When::Manual => needs == NeedsOutcome::Well,
            When::OnFailure => needs == NeedsOutcome::Badly,
            When::Always => needs != NeedsOutcome::Open,
        };
        if !fits {
            return Some(format!("3: what it waits for has not ended as `{when:?}` wants it"));
        }
        let approves = |job| self.approves.contains(&(key.execution, job));
        if (made.held && !approves(None)) || (when == When::Manual && !approves(Some(key.ix))) {
            return Some("11: before anybody approved it".into());
        }
        let before = self.before(key.execution, made)?;
        Some(format!("12: before {before} of its group was over"))
    }

    /// An execution of the same group that must be over before this one begins.
    fn before(&self, id: ExecutionId, made: &Made) -> Option<ExecutionId> {
        let members = self.groups.get(made.group.as_ref()?)?;
        let place = members.iter().position(|(member, _)| *member == id)?;
        if members[place].1 {
            return None;
        }
        // One that supersedes waits for nobody, so that what was made before it may still run.
        let from = members[..place].iter().rposition(|(_, supersedes)| *supersedes).unwrap_or(0);
        let live = |of: &ExecutionId| self.made.get(of).is_some_and(|made| !made.status.is_terminal());
        members[from..place].iter().map(|(member, _)| *member).find(live)
    }

    /// Why a job may not be skipped.
    pub fn wrongly_skipped(&self, key: NodeKey, nodes: &[Node]) -> Option<String> {
        let made = self.made.get(&key.execution)?;
        let plan = made.plan.as_ref()?;
        let job = plan.jobs.get(key.ix as usize)?;
        let when = job.when;
        let needs = needs(plan, key.ix, nodes);
        let late = || {
            let undone = undone(plan, &made.carried);
            let jobs = nodes.iter().zip(&undone).filter(|(_, undone)| !**undone);
            job.is_optional()
                && !self.approved.contains(&(key.execution, Some(key.ix)))
                && jobs.into_iter().all(|(node, _)| node.state.status().is_some_and(JobStatus::is_terminal))
        };
        let fits = match when {
            When::Manual => needs == NeedsOutcome::Badly || late(),
            When::OnSuccess => needs == NeedsOutcome::Badly,
            When::OnFailure => needs == NeedsOutcome::Well,
            When::Always => false,
        };
        (!fits).then(|| format!("15: what it waits for has ended as `{when:?}` wants it, or not at all"))
    }

    /// What a job demands of its worker.
    pub fn demands(&self, key: NodeKey) -> Option<Labels> {
        let plan = self.made.get(&key.execution)?.plan.as_ref()?;
        plan.jobs.get(key.ix as usize).map(|job| job.runs_on.clone())
    }

    /// Whether somebody, or something, asked for a job's cancel.
    pub fn cancels_job_of(&self, key: NodeKey) -> bool {
        let whole = self.made.get(&key.execution).is_some_and(|made| made.canceled.is_some());
        whole || self.job_cancels.contains(&JobId::of(key.execution, key.ix))
    }
}

fn needs(plan: &Plan, job: u32, nodes: &[Node]) -> NeedsOutcome {
    let (mut over, mut well) = (true, true);
    for need in plan.artifact_sources(job) {
        let Some(node) = nodes.get(need as usize) else { return NeedsOutcome::Open };
        over &= node.state.status().is_some_and(JobStatus::is_terminal);
        well &= has_ended_well(node);
    }
    match (over, well) {
        (false, _) => NeedsOutcome::Open,
        (true, true) => NeedsOutcome::Well,
        (true, false) => NeedsOutcome::Badly,
    }
}

fn has_ended_well(node: &Node) -> bool {
    let NodeBody::Job(item) = &node.state.body else { return true };
    match item.job.status {
        JobStatus::Success => true,
        JobStatus::Failed if node.spec.allow_failure => true,
        JobStatus::Failed => {
            let by_itself =
                item.job.failure.as_ref().map(|reason| reason.kind) == Some(FailureKind::ScriptFailed);
            by_itself && item.job.exit_code.is_some_and(|code| node.spec.allow_exit_codes.contains(&code))
        }
        // Only a job for failures is skipped where nothing failed.
        JobStatus::Skipped => node.spec.when == When::OnFailure,
        _ => false,
    }
}

/// Which jobs nobody has to wait for: those that somebody may approve and nobody has to, and those that need such a job.
fn undone(plan: &Plan, carried: &BTreeSet<u32>) -> Vec<bool> {
    let mut undone: Vec<bool> = Vec::with_capacity(plan.jobs.len());
    // A job comes after those that it waits for.
    for (ix, job) in (0..).zip(&plan.jobs) {
        let own = job.is_optional() && !carried.contains(&ix);
        let needs =
            plan.artifact_sources(ix).into_iter().any(|need| undone.get(need as usize) == Some(&true));
        undone.push(own || needs);
    }
    undone
}

/// Said in other words than by the function that decides it; `None`: not all are over.
pub fn final_status(made: Option<&Made>, nodes: &[Node], canceled: bool) -> Option<ExecutionStatus> {
    let mut worst = ExecutionStatus::Success;
    if canceled && nodes.iter().all(|node| node.state.status().is_none()) {
        // Nobody approved it, so that none of its jobs was recorded.
        return Some(ExecutionStatus::Canceled);
    }
    let plan = made.and_then(|made| Some((made.plan.as_ref()?, &made.carried)));
    let undone = plan.map(|(plan, carried)| undone(plan, carried)).unwrap_or_default();
    for (ix, node) in nodes.iter().enumerate() {
        let Some(status) = node.state.status() else { continue };
        if !status.is_terminal() {
            return None;
        }
        let left_undone = status == JobStatus::Skipped && undone.get(ix) == Some(&true);
        if has_ended_well(node) || left_undone {
            continue;
        }
        if status == JobStatus::Failed && !canceled {
            worst = ExecutionStatus::Failed;
        } else if worst == ExecutionStatus::Success {
            worst = ExecutionStatus::Canceled;
        }
    }
    Some(worst)
}
