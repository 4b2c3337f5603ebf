//! An execution as recorded.

use crate::access::protection::Starter;
use crate::execution::{
    assignment::Source,
    discovery::Discovery,
    facts::{CommitDetails, Facts},
    status::ExecutionStatus,
};
use crate::pipeline::labels::Labels;
use crate::retention::decision::RetentionState;
use crate::{
    api::{ExecutionKind, ExecutionSummary, ParentView, Trigger},
    ids::{ExecutionId, JobId},
    time::Timestamp,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The immutable part of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionSpec {
    /// Its id.
    pub id: ExecutionId,
    /// The pipeline's name.
    pub pipeline_name: String,
    /// Repository.
    pub repo: String,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// Sources.
    pub source: Source,
    /// Stage names in order.
    pub stages: Vec<String>,
    /// The task.
    pub task: ExecutionTask,
    /// Digest of the plan that the nodes belong to.
    #[serde(default)]
    pub plan_digest: String,
    /// Whether the whole execution waits for an approval; its nodes are then recorded only with the approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Variables that override the file's, kept for retries.
    pub variables: IndexMap<String, String>,
    /// The facts that the plan was computed from, without the variables, which are stored in `variables`.
    #[serde(default)]
    pub facts: Facts,
    /// What started it.
    pub trigger: Trigger,
    /// The user who requested it.
    pub requested_by: Option<String>,
    /// Id of the person or token that requested it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// The execution that this one retries.
    pub retry_of: Option<ExecutionId>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Number of jobs: nodes `0..jobs`. Gates follow, then the end node.
    pub jobs: u32,
    /// Index of the end node.
    pub end_node: u32,
    /// Carried-over jobs: index in this execution, id in the retried one.
    pub carried: Vec<(u32, JobId)>,
    /// Names of the manual jobs that were approved from the start, if jobs are recorded after the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<String>,
    /// Gates that an approval opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalGate>,
    /// Label requirements of jobs, in the jobs' order; at most one entry for each job of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<LabelRequirement>,
    /// Its position in a concurrency group whose executions run one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPosition>,
    /// When it is canceled if it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The trace that it belongs to, as a `traceparent` header value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The job that started it, if it is a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentLink>,
}

/// The job that started a child execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    /// The job's execution.
    pub execution: ExecutionId,
    /// The job's index there.
    pub job: u32,
    /// The job's name.
    pub name: String,
    /// The gate there that the end of the child opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<u32>,
    /// The depth of the child: 1 if its parent has none.
    pub depth: u32,
    /// How many executions there may be below the child.
    #[serde(default)]
    pub descendants: u32,
}

impl ParentLink {
    /// Returns the id of the job.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        JobId::of(self.execution, self.job)
    }
}

/// What an execution does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionTask {
    /// Runs the jobs of a pipeline file.
    RunPipeline {
        /// Text of the file. Jobs are planned from it again when they are needed, and by retries.
        file: String,
    },
    /// Discovers the pipelines of a commit and starts those whose triggers match.
    DiscoverPipelines(Box<Discovery>),
}

impl ExecutionTask {
    /// Returns the kind of the task.
    #[must_use]
    pub const fn kind(&self) -> ExecutionKind {
        match self {
            Self::RunPipeline { .. } => ExecutionKind::RunPipeline,
            Self::DiscoverPipelines(_) => ExecutionKind::DiscoverPipelines,
        }
    }

    /// Returns the size of the pipeline file in bytes; 0 if there is none.
    #[must_use]
    pub const fn file_bytes(&self) -> usize {
        match self {
            Self::RunPipeline { file } => file.len(),
            Self::DiscoverPipelines(_) => 0,
        }
    }
}

/// The labels that a range of jobs requires of its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRequirement {
    /// Index of the first job.
    pub from: u32,
    /// Index of the last job.
    pub to: u32,
    /// The required labels.
    pub labels: Labels,
}

