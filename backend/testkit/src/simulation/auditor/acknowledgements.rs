//! Requests of clients and workers, and the acknowledgements that they received.

use super::known::Knowledge;
use crate::simulation::{faults::EventCounts, world::World};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::ids::{ArtifactId, ExecutionId, JobId, LeaseToken};

/// The auditor of one run.
pub struct Auditor {
    pub(super) world: Arc<World>,
    pub(super) counts: Arc<EventCounts>,
    pub(super) knowledge: Mutex<Knowledge>,
    /// Executions with more jobs are recorded and canceled after the reply.
    pub(super) max_jobs_per_request: u32,
}

impl Auditor {
    pub fn new(world: Arc<World>, tally: Arc<EventCounts>, max_jobs_per_request: u32) -> Arc<Self> {
        Arc::new(Self { world, counts: tally, knowledge: Mutex::default(), max_jobs_per_request })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report_violation(&self, message: String) {
        self.world.record_violation(message);
    }

    /// Returns the number of commits.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Returns the number of executions that ended.
    pub fn ended_executions(&self) -> u64 {
        self.lock().ended_executions
    }

    /// A client received this execution for its key.
    pub fn execute_acknowledged(&self, key: &str, id: ExecutionId) {
        let first = *self.lock().executions_by_key.entry(key.to_owned()).or_insert(id);
        if first != id {
            self.report_violation(format!("5: key {key} created {first} and {id}"));
        }
    }

    /// A client requests the cancel of an execution.
    pub fn cancel_requested(&self, id: ExecutionId) {
        self.lock().requested_cancels.insert(id);
    }

    /// A client requests the cancel of a job.
    pub fn job_cancel_requested(&self, id: JobId) {
        self.lock().requested_job_cancels.insert(id);
    }

    /// A client approves an execution or a job.
    pub fn approval_requested(&self, id: ExecutionId, job: Option<u32>) {
        self.world.record_event(format_args!("approval of {id} {job:?} requested"));
        self.lock().requested_approvals.insert((id, job));
    }

    /// An approval was acknowledged.
    pub fn approval_acknowledged(&self, id: ExecutionId, job: Option<u32>) {
        self.counts.count("approval acknowledged");
        self.lock().acknowledged_approvals.insert((id, job));
    }

    /// Returns the approvals that are required since the last call.
    pub fn take_required_approvals(&self) -> Vec<(ExecutionId, Option<u32>)> {
        std::mem::take(&mut self.lock().required_approvals)
    }

    /// Returns the time when an execution was created or ended last, or when one without approval will be canceled.
    pub fn last_change_at(&self) -> i64 {
        self.lock().last_change_at()
    }

    /// Faults have stopped.
    pub fn faults_stopped(&self) {
        self.lock().faults_stopped_at = self.world.now();
    }

    pub fn cancel_acknowledged(&self, id: ExecutionId) {
        self.world.record_event(format_args!("cancel of {id} acknowledged"));
        self.lock().canceled.insert(id);
    }

    pub fn job_cancel_acknowledged(&self, id: JobId) {
        self.world.record_event(format_args!("cancel of job {id} acknowledged"));
        self.lock().acknowledged_job_cancels.insert(id);
    }

    /// A worker got an attempt.
    pub fn attempt_assigned(&self, job: JobId, attempt: u32) {
        if self.lock().late_attempts.contains(&(job, attempt)) {
            self.report_violation(format!(
                "8: attempt {attempt} of {job} began after an acknowledged cancel, and a worker got it"
            ));
        }
    }

    /// Bytes of an attempt's log were acknowledged.
    pub fn log_acknowledged(&self, job: JobId, attempt: u32, bytes: u64) {
        let mut knowledge = self.lock();
        let max = knowledge.log_sizes.entry((job, attempt)).or_default();
        *max = bytes.max(*max);
    }

    /// The end of an attempt was acknowledged.
    pub fn end_acknowledged(&self, job: JobId, attempt: u32, failure: Option<FailureKind>) {
        self.world.record_event(format_args!("end of {job} attempt {attempt} acknowledged: {failure:?}"));
        self.lock().acknowledged_ends.insert((job, attempt), failure);
    }

    /// An artifact was acknowledged.
    pub fn artifact_acknowledged(&self, job: JobId, id: ArtifactId, sha256: &str) {
        self.lock().artifacts.insert(id, (job, sha256.to_owned()));
    }

    /// A report with this lease, which was sent after `begun` commits, was acknowledged.
    pub fn report_acknowledged(&self, job: JobId, token: LeaseToken, begun: u64) {
        let knowledge = self.lock();
        let span = knowledge.leases.get(&job).and_then(|spans| spans.iter().find(|span| span.token == token));
        let valid = span.is_some_and(|span| span.ended.is_none_or(|ended| ended >= begun));
        drop(knowledge);
        if !valid {
            self.report_violation(format!("2: a report on {job} was accepted with an expired lease"));
        }
    }
}
