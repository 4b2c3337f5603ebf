//! The nodes of an execution: its jobs, the gates between them, and its end.

use crate::execution::{
    retry::RetryFor,
    status::JobStatus,
    transition::{AllowFailureRules, JobState},
};
use crate::{
    ids::{ExecutionId, JobId},
    pipeline::When,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Names a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    /// The execution.
    pub execution: ExecutionId,
    /// The node's index in it.
    pub ix: u32,
}

/// The immutable part of a node, as far as the scheduler needs it.
///
/// What has its usual value is left out where it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Name of the job; empty for gates and the end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The job's id: [`JobId::of`] the execution and the node's index. Not stored with the rest.
    #[serde(skip)]
    pub job: Option<JobId>,
    /// Whether a failure is tolerated.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_failure: bool,
    /// How many more times a failed job is tried.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry: u32,
    /// Which failures that is for.
    #[serde(skip_serializing_if = "RetryFor::is_any")]
    pub retry_for: RetryFor,
    /// Nodes that are notified when this one is over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<u32>,
    /// When a job runs, given how its dependencies ended.
    #[serde(skip_serializing_if = "When::is_default")]
    pub when: When,
    /// Exit codes of a job's script that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_exit_codes: Vec<i32>,
    /// Whether nobody waits for the job, so that it may be skipped: it is manual and allowed to fail, or waits for such a job.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
    /// The approvals that the opening of this gate makes needless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<ApprovalClosing>,
}

/// The approvals that a gate closes when it opens, if nobody has given them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalClosing {
    /// The gates of these approvals.
    pub gates: Vec<u32>,
    /// Only if something that this gate waited for failed, so that what is to be approved cannot run.
    pub after_failure: bool,
}

impl NodeSpec {
    /// Which failures of the job are tolerated.
    #[must_use]
    pub fn allowed(&self) -> AllowFailureRules<'_> {
        AllowFailureRules { any: self.allow_failure, exit_codes: &self.allow_exit_codes }
    }
}

/// The mutable part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRecord {
    /// The state machine's state.
    pub job: JobState,
    /// Bytes of the current attempt's log that are stored.
    #[serde(skip_serializing_if = "is_empty")]
    pub log_bytes: u64,
    /// The same job of the retried execution, when it was carried over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<JobId>,
    /// The attempt whose log it has there.
    #[serde(skip_serializing_if = "is_zero")]
    pub carried_attempt: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_empty(bytes: &u64) -> bool {
    *bytes == 0
}

/// A node's kind, and its mutable part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeBody {
    /// A job.
    Job(Box<JobRecord>),
    /// A gate, and whether it has opened.
    Gate {
        /// Whether all it waited for are over.
        open: bool,
    },
    /// The end of the execution.
    End,
}

/// What changes of a node by versioned writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    /// How many of the node's links were notified that it is over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notified: u32,
    /// The rest.
    pub body: NodeBody,
}

impl NodeState {
    /// The job's status; `None` for gates and the end.
    #[must_use]
    pub fn status(&self) -> Option<JobStatus> {
        match &self.body {
            NodeBody::Job(item) => Some(item.job.status),
            NodeBody::Gate { .. } | NodeBody::End => None,
        }
    }
}

/// A node as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Which.
    pub key: NodeKey,
    /// The immutable part.
    pub spec: NodeSpec,
    /// The mutable part.
    pub state: NodeState,
    /// Version of `state`.
    pub version: u64,
    /// Arrivals that are still awaited.
    pub waits_for: u32,
    /// Arrivals that were not ok.
    pub failed: u32,
    /// Name of the first need that did not succeed.
    pub blocker: Option<String>,
    /// When the sweep looks at it.
    pub due_at: Option<Timestamp>,
}

impl Node {
    /// Whether it is an optional job that did not run.
    #[must_use]
    pub fn is_skipped_optional(&self) -> bool {
        self.spec.optional && self.state.status() == Some(JobStatus::Skipped)
    }

    /// Whether it is a job that counts as successful though it did not succeed.
    #[must_use]
    pub fn is_tolerated(&self) -> bool {
        let by_itself = match &self.state.body {
            NodeBody::Job(item) => item.job.is_tolerated(self.spec.allowed()),
            NodeBody::Gate { .. } | NodeBody::End => false,
        };
        by_itself || self.is_skipped_optional()
    }
}

/// A node to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    /// The immutable part.
    pub spec: NodeSpec,
    /// The mutable part.
    pub state: NodeState,
    /// Arrivals to wait for.
    pub waits_for: u32,
    /// Arrivals counted already that were not ok.
    pub failed: u32,
    /// When the sweep looks at it.
    pub due_at: Option<Timestamp>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
