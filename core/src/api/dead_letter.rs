//! Dead letters: jobs that ended for a reason that was not their own.

use super::execution::ExecutionSummary;
use super::job::JobView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job that ended for a reason that was not its own: its workers were lost too often, or none could take it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// The job with its attempts.
    pub job: JobView,
    /// Its execution.
    pub execution: ExecutionSummary,
}

/// A page of dead letters, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterList {
    /// The page.
    pub dead_letters: Vec<DeadLetterView>,
    /// Value of `cursor` for the next page; absent on the last page.
    pub next_cursor: Option<String>,
}

/// Selects the dead letters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterQuery {
    /// Only those of this repository, in any form of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The reply to a dismissal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DismissReply {
    /// Whether the job was a dead letter.
    pub dismissed: bool,
}
