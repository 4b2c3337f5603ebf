//! An observer of commits.

use tidemill_core::ids::ExecutionId;
use tidemill_services::ports::{ExecutionRecord, Node};

/// What a commit changed.
#[derive(Debug)]
pub enum Change<'a> {
    /// A new execution.
    Made(&'a ExecutionRecord),
    /// An execution's state.
    Execution {
        /// As it was.
        old: &'a ExecutionRecord,
        /// As it is.
        new: &'a ExecutionRecord,
    },
    /// A node.
    Node {
        /// As it was.
        old: &'a Node,
        /// As it is.
        new: &'a Node,
    },
}

/// Sees every change in the order in which they are made.
pub trait Observer: Send + Sync {
    /// One batch was committed: its changes, and all nodes of an execution as they are now.
    fn committed(&self, changes: &[Change<'_>], nodes: &dyn Fn(ExecutionId) -> Vec<Node>);
}
