//! The nodes of an execution: its jobs, the gates between them, and its end node.

use crate::access::protection::GivenApproval;
use crate::execution::{
    retry::RetryFor,
    status::JobStatus,
    transition::{AllowFailureRules, JobState},
};
use crate::{
    ids::{ExecutionId, JobId},
    pipeline::{JobConcurrency, When},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Identifies a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    /// The execution.
    pub execution: ExecutionId,
    /// The index of the node in the execution.
    pub ix: u32,
}

/// The immutable part of a node that the scheduler needs.
///
/// Fields with default values are not stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Name of the job; empty for gates and the end node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Id of the job: [`JobId::of`] the execution and the node's index. Not stored with the other fields.
    #[serde(skip)]
    pub job: Option<JobId>,
    /// Whether a failure is tolerated.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_failure: bool,
    /// Number of additional attempts after a failure.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry: u32,
    /// The failures that `retry` applies to.
    #[serde(skip_serializing_if = "RetryFor::is_default")]
    pub retry_for: RetryFor,
    /// Nodes that are notified when this one has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<u32>,
    /// When a job runs, given how its dependencies ended.
    #[serde(skip_serializing_if = "When::is_default")]
    pub when: When,
    /// How long a job waits, in seconds, once its dependencies have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_in_s: Option<u64>,
    /// Exit codes of a job's script that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// Whether the execution does not wait for the job, so that it may be skipped: it is manual and allowed to fail, or
    /// depends on such a job.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
    /// The approvals that this gate closes when it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<ApprovalClosing>,
    /// Whether the job acts on an environment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deploys: bool,
    /// The group in which a job needs a place to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<JobConcurrency>,
    /// What decides about the node when it is due, besides how its dependencies ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<DecidedBy>,
    /// The link to the gate after the job's stage, if a condition on outputs may skip the job: the gate opens as usual then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_gate: Option<u32>,
    /// For a job whose dependents wait for the end of a child: the gate that this end opens. It links to the dependents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_gate: Option<u32>,
    /// For the gate that the end of a child opens: the job that starts the child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_of: Option<u32>,
}

/// What decides about a node when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// A condition on outputs of the job at this index: the node itself, or the manual job behind this gate.
    Condition(u32),
    /// If a dependency did not succeed: whether a condition skipped it, or it failed.
    Needs,
}

/// The approvals that a gate closes when it opens, unless they were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalClosing {
    /// The gates of these approvals.
    pub gates: Vec<u32>,
    /// Whether to close them only if a dependency of this gate failed, so that the jobs cannot run.
    pub after_failure: bool,
}

impl NodeSpec {
    /// Returns which failures of the job are tolerated.
    #[must_use]
    pub fn allowed(&self) -> AllowFailureRules<'_> {
        AllowFailureRules { any: self.allow_failure, exit_codes: &self.allow_exit_codes }
    }
}

/// The mutable part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRecord {
    /// State of the state machine.
    pub job: JobState,
    /// Number of stored bytes of the current attempt's log. While it runs, there may be more: not every report with bytes writes the
    /// record.
    #[serde(skip_serializing_if = "is_empty")]
    pub log_bytes: u64,
    /// The same job of the retried execution, if it was carried over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<JobId>,
    /// The attempt of that job that owns the log.
    #[serde(skip_serializing_if = "is_zero")]
    pub carried_attempt: u32,
    /// The execution that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<ExecutionId>,
    /// Until when the log of the running job is being read, so that its worker reports more often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched_until: Option<Timestamp>,
}

impl JobRecord {
    /// Returns the job and the attempt whose log, artifacts, reports and summary count for the job `own`, which has this record: those
    /// of the job that it was carried over from, if there is one.
    #[must_use]
    pub fn counted_attempt(&self, own: JobId) -> (JobId, u32) {
        self.carried_from.map_or((own, self.job.attempt), |from| (from, self.carried_attempt))
    }

