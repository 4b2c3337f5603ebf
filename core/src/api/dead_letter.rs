//! Jobs that ended for reasons not their own.

use super::execution::ExecutionSummary;
use super::job::JobView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job that ended for a reason that was not its own: workers were lost under it too often, or none could take it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// The job as it ended, with its attempts.
    pub job: JobView,
    /// Its execution.
    pub execution: ExecutionSummary,
}

/// A page of dead letters, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterList {
    /// The page.
    pub dead_letters: Vec<DeadLetterView>,
    /// Give it back as `cursor` for the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterQuery {
    /// Only those of this repository, however its address is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A dead letter was dismissed, or was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DismissReply {
    /// Whether the job was among the dead letters.
    pub dismissed: bool,
}