impl ExecutionSpec {
    /// Returns the gate that the approval of a job opens, or that of the execution itself (`None`).
    #[must_use]
    pub fn approval_gate(&self, job: Option<u32>) -> Option<ApprovalGate> {
        self.approvals.iter().find(|approval| approval.job == job).copied()
    }

    /// Returns who started it.
    #[must_use]
    pub fn starter(&self) -> Starter<'_> {
        Starter { id: self.started_by.as_deref(), name: self.requested_by.as_deref() }
    }

    /// Returns the labels that a job requires of its worker.
    #[must_use]
    pub fn required_labels(&self, job: u32) -> Option<&Labels> {
        // Entries are in the jobs' order.
        let at = self.demands.partition_point(|requirement| requirement.to < job);
        self.demands
            .get(at)
            .filter(|requirement| requirement.from <= job)
            .map(|requirement| &requirement.labels)
    }
}

/// When an execution that has not ended is canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// The time.
    pub at: Timestamp,
    /// Whether this is the pipeline's timeout, which counts as a failure; otherwise it is the time limit for an
    /// approval.
    pub is_timeout: bool,
}

/// A gate that an approval opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalGate {
    /// The gate's index.
    pub gate: u32,
    /// The job that waits for it; `None`: the whole execution waits.
    pub job: Option<u32>,
}

/// The position of an execution in a concurrency group whose executions run one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPosition {
    /// The key of the record of the group's newest execution.
    pub group: String,
    /// The preceding execution, if it had not ended when this one was created, and the gate of this one that its end
    /// opens.
    pub after: Option<(ExecutionId, u32)>,
}

/// The mutable part of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionState {
    /// Status.
    pub status: ExecutionStatus,
    /// When its first job started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Whether a cancel was requested.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_requested: bool,
    /// Whether only the end node and the external gates are recorded so far: the execution is not approved, or has so many jobs
    /// that they are recorded after the reply to its request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unplanned: bool,
    /// When a user approved the execution as a whole, if its jobs are recorded after the reply to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
    /// The newer execution that requested the cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
    /// Whether it was canceled because its deadline passed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub timed_out: bool,
    /// The next execution of its group, and the gate there that the end of this one opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<(ExecutionId, u32)>,
    /// What was removed of it, and whether it is pinned.
    #[serde(default, skip_serializing_if = "RetentionState::is_empty")]
    pub retention: RetentionState,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An execution as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionRecord {
    /// The immutable part.
    pub spec: ExecutionSpec,
    /// Number within repository and pipeline, from 1.
    pub run_number: u64,
    /// The mutable part.
    pub state: ExecutionState,
    /// Version of `state`.
    pub version: u64,
}

impl ExecutionRecord {
    /// Returns the execution as shown by the API.
    #[must_use]
    pub fn summary(&self) -> ExecutionSummary {
        let spec = &self.spec;
        ExecutionSummary {
            id: spec.id,
            kind: spec.task.kind(),
            pipeline_name: spec.pipeline_name.clone(),
            run_number: self.run_number,
            repo: spec.repo.clone(),
            branch: spec.branch.clone(),
            commit: spec.commit.clone(),
            commit_details: CommitDetails {
                message: spec.facts.details.title().map(str::to_owned),
                ..spec.facts.details.clone()
            },
            status: self.state.status,
            trigger: spec.trigger,
            requested_by: spec.requested_by.clone(),
            retry_of: spec.retry_of,
            created_at: spec.created_at,
            start_time: self.state.start_time,
            end_time: self.state.end_time,
            cancel_requested: self.state.cancel_requested,
            superseded_by: self.state.superseded_by,
            timed_out: self.state.timed_out,
            uncommitted: spec.facts.details.dirty,
            parent: spec.parent.as_ref().map(|parent| ParentView {
                execution_id: parent.execution,
                job_id: parent.job_id(),
                job_name: parent.name.clone(),
            }),
            inputs: spec.facts.inputs.clone(),
        }
    }
}
