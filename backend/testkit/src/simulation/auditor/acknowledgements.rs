//! Requests of clients and workers, and the acknowledgements that they received.

use super::known::Known;
use crate::simulation::{faults::EventCounts, world::World};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::ids::{ArtifactId, ExecutionId, JobId, LeaseToken};

/// The auditor of one run.
pub struct Auditor {
    pub(super) world: Arc<World>,
    pub(super) tally: Arc<EventCounts>,
    pub(super) knowledge: Mutex<Known>,
}

impl Auditor {
    pub fn new(world: Arc<World>, tally: Arc<EventCounts>) -> Arc<Self> {
        Arc::new(Self { world, tally, knowledge: Mutex::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn broken(&self, message: String) {
        self.world.violation(message);
    }

    /// Returns the number of commits.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Returns the number of executions that ended.
    pub fn over(&self) -> u64 {
        self.lock().over
    }

    /// A client received this execution for its key.
    pub fn executed(&self, key: &str, id: ExecutionId) {
        let first = *self.lock().executed.entry(key.to_owned()).or_insert(id);
        if first != id {
            self.broken(format!("5: key {key} created {first} and {id}"));
        }
    }

    /// A client requests the cancel of an execution.
    pub fn cancels(&self, id: ExecutionId) {
        self.lock().cancels.insert(id);
    }

    /// A client requests the cancel of a job.
    pub fn cancels_job(&self, id: JobId) {
        self.lock().job_cancels.insert(id);
    }

    /// A client approves an execution or a job.
    pub fn approves(&self, id: ExecutionId, job: Option<u32>) {
        self.world.event(format_args!("approval of {id} {job:?} requested"));
        self.lock().approves.insert((id, job));
    }

    /// An approval was acknowledged.
    pub fn approved(&self, id: ExecutionId, job: Option<u32>) {
        self.tally.count("approval acknowledged");
        self.lock().approved.insert((id, job));
    }

    /// Returns the approvals that are required since the last call.
    pub fn waiting(&self) -> Vec<(ExecutionId, Option<u32>)> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Returns the time when an execution was created or ended last, or when one without approval will be canceled.
    pub fn last_turn(&self) -> i64 {
        self.lock().last_turn()
    }

    /// Faults have stopped.
    pub fn quiet(&self) {
        self.lock().quiet_at = self.world.now();
    }

    pub fn canceled(&self, id: ExecutionId) {
        self.world.event(format_args!("cancel of {id} acknowledged"));
        self.lock().canceled.insert(id);
    }

    pub fn job_canceled(&self, id: JobId) {
        self.world.event(format_args!("cancel of job {id} acknowledged"));
        self.lock().jobs_canceled.insert(id);
    }

    /// Bytes of an attempt's log were acknowledged.
    pub fn logged(&self, job: JobId, attempt: u32, bytes: u64) {
        let mut knowledge = self.lock();
        let max = knowledge.logged.entry((job, attempt)).or_default();
        *max = bytes.max(*max);
    }

    /// The end of an attempt was acknowledged.
    pub fn ended(&self, job: JobId, attempt: u32, failure: Option<FailureKind>) {
        self.world.event(format_args!("end of {job} attempt {attempt} acknowledged: {failure:?}"));
        self.lock().ended.insert((job, attempt), failure);
    }

    /// An artifact was acknowledged.
    pub fn left(&self, job: JobId, id: ArtifactId, sha256: &str) {
        self.lock().left.insert(id, (job, sha256.to_owned()));
    }

    /// A report with this lease, which was sent after `begun` commits, was acknowledged.
    pub fn report_taken(&self, job: JobId, token: LeaseToken, begun: u64) {
        let knowledge = self.lock();
        let span = knowledge.leases.get(&job).and_then(|spans| spans.iter().find(|span| span.token == token));
        let valid = span.is_some_and(|span| span.ended.is_none_or(|ended| ended >= begun));
        drop(knowledge);
        if !valid {
            self.broken(format!("2: a report on {job} was accepted with an expired lease"));
        }
    }
}
