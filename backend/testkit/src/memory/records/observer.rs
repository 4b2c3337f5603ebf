//! Observation of commits.

use tidemill_core::ids::ExecutionId;
use tidemill_services::ports::{ExecutionRecord, Node};

/// A change of a commit.
#[derive(Debug)]
pub enum Change<'a> {
    /// An execution was created.
    Created(&'a ExecutionRecord),
    /// An execution's state changed.
    Execution {
        /// Before the commit.
        old: &'a ExecutionRecord,
        /// After the commit.
        new: &'a ExecutionRecord,
    },
    /// A node changed.
    Node {
        /// Before the commit.
        old: &'a Node,
        /// After the commit.
        new: &'a Node,
    },
}

/// Receives every commit, in order.
pub trait Observer: Send + Sync {
    /// Receives the changes of a commit; `nodes` returns the current nodes of an execution.
    fn committed(&self, changes: &[Change<'_>], nodes: &dyn Fn(ExecutionId) -> Vec<Node>);
}
