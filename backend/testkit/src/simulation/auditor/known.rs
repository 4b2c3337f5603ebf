//! The auditor's knowledge of a run.

use super::trigger_log::TriggerLog;
use crate::simulation::time::{SKEW_MS, to_millis};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::execution::{
    failure::FailureKind,
    status::{ExecutionStatus, JobStatus},
};
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId, LeaseToken},
    pipeline::{self, When},
    plan::Plan,
};
use tidemill_services::ports::{ExecutionRecord, ExecutionTask, NodeKey};

/// Time after which an execution without approval is canceled, in milliseconds.
const APPROVAL_TIMEOUT_MS: i64 = 30 * 86_400_000;

/// A lease, and the number of the commit that ended it.
pub struct LeaseSpan {
    pub token: LeaseToken,
    pub ended: Option<u64>,
}

/// Why an execution was canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// A client requested it.
    Requested,
    /// A newer execution of its group superseded it.
    Superseded,
    /// It exceeded its pipeline's timeout.
    TimedOut,
    /// It was not approved in time.
    NotApproved,
}

impl CancelReason {
    pub fn event(self) -> &'static str {
        match self {
            Self::Requested => "execution canceled",
            Self::Superseded => "execution superseded",
            Self::TimedOut => "execution timed out",
            Self::NotApproved => "execution not approved",
        }
    }
}

/// A group of executions: repository, whether they are of forks, and name.
pub type Group = (String, bool, String);

/// A created execution.
pub struct CreatedExecution {
    /// `None`: it is a discovery.
    pub plan: Option<Plan>,
    /// The repository, and whether the execution is of a fork.
    pub origin: (String, bool),
    pub created_at: i64,
    pub timeout_ms: Option<i64>,
    pub group: Option<Group>,
    /// Whether the execution is held.
    pub held: bool,
    /// Jobs that are carried over from the retried execution.
    pub carried: BTreeSet<u32>,
    pub status: ExecutionStatus,
    pub ended_at: i64,
    pub canceled: Option<CancelReason>,
}

#[derive(Default)]
pub struct Knowledge {
    pub commits: u64,
    pub executions: BTreeMap<ExecutionId, CreatedExecution>,
    /// Members of each group in the order of creation, and whether they supersede.
    pub groups: BTreeMap<Group, Vec<(ExecutionId, bool)>>,
    /// The queued and running jobs of each group of jobs, with their limits.
    pub places: BTreeMap<Group, BTreeMap<JobId, u32>>,
    pub executions_by_key: BTreeMap<String, ExecutionId>,
    pub run_numbers: BTreeMap<(String, String), BTreeSet<u64>>,
    pub requested_cancels: BTreeSet<ExecutionId>,
    pub requested_job_cancels: BTreeSet<JobId>,
    pub canceled: BTreeSet<ExecutionId>,
    pub acknowledged_job_cancels: BTreeSet<JobId>,
    /// Attempts of large executions that were recorded after an acknowledged cancel. No worker may get them.
    pub late_attempts: BTreeSet<(JobId, u32)>,
    pub required_approvals: Vec<(ExecutionId, Option<u32>)>,
    pub requested_approvals: BTreeSet<(ExecutionId, Option<u32>)>,
    pub acknowledged_approvals: BTreeSet<(ExecutionId, Option<u32>)>,
    pub leases: BTreeMap<JobId, Vec<LeaseSpan>>,
    pub log_sizes: BTreeMap<(JobId, u32), u64>,
    pub acknowledged_ends: BTreeMap<(JobId, u32), Option<FailureKind>>,
    pub artifacts: BTreeMap<ArtifactId, (JobId, String)>,
    pub triggers: TriggerLog,
    pub ended_executions: u64,
    pub faults_stopped_at: i64,
}

impl Knowledge {
    /// Records a new execution; returns a violation.
    pub fn add_execution(&mut self, record: &ExecutionRecord, now: i64) -> Option<String> {
        let spec = &record.spec;
        let file = match &spec.task {
            ExecutionTask::RunPipeline { file } => pipeline::parse(file).ok(),
            ExecutionTask::DiscoverPipelines(_) => None,
        };
        let plan = file.as_ref().and_then(|file| Plan::for_facts(file, &spec.facts).ok());
        let fork = spec.facts.is_from_fork();
        let group = file.as_ref().and_then(|file| {
            let name = file.group(spec.branch.as_deref(), &spec.variables)?;
            Some((spec.repo.clone(), fork, name))
        });
        if let (Some(group), Some(file)) = (&group, &file) {
            let supersedes = file.concurrency.as_ref().is_some_and(|group| group.cancel_superseded);
            self.groups.entry(group.clone()).or_default().push((spec.id, supersedes));
        }
        let held = fork && plan.is_some() && spec.retry_of.is_none();
        let carried: BTreeSet<u32> = spec.carried.iter().map(|(ix, _)| *ix).collect();
        let jobs = plan.iter().flat_map(|plan| (0..).zip(&plan.jobs));
        let manual = jobs.filter(|(ix, job)| job.when == When::Manual && !carried.contains(ix));
        self.required_approvals.extend(manual.map(|(ix, _)| (spec.id, Some(ix))));
        self.required_approvals.extend(held.then_some((spec.id, None)));
        let timeout_ms = file.as_ref().and_then(|file| file.timeout_s).map(|s| to_millis(s * 1_000));
        let violation = self.triggers.add_execution(spec, now);
        let made = CreatedExecution {
            plan,
            origin: (spec.repo.clone(), fork),
            created_at: spec.created_at.0,
            timeout_ms,
            group,
            held,
            carried,
            status: record.state.status,
            ended_at: 0,
            canceled: None,
        };
        self.executions.insert(spec.id, made);
        let numbers = self.run_numbers.entry((spec.repo.clone(), spec.pipeline_name.clone())).or_default();
        if !numbers.insert(record.run_number) {
            return Some(format!("5: run number {} was assigned twice", record.run_number));
        }
        violation
    }

