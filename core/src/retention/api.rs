//! Types of the API about retention.

use super::{decision::Pin, settings::RetentionSettings};
use crate::{ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Selects the settings of a repository, or those of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionQuery {
    /// Address of the repository, in any form; absent: the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// Replaces the settings of a repository, or those of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionRequest {
    /// Address of the repository, in any form; absent: the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The new settings; empty ones remove the old ones.
    pub settings: RetentionSettings,
}

/// The settings of a repository, or those of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionView {
    /// Name of the repository; absent: the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Its own settings.
    pub settings: RetentionSettings,
    /// The settings of the server, for what a repository does not set.
    pub server: RetentionSettings,
}

/// Requests to remove what the rules say, now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GcRequest {
    /// Whether to remove nothing, and only to say what would go.
    pub dry_run: bool,
    /// Only of this repository, in any form of its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Where to go on: `next` of the report before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<ExecutionId>,
}

/// What of an execution goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RemovedPart {
    /// Everything.
    Execution,
    /// Its logs.
    Logs,
    /// Its artifacts.
    Artifacts,
}

/// Something that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedItem {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its repository.
    pub repo: String,
    /// Its pipeline.
    pub pipeline_name: String,
    /// Its run number.
    pub run_number: u64,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// What of it goes.
    pub part: RemovedPart,
    /// Why.
    pub why: String,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcReport {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// Number of executions that were read: those that are old enough for some rule.
    pub read: u64,
    /// Number of executions.
    pub executions: u64,
    /// Number of executions of which only the logs went.
    pub logs: u64,
    /// Number of executions of which only the artifacts went.
    pub artifacts: u64,
    /// Bytes of artifacts.
    pub artifact_bytes: u64,
    /// Number of executions that could not be removed; the next run tries them again.
    pub failed: u64,
    /// Number of executions of those read that are kept, by reason.
    pub kept: BTreeMap<String, u64>,
    /// The first items.
    pub items: Vec<RemovedItem>,
    /// Whether there are more items than these.
    pub truncated: bool,
    /// Where to go on, if the request had no time for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ExecutionId>,
}

/// What the stores of a server use of its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskUsage {
    /// When it was measured; absent: this deployment does not measure it, and everything else is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Timestamp>,
    /// Free bytes of the disk.
    pub free_bytes: u64,
    /// Bytes of the database of records.
    pub record_bytes: u64,
    /// Bytes of logs and summaries.
    pub log_bytes: u64,
    /// Bytes of artifacts; files of the same content count once.
    pub artifact_bytes: u64,
    /// Bytes of caches; files of the same content count once.
    pub cache_bytes: u64,
    /// Bytes of uploaded sources.
    pub upload_bytes: u64,
    /// Bytes of other files: unfinished uploads, programs of workers, and the reserve for the records.
    pub other_bytes: u64,
    /// The repositories that use the most, the largest first.
    pub repositories: Vec<RepositoryUsage>,
    /// Number of repositories that are not listed.
    pub unlisted_repositories: u64,
    /// Whether there were too many files to count all of them in time.
    pub partial: bool,
}

/// What the executions and caches of a repository use of the disk. Files that several repositories share count for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryUsage {
    /// Name of the repository.
    pub repo: String,
    /// Number of its executions.
    pub executions: u64,
    /// Bytes of their logs and summaries.
    pub log_bytes: u64,
    /// Bytes of their artifacts.
    pub artifact_bytes: u64,
    /// Bytes of its caches.
    pub cache_bytes: u64,
}

impl RepositoryUsage {
    /// Returns all its bytes.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.log_bytes.saturating_add(self.artifact_bytes).saturating_add(self.cache_bytes)
    }
}

/// Pins an execution, so that it is kept for ever, or unpins it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinRequest {
    /// Whether to pin it.
    pub pinned: bool,
    /// Why, for others to read; at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether an execution is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinReply {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Who pinned it; absent: it is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether this request changed it.
    pub changed: bool,
}

impl PinReply {
    /// Creates the reply about an execution.
    #[must_use]
    pub fn of(execution_id: ExecutionId, pin: Option<&Pin>, changed: bool) -> Self {
        Self {
            execution_id,
            pinned_by: pin.map(|pin| pin.by.clone()),
            pinned_at: pin.map(|pin| pin.at),
            note: pin.and_then(|pin| pin.note.clone()),
            changed,
        }
    }
}
