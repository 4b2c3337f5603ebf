//! The rules of scheduling, implemented independently of the scheduler.

use super::known::{CreatedExecution, Knowledge};
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

/// How a job's needs have ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NeedsOutcome {
    Open,
    Succeeded,
    Failed,
}

impl Knowledge {
    /// Returns why an attempt of a job must not start.
    pub fn start_violation(&self, key: NodeKey, nodes: &[Node]) -> Option<String> {
        let made = self.executions.get(&key.execution)?;
        let plan = made.plan.as_ref()?;
        let when = plan.jobs.get(key.ix as usize)?.when;
        let needs = needs(plan, key.ix, nodes);
        let is_allowed = match when {
            When::OnSuccess | When::Manual => needs == NeedsOutcome::Succeeded,
            When::OnFailure => needs == NeedsOutcome::Failed,
            When::Always => needs != NeedsOutcome::Open,
        };
        if !is_allowed {
            return Some(format!("3: its needs have not ended as `{when:?}` requires"));
        }
        let approves = |job| self.requested_approvals.contains(&(key.execution, job));
        if (made.held && !approves(None)) || (when == When::Manual && !approves(Some(key.ix))) {
            return Some("11: before its approval".into());
        }
        let before = self.predecessor(key.execution, made)?;
        Some(format!("12: before {before} of its group ended"))
    }

    /// Returns an execution of the same group that must end before this one starts.
    fn predecessor(&self, id: ExecutionId, made: &CreatedExecution) -> Option<ExecutionId> {
        let members = self.groups.get(made.group.as_ref()?)?;
        let position = members.iter().position(|(member, _)| *member == id)?;
        if members[position].1 {
            return None;
        }
        // An execution that supersedes does not wait, so that earlier ones may still run.
        let from = members[..position].iter().rposition(|(_, supersedes)| *supersedes).unwrap_or(0);
        let is_live =
            |id: &ExecutionId| self.executions.get(id).is_some_and(|made| !made.status.is_terminal());
        members[from..position].iter().map(|(member, _)| *member).find(is_live)
    }

    /// Returns why a job must not be skipped.
    pub fn skip_violation(&self, key: NodeKey, nodes: &[Node]) -> Option<String> {
        let made = self.executions.get(&key.execution)?;
        let plan = made.plan.as_ref()?;
        let job = plan.jobs.get(key.ix as usize)?;
        let when = job.when;
        let needs = needs(plan, key.ix, nodes);
        let is_too_late = || {
            let optional = optional_jobs(plan, &made.carried);
            let jobs = nodes.iter().zip(&optional).filter(|(_, optional)| !**optional);
            job.is_optional()
                && !self.acknowledged_approvals.contains(&(key.execution, Some(key.ix)))
                && jobs.into_iter().all(|(node, _)| node.state.status().is_some_and(JobStatus::is_terminal))
        };
        let is_allowed = match when {
            When::Manual => needs == NeedsOutcome::Failed || is_too_late(),
            When::OnSuccess => needs == NeedsOutcome::Failed,
            When::OnFailure => needs == NeedsOutcome::Succeeded,
            When::Always => false,
        };
        (!is_allowed).then(|| format!("15: its needs have ended as `{when:?}` requires, or have not ended"))
    }

    /// Returns the number of jobs of an execution.
    pub fn jobs(&self, id: ExecutionId) -> usize {
        self.executions.get(&id).and_then(|made| made.plan.as_ref()).map_or(0, |plan| plan.jobs.len())
    }

    /// Returns the labels that a job requires.
    pub fn required_labels(&self, key: NodeKey) -> Option<Labels> {
        let plan = self.executions.get(&key.execution)?.plan.as_ref()?;
        plan.jobs.get(key.ix as usize).map(|job| job.runs_on.clone())
    }

    /// Whether the cancel of a job or of its execution was requested.
    pub fn is_cancel_requested(&self, key: NodeKey) -> bool {
        let execution_canceled =
            self.executions.get(&key.execution).is_some_and(|made| made.canceled.is_some());
        execution_canceled || self.requested_job_cancels.contains(&JobId::of(key.execution, key.ix))
    }
}

fn needs(plan: &Plan, job: u32, nodes: &[Node]) -> NeedsOutcome {
    let (mut ended, mut succeeded) = (true, true);
    for need in plan.artifact_sources(job) {
        let Some(node) = nodes.get(need as usize) else { return NeedsOutcome::Open };
        ended &= node.state.status().is_some_and(JobStatus::is_terminal);
        succeeded &= is_success(node);
    }
    match (ended, succeeded) {
        (false, _) => NeedsOutcome::Open,
        (true, true) => NeedsOutcome::Succeeded,
        (true, false) => NeedsOutcome::Failed,
    }
}

fn is_success(node: &Node) -> bool {
    let NodeBody::Job(item) = &node.state.body else { return true };
    match item.job.status {
        JobStatus::Success => true,
        JobStatus::Failed if node.spec.allow_failure => true,
        JobStatus::Failed => {
            let is_script_failure =
                item.job.failure.as_ref().map(|reason| reason.kind) == Some(FailureKind::ScriptFailed);
            is_script_failure
                && item.job.exit_code.is_some_and(|code| node.spec.allow_exit_codes.contains(&code))
        }
        // Only an `on_failure` job is skipped without a failure.
        JobStatus::Skipped => node.spec.when == When::OnFailure,
        _ => false,
    }
}

/// Returns which jobs no other job waits for: optional manual jobs, and those that need one.
fn optional_jobs(plan: &Plan, carried: &BTreeSet<u32>) -> Vec<bool> {
    let mut optional: Vec<bool> = Vec::with_capacity(plan.jobs.len());
    // A job is listed after its needs.
    for (ix, job) in (0..).zip(&plan.jobs) {
        let is_optional = job.is_optional() && !carried.contains(&ix);
        let needs =
            plan.artifact_sources(ix).into_iter().any(|need| optional.get(need as usize) == Some(&true));
        optional.push(is_optional || needs);
    }
    optional
}

/// Computes the final status independently of the scheduler; `None`: not all jobs have ended.
pub fn final_status(
    made: Option<&CreatedExecution>,
    nodes: &[Node],
    canceled: bool,
) -> Option<ExecutionStatus> {
    let mut worst = ExecutionStatus::Success;
    if canceled && nodes.iter().all(|node| node.state.status().is_none()) {
        // It was not approved, so none of its jobs was recorded.
        return Some(ExecutionStatus::Canceled);
    }
    let plan = made.and_then(|made| Some((made.plan.as_ref()?, &made.carried)));
    let optional = plan.map(|(plan, carried)| optional_jobs(plan, carried)).unwrap_or_default();
    for (ix, node) in nodes.iter().enumerate() {
        let Some(status) = node.state.status() else { continue };
        if !status.is_terminal() {
            return None;
        }
        let is_unapproved = status == JobStatus::Skipped && optional.get(ix) == Some(&true);
        if is_success(node) || is_unapproved {
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