    /// Records the status of a job in its group; returns the name of the group if more jobs have a place than its limit allows.
    pub fn place_violation(&mut self, node: NodeKey, status: JobStatus) -> Option<String> {
        let made = self.executions.get(&node.execution)?;
        let job = made.plan.as_ref()?.jobs.get(node.ix as usize)?;
        let concurrency = job.surroundings.concurrency.as_ref()?;
        let (repo, fork) = made.origin.clone();
        let group = (repo, fork, concurrency.group.clone());
        let places = self.places.entry(group).or_default();
        let id = JobId::of(node.execution, node.ix);
        if !matches!(status, JobStatus::Queued | JobStatus::Running) {
            places.remove(&id);
            return None;
        }
        places.insert(id, concurrency.limit);
        let lowest = places.values().copied().min().unwrap_or(u32::MAX);
        (places.len() > lowest as usize).then(|| concurrency.group.clone())
    }

    /// Returns why an execution is canceled now, or a violation if there is no reason.
    pub fn cancel_reason(&self, record: &ExecutionRecord, now: i64) -> Result<CancelReason, String> {
        let id = record.spec.id;
        let Some(made) = self.executions.get(&id) else {
            return Err(format!("execution {id} was not created"));
        };
        if let Some(by) = record.state.superseded_by {
            let members = made.group.as_ref().and_then(|group| self.groups.get(group));
            let mut later = members.into_iter().flatten().skip_while(|(other, _)| *other != id).skip(1);
            if later.any(|(other, supersedes)| *other == by && *supersedes) {
                return Ok(CancelReason::Superseded);
            }
            return Err(format!("execution {id} was superseded by {by}, which is not of its group"));
        }
        let is_over = |ms: i64| now + SKEW_MS >= made.created_at + ms;
        let is_requested = self.requested_cancels.contains(&id);
        match made.timeout_ms {
            Some(ms) if is_over(ms) && (!is_requested || record.state.timed_out) => {
                Ok(CancelReason::TimedOut)
            }
            _ if is_requested => Ok(CancelReason::Requested),
            None if self.lacks_approval(id, made) && is_over(APPROVAL_TIMEOUT_MS) => {
                Ok(CancelReason::NotApproved)
            }
            _ => Err(format!("11, 14: execution {id} was canceled without a reason")),
        }
    }

    /// Whether the execution still lacks an approval.
    fn lacks_approval(&self, id: ExecutionId, made: &CreatedExecution) -> bool {
        let jobs = made.plan.iter().flat_map(|plan| (0..).zip(&plan.jobs));
        let manual = jobs.filter(|(ix, job)| job.when == When::Manual && !made.carried.contains(ix));
        let mut required: Vec<Option<u32>> = manual.map(|(ix, _)| Some(ix)).collect();
        required.extend(made.held.then_some(None));
        required.iter().any(|job| !self.acknowledged_approvals.contains(&(id, *job)))
    }

    /// Returns the time when an execution was created or ended last, or when one without approval will be canceled.
    pub fn last_change_at(&self) -> i64 {
        let last_change = |(id, made): (&ExecutionId, &CreatedExecution)| {
            let lacks_approval =
                !made.status.is_terminal() && made.timeout_ms.is_none() && self.lacks_approval(*id, made);
            made.ended_at.max(made.created_at + if lacks_approval { APPROVAL_TIMEOUT_MS } else { 0 })
        };
        self.executions.iter().map(last_change).max().unwrap_or(0)
    }

    pub fn cancel(&mut self, id: ExecutionId, why: CancelReason) {
        if let Some(made) = self.executions.get_mut(&id) {
            made.canceled = Some(why);
        }
    }

    /// Records the end of an execution; returns why it was canceled before.
    pub fn end(&mut self, id: ExecutionId, status: ExecutionStatus, now: i64) -> Option<CancelReason> {
        let made = self.executions.get_mut(&id)?;
        (made.status, made.ended_at) = (status, now);
        made.canceled
    }
}
