//! Workers that serve a deployment.

use super::job::WorkerInfo;
use crate::{
    ids::{ExecutionId, JobId, WorkerId},
    pipeline::labels::Labels,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Milliseconds between two reports of a worker.
pub const WORKER_REPORT_INTERVAL_MS: u64 = 60_000;

/// What a worker reports of itself, at its start, once a minute, and at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReport {
    /// The worker.
    pub worker: WorkerInfo,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Its version.
    pub version: String,
    /// Maximum number of concurrent jobs.
    pub slots: u32,
    /// The disk of its caches and of its jobs' files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<WorkerDisk>,
    /// The jobs that it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<WorkerJob>,
    /// Whether it takes no more jobs.
    #[serde(default)]
    pub draining: bool,
    /// Whether this is its last report.
    #[serde(default)]
    pub stopped: bool,
}

/// The disk of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerDisk {
    /// Its size in bytes.
    pub size: u64,
    /// How many of them are free.
    pub free: u64,
}

/// The version of the protocol between workers and servers that this program speaks. A worker sends it with each request, in
/// [`WORKER_PROTOCOL_HEADER`]; a worker of another make need not.
pub const WORKER_PROTOCOL: u32 = 1;

/// The oldest version that a server of this program accepts of a worker.
pub const MIN_WORKER_PROTOCOL: u32 = 1;

/// The header with the version of the protocol.
pub const WORKER_PROTOCOL_HEADER: &str = "tidemill-worker-protocol";

/// A job that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerJob {
    /// The job.
    pub job_id: JobId,
    /// Its execution.
    pub execution_id: ExecutionId,
    /// Its name.
    pub job_name: String,
}

/// The reply to a [`WorkerReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReportReply {
    /// Whether the worker must take no more jobs, and end when its jobs have.
    pub drain: bool,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// Its id, a new one at each start.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its version.
    pub version: String,
    /// Maximum number of concurrent jobs.
    pub slots: u32,
    /// The disk of its caches and of its jobs' files, if it reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<WorkerDisk>,
    /// The jobs that it ran at its last report.
    pub running: Vec<WorkerJob>,
    /// Whether it takes no more jobs, or was asked to.
    pub draining: bool,
    /// When it reported first.
    pub first_seen_at: Timestamp,
    /// When it reported last.
    pub last_seen_at: Timestamp,
    /// Whether its last report is recent enough that it is there.
    pub online: bool,
}

/// All workers, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerList {
    /// The workers; at most 1,000.
    pub workers: Vec<WorkerView>,
    /// The machines that the deployment starts for workers; absent: it starts none, or has not started any yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetView>,
}

/// The machines that a deployment starts for its workers. Each of their workers has the id of its machine as its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetView {
    /// Number of machines at the last decision about them.
    pub machines: u32,
    /// The last machines that were removed because their worker did not report, at most 10; the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstarted: Vec<UnstartedMachine>,
}

/// A machine whose worker did not start, or did not report for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnstartedMachine {
    /// Id of the machine.
    pub machine: String,
    /// When it was seen first.
    pub seen_at: Timestamp,
    /// When it was removed.
    pub removed_at: Timestamp,
}

/// Asks workers to drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainWorkersRequest {
    /// Name or id of a worker. All workers with this name drain.
    pub worker: String,
}

/// Removes workers that are not there from the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveWorkersRequest {
    /// Name or id of a worker. All workers with this name that do not report are removed.
    pub worker: String,
}

/// The reply to a [`RemoveWorkersRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveWorkersReply {
    /// The workers that were removed.
    pub workers: Vec<WorkerView>,
}

/// The reply to a [`DrainWorkersRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainWorkersReply {
    /// The workers that drain, which they know at their next report.
    pub workers: Vec<WorkerView>,
}
