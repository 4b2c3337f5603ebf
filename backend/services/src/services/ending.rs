//! How an execution is ended and canceled: pure functions of what is recorded.

use crate::ports::{Deadline, ExecutionRecord, ExecutionState, KeyRecord, Node, NodeBody, NodeKey, Write};
use tidemill_core::{
    guard::{Guard, holds},
    ids::ExecutionId,
    schedule::{JobStanding, final_status},
    status::ExecutionStatus,
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
    /// Its time is over: it is canceled with the writes of [`time_out`].
    TimeOut,
    /// Every job is over: the execution ends with the writes of [`finish`].
    Finish,
}

/// What the end node `end` of `execution` does.
#[must_use]
pub fn end_turn(
    execution: &ExecutionState,
    deadline: Option<Deadline>,
    end: &Node,
    now: Timestamp,
) -> EndTurn {
    if !holds(Guard::EndOnlyLive, !execution.status.is_terminal()) {
        return EndTurn::Rest;
    }
    if execution.unplanned && execution.cancel_requested {
        // None of its jobs was recorded, so that none arrives.
        return EndTurn::Finish;
    }
    if !holds(Guard::EndWaitsForAll, end.waits_for == 0) {
        if deadline.is_some_and(|deadline| deadline.at <= now) && !execution.cancel_requested {
            return EndTurn::TimeOut;
        }
        let cancel = execution.cancel_requested && end.due_at.is_some();
        return EndTurn::Wait { cancel: cancel && !holds(Guard::CancelCarriedOn, false) };
    }
    EndTurn::Finish
}

/// What the end of an execution does to the next of its group.
#[derive(Debug, Clone)]
pub enum Next {
    /// If there is one, it is its turn.
    Begins,
    /// This one never had its turn: the next waits for the one before, and the group's newest is that, if it was this.
    WaitsOn {
        /// The one before, which is live.
        older: Box<ExecutionRecord>,
        /// Whether this one is the newest of the group.
        is_newest: bool,
    },
}

/// The writes that end an execution with these nodes, all of whose jobs are over.
#[must_use]
pub fn finish(
    execution: &ExecutionRecord,
    end: &Node,
    nodes: &[Node],
    next: Next,
    now: Timestamp,
) -> Vec<Write> {
    let standing = |node: &Node| match &node.state.body {
        NodeBody::Job(item) => Some(JobStanding { status: item.job.status, excused: node.is_excused() }),
        NodeBody::Gate { .. } | NodeBody::End => None,
    };
    let standings: Vec<JobStanding> = nodes.iter().filter_map(standing).collect();
    // Of one that nobody approved no job is recorded; without a cancel it ends when it has nothing to run.
    let ended = if execution.state.unplanned && execution.state.cancel_requested {
        ExecutionStatus::Canceled
    } else {
        final_status(&standings, execution.state.cancel_requested)
    };
    let status = match ended {
        // Somebody has to look at it, unlike at what was canceled on purpose.
        ExecutionStatus::Canceled if execution.state.timed_out && !holds(Guard::TimedOutFails, false) => {
            ExecutionStatus::Failed
        }
        status => status,
    };
    let state = ExecutionState { status, end_time: Some(now), ..execution.state.clone() };
    let put = Write::PutExecution { id: execution.spec.id, if_version: execution.version, state };
    let mut writes = vec![put, Write::SetDue { key: end.key, if_version: end.version, due_at: None }];
    match next {
        Next::Begins => {
            if let Some((next, gate)) = execution.state.followed_by
                && !holds(Guard::EndBeginsNext, false)
            {
                let key = NodeKey { execution: next, ix: gate };
                let from = execution.spec.id.to_string();
                writes.push(Write::Arrive { key, ok: true, from, now, then: None });
            }
        }
        Next::WaitsOn { older, is_newest } => {
            let followed_by = execution.state.followed_by;
            let state = ExecutionState { followed_by, ..older.state.clone() };
            writes.push(Write::PutExecution { id: older.spec.id, if_version: older.version, state });
            if let (true, Some(turn)) = (is_newest, &execution.spec.turn) {
                let record = KeyRecord { execution: older.spec.id, request: String::new() };
                let if_execution = Some(execution.spec.id);
                writes.push(Write::PutKey { key: turn.group.clone(), if_execution, record });
            }
        }
    }
    writes
}

/// The writes that ask for the cancel of a live execution whose time is over.
#[must_use]
pub fn time_out(execution: &ExecutionRecord, end: &Node, now: Timestamp) -> [Write; 2] {
    let timed_out = execution.spec.deadline.is_some_and(|deadline| deadline.is_timeout);
    let timed_out = ExecutionRecord {
        state: ExecutionState { timed_out, ..execution.state.clone() },
        ..execution.clone()
    };
    request_cancel(&timed_out, end, None, now)
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
