//! An execution as it is recorded.

use crate::execution::{assignment::Source, discovery::Discovery, facts::Facts, status::ExecutionStatus};
use crate::pipeline::labels::Labels;
use crate::{
    api::{ExecutionKind, ExecutionSummary, Trigger},
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
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Repository.
    pub repo: String,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// Sources.
    pub source: Source,
    /// Stages in order.
    pub stages: Vec<String>,
    /// What it does.
    pub task: ExecutionTask,
    /// The digest of the plan that its nodes are of.
    #[serde(default)]
    pub plan_digest: String,
    /// Whether all of it waits for an approval; then its nodes are recorded when that is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Overrides of variables, for retries.
    pub variables: IndexMap<String, String>,
    /// What was known of it when its plan was made; without its variables, which stand beside it.
    #[serde(default)]
    pub facts: Facts,
    /// What started it.
    pub trigger: Trigger,
    /// Who.
    pub requested_by: Option<String>,
    /// The execution that this one retries.
    pub retry_of: Option<ExecutionId>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Number of jobs: nodes `0..jobs`. Gates follow, then the end node.
    pub jobs: u32,
    /// Index of the end node.
    pub end_node: u32,
    /// Jobs that were carried over from the retried execution: index here, id there.
    pub carried: Vec<(u32, JobId)>,
    /// Gates that open when somebody approves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalGate>,
    /// Jobs that demand labels of their worker; at most one entry for each job of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<LabelRequirement>,
    /// Its place among the executions of a group that run one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPosition>,
    /// When it is canceled if it is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The trace that it belongs to, as a `traceparent` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// What an execution does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionTask {
    /// It runs the jobs of a pipeline file.
    RunPipeline {
        /// The file's text: its jobs are planned from it again where they are needed, and by retries.
        file: String,
    },
    /// It finds the pipelines of a commit, and starts those whose triggers fit.
    DiscoverPipelines(Discovery),
}

impl ExecutionTask {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ExecutionKind {
        match self {
            Self::RunPipeline { .. } => ExecutionKind::RunPipeline,
            Self::DiscoverPipelines(_) => ExecutionKind::DiscoverPipelines,
        }
    }

    /// Bytes of the pipeline file; 0 where there is none.
    #[must_use]
    pub const fn file_bytes(&self) -> usize {
        match self {
            Self::RunPipeline { file } => file.len(),
            Self::DiscoverPipelines(_) => 0,
        }
    }
}

/// What jobs demand of their worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRequirement {
    /// The first of the jobs.
    pub from: u32,
    /// The last of them.
    pub to: u32,
    /// The labels that it must have.
    pub labels: Labels,
}

impl ExecutionSpec {
    /// The labels that a job demands of its worker.
    #[must_use]
    pub fn demands_of(&self, job: u32) -> Option<&Labels> {
        // They are in the jobs' order.
        let at = self.demands.partition_point(|demand| demand.to < job);
        self.demands.get(at).filter(|demand| demand.from <= job).map(|demand| &demand.labels)
    }
}

/// When an execution that is not over is canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// The time.
    pub at: Timestamp,
    /// Whether its pipeline says so, so that to miss it is a failure; else nobody approved it in time.
    pub is_timeout: bool,
}

/// A gate that opens when somebody approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalGate {
    /// The gate's index.
    pub gate: u32,
    /// The job that waits for it; `None`: the whole execution does.
    pub job: Option<u32>,
}

/// The place of an execution in a group whose executions run one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPosition {
    /// The key under which the newest of the group is recorded.
    pub group: String,
    /// The one before it, which was live when this was made, and the gate here that its end opens.
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
    /// Whether a cancel was asked for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_requested: bool,
    /// Whether only its end and the gates that something outside the plan opens are recorded yet: nobody approved it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unplanned: bool,
    /// The newer execution that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
    /// Whether its deadline passed, for which it was canceled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub timed_out: bool,
    /// The next of its group, and the gate there that this one's end opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<(ExecutionId, u32)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An execution as it is recorded.
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
    /// The execution as the API shows it.
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
        }
    }
}