    /// Whether the job waits for a worker at `now`.
    #[must_use]
    pub fn is_waiting(&self, now: Timestamp) -> bool {
        self.job.status == JobStatus::Queued && self.job.not_before.is_none_or(|at| at <= now)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
fn is_empty(bytes: &u64) -> bool {
    *bytes == 0
}

/// The kind of a node, and its mutable part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeBody {
    /// A job.
    Job(Box<JobRecord>),
    /// A gate.
    Gate {
        /// Whether it is open: all its dependencies have ended.
        open: bool,
    },
    /// The end of the execution.
    End,
}

/// The part of a node that versioned writes change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// Number of links that were notified of the node's end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notified: u32,
    /// The kind-specific part.
    pub body: NodeBody,
    /// For a gate that several approvals open: those that were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<GivenApproval>,
}

impl NodeState {
    /// Returns the job's status; `None` for gates and the end node.
    #[must_use]
    pub fn status(&self) -> Option<JobStatus> {
        match &self.body {
            NodeBody::Job(item) => Some(item.job.status),
            NodeBody::Gate { .. } | NodeBody::End => None,
        }
    }
}

/// A node as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its key.
    pub key: NodeKey,
    /// The immutable part.
    pub spec: NodeSpec,
    /// The mutable part.
    pub state: NodeState,
    /// Version of `state`.
    pub version: u64,
    /// Number of arrivals that are still awaited.
    pub waits_for: u32,
    /// Number of arrivals that were not ok.
    pub failed: u32,
    /// Name of the first dependency that did not succeed.
    pub blocker: Option<String>,
    /// When the sweep processes it.
    pub due_at: Option<Timestamp>,
}

impl Node {
    /// Whether this is an optional job that did not run.
    #[must_use]
    pub fn is_skipped_optional(&self) -> bool {
        self.spec.optional && self.state.status() == Some(JobStatus::Skipped)
    }

    /// Whether this is a job that counts as successful although it did not succeed.
    #[must_use]
    pub fn is_tolerated(&self) -> bool {
        let is_tolerated = match &self.state.body {
            NodeBody::Job(item) => item.job.is_tolerated(self.spec.allowed()),
            NodeBody::Gate { .. } | NodeBody::End => false,
        };
        is_tolerated || self.is_skipped_optional()
    }
}

/// A node to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    /// The immutable part.
    pub spec: NodeSpec,
    /// The mutable part.
    pub state: NodeState,
    /// Number of arrivals to wait for.
    pub waits_for: u32,
    /// Number of arrivals already counted that were not ok.
    pub failed: u32,
    /// When the sweep processes it.
    pub due_at: Option<Timestamp>,
    /// For a job: what others read of it in the store. Nothing depends on it.
    pub described: Option<JobDescription>,
}

/// The parts of a job's plan that programs other than Tidemill read in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDescription {
    /// Name of the stage.
    pub stage: String,
    /// Image in which it runs.
    pub docker_image: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::{JobRecord, JobState};
    use crate::{execution::status::JobStatus, ids::JobId, time::Timestamp};
    use uuid::Uuid;

    #[test]
    fn attempt_of_a_carried_job_counts_instead_of_its_own() {
        let [own, from] = [1, 2].map(|number| JobId(Uuid::from_u128(number)));
        let mut record =
            JobRecord { job: JobState { attempt: 3, ..JobState::default() }, ..JobRecord::default() };
        assert_eq!(record.counted_attempt(own), (own, 3));
        record.carried_from = Some(from);
        record.carried_attempt = 2;
        assert_eq!(record.counted_attempt(own), (from, 2));
    }

    #[test]
    fn queued_job_waits_from_its_time_on() {
        let job =
            JobState { status: JobStatus::Queued, not_before: Some(Timestamp(5)), ..JobState::default() };
        let mut record = JobRecord { job, ..JobRecord::default() };
        assert!(!record.is_waiting(Timestamp(4)) && record.is_waiting(Timestamp(5)));
        record.job.status = JobStatus::Running;
        assert!(!record.is_waiting(Timestamp(9)));
    }
}
