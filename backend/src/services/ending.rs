//! How an execution is ended and canceled: pure functions of what is recorded.

use crate::ports::{ExecutionRecord, ExecutionState, Node, NodeBody, Write};
use tidemill_core::{
    guard::{Guard, holds},
    ids::ExecutionId,
    schedule::{JobStanding, final_status},
    time::Timestamp,
};

/// What the end node does in its turn.
#[derive(Debug, Clone)]
pub enum EndTurn {
    /// Jobs are under way. If it is due, it looks again later; with `cancel`, a cancel is to be carried on before that.
    Wait {
        /// Whether a cancel may have been cut short.
        cancel: bool,
    },
    /// The execution is over: nothing is left.
    Rest,
    /// Every job is over: the execution ends with the writes of [`finish`].
    Finish,
}

/// What the end node `end` of `execution` does.
#[must_use]
pub fn end_turn(execution: &ExecutionState, end: &Node) -> EndTurn {
    if !holds(Guard::EndOnlyLive, !execution.status.is_terminal()) {
        return EndTurn::Rest;
    }
    if !holds(Guard::EndWaitsForAll, end.waits_for == 0) {
        let cancel = execution.cancel_requested && end.due_at.is_some();
        return EndTurn::Wait { cancel: cancel && !holds(Guard::CancelCarriedOn, false) };
    }
    EndTurn::Finish
}

/// The writes that end an execution with these nodes, all of whose jobs are over.
#[must_use]
pub fn finish(execution: &ExecutionRecord, end: &Node, nodes: &[Node], now: Timestamp) -> [Write; 2] {
    let standing = |node: &Node| match &node.state.body {
        NodeBody::Job(item) => {
            Some(JobStanding { status: item.job.status, allow_failure: node.spec.allow_failure })
        }
        NodeBody::Gate { .. } | NodeBody::End => None,
    };
    let standings: Vec<JobStanding> = nodes.iter().filter_map(standing).collect();
    let state = ExecutionState {
        status: final_status(&standings, execution.state.cancel_requested),
        end_time: Some(now),
        ..execution.state.clone()
    };
    let put = Write::PutExecution { id: execution.spec.id, if_version: execution.version, state };
    [put, Write::SetDue { key: end.key, if_version: end.version, due_at: None }]
}

/// The writes that ask for the cancel of a live execution, for a newer one if that is named. Its end node is due until its
/// jobs are canceled, so that a cancel cut short is carried on.
#[must_use]
pub fn request_cancel(
    execution: &ExecutionRecord,
    end: &Node,
    by: Option<ExecutionId>,
    now: Timestamp,
) -> [Write; 2] {
    let state = ExecutionState { cancel_requested: true, superseded_by: by, ..execution.state.clone() };
    let due_at = if holds(Guard::CancelMakesDue, false) { end.due_at } else { Some(now) };
    [
        Write::PutExecution { id: execution.spec.id, if_version: execution.version, state },
        Write::SetDue { key: end.key, if_version: end.version, due_at },
    ]
}
