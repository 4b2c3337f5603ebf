//! The conditions that a new execution starts with.

use crate::access::protection::EnvironmentProtection;
use crate::execution::transition::JobState;
use crate::ids::{ExecutionId, JobId};
use crate::pipeline::When;
use crate::plan::{Plan, PlannedJob};
use crate::text::substitution::first_reference;

/// A job that already succeeded in the retried execution.
#[derive(Debug, Clone)]
pub struct CarriedJob {
    /// The job that owns the log and the artifacts: the one that actually ran.
    pub from: JobId,
    /// Its successful attempt.
    pub attempt: u32,
    /// Number of bytes of its log.
    pub log_bytes: u64,
    /// Its state in the retried execution.
    pub state: JobState,
    /// The execution that it started.
    pub child: Option<ExecutionId>,
}

/// What must end or be given before any job of an execution runs, in addition to the jobs' needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartConditions<'a> {
    /// The execution needs an approval.
    pub needs_approval: bool,
    /// An earlier execution of its concurrency group must end first.
    pub waits_for_group: bool,
    /// Names of manual jobs that are already approved.
    pub approved: &'a [String],
    /// Indices of jobs that wait for an approval whatever `approved` says, because their environment is protected.
    pub protected: &'a [u32],
}

impl StartConditions<'_> {
    /// Whether a manual job is already approved.
    pub(super) fn approves(&self, job: &PlannedJob) -> bool {
        self.approved.iter().any(|name| job.has_name(name))
    }
}

/// Returns the indices of the jobs of `plan` that need an approval because of the environment on which they act. A name that depends
/// on outputs may become any; the approval decides then. A job that runs on failure cannot wait for an approval without delaying
/// the end of executions that do not fail: it is not given to a worker.
#[must_use]
pub fn protected_jobs(plan: &Plan, rules: &[EnvironmentProtection]) -> Vec<u32> {
    let is_protected = |job: &PlannedJob| {
        let Some(environment) = &job.surroundings.environment else { return false };
        let is_open = first_reference(&environment.name).is_some();
        rules.iter().any(|rule| is_open || rule.protects(&environment.name))
    };
    let jobs = (0..).zip(&plan.jobs);
    jobs.filter(|(_, job)| job.when != When::OnFailure && is_protected(job)).map(|(ix, _)| ix).collect()
}
