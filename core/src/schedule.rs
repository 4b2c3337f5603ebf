//! What is due in an execution: a function of its plan and the statuses of its jobs.
//!
//! Applying the actions and asking again gives nothing new, so a pass may crash anywhere and simply run again.

use crate::{
    pipeline::RunWhen,
    plan::{NodeIx, Plan},
    status::{ExecutionStatus, JobStatus},
};

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The needs of this job hold: queue it.
    Queue(u32),
    /// A need of this job did not succeed (the second index names one job that did not): skip it.
    Skip(u32, u32),
    /// It runs only when something fails, and nothing did: skip it, which counts as well.
    Spare(u32),
    /// Every job is over: end the execution.
    Finish(ExecutionStatus),
}

/// Where a job stands, as far as scheduling goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobStanding {
    /// Status.
    pub status: JobStatus,
    /// Whether its end counts as well though it did not succeed: see [`crate::transition::JobState::is_excused`].
    pub excused: bool,
}

/// All actions that are due, in plan order. `standings` are those of the plan's jobs, by index. Skips follow through: a
/// job that waits for a job skipped in this very pass is skipped in it too.
#[must_use]
pub fn schedule(plan: &Plan, standings: &[JobStanding], cancel_requested: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut jobs: Vec<Waiting> = plan.jobs.iter().map(|job| Waiting::new(job.waits_for)).collect();
    let mut gates: Vec<Waiting> = plan.gates.iter().map(|gate| Waiting::new(gate.waits_for)).collect();
    let mut statuses: Vec<JobStanding> = standings.to_vec();
    for ix in 0..plan.jobs.len() {
        if statuses[ix].status == JobStatus::Pending && jobs[ix].left == 0 {
            let at = u32::try_from(ix).unwrap_or(u32::MAX);
            match (plan.jobs[ix].when, jobs[ix].blocked_by) {
                (RunWhen::OnSuccess | RunWhen::Manual, Some(by)) => {
                    actions.push(Action::Skip(at, by));
                    statuses[ix] = JobStanding { status: JobStatus::Skipped, excused: false };
                }
                (RunWhen::OnFailure, None) => {
                    actions.push(Action::Spare(at));
                    statuses[ix] = JobStanding { status: JobStatus::Skipped, excused: true };
                }
                _ => actions.push(Action::Queue(at)),
            }
        }
        if statuses[ix].status.is_terminal() {
            let at = u32::try_from(ix).unwrap_or(u32::MAX);
            let blocked_by = if is_ok(statuses[ix]) { None } else { Some(at) };
            arrive(plan, &mut jobs, &mut gates, NodeIx::Job(at), blocked_by);
        }
    }
    if statuses.iter().all(|job| job.status.is_terminal()) {
        actions.push(Action::Finish(final_status(&statuses, cancel_requested)));
    }
    actions
}

/// The status of an execution whose jobs are all over.
#[must_use]
pub fn final_status(jobs: &[JobStanding], cancel_requested: bool) -> ExecutionStatus {
    if jobs.iter().all(|job| is_ok(*job)) {
        return ExecutionStatus::Success;
    }
    let failed = jobs.iter().any(|job| job.status == JobStatus::Failed && !job.excused);
    if cancel_requested || !failed { ExecutionStatus::Canceled } else { ExecutionStatus::Failed }
}

/// Whether what waits for a job that ended so may run.
#[must_use]
pub fn is_ok(job: JobStanding) -> bool {
    match job.status {
        JobStatus::Success => true,
        JobStatus::Failed | JobStatus::Skipped => job.excused,
        _ => false,
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    left: u32,
    blocked_by: Option<u32>,
}

impl Waiting {
    fn new(left: u32) -> Self {
        Self { left, blocked_by: None }
    }
}

/// Tells all that waits for `from`, through gates, without recursion: chains of gates are as long as the stages.
fn arrive(plan: &Plan, jobs: &mut [Waiting], gates: &mut [Waiting], from: NodeIx, blocked_by: Option<u32>) {
    let mut ended = vec![(from, blocked_by)];
    while let Some((node, blocked_by)) = ended.pop() {
        for &next in plan.releases(node) {
            let waiting = match next {
                NodeIx::Job(ix) => &mut jobs[ix as usize],
                NodeIx::Gate(ix) => &mut gates[ix as usize],
            };
            waiting.left = waiting.left.saturating_sub(1);
            waiting.blocked_by = waiting.blocked_by.or(blocked_by);
            if waiting.left == 0 && matches!(next, NodeIx::Gate(_)) {
                ended.push((next, waiting.blocked_by));
            }
        }
    }
}
