//! Ends and cancels an execution: pure functions of the records.

use crate::execution::status::{ExecutionStatus, JobStatus};
use crate::{
    guarded,
    ids::ExecutionId,
    records::{Deadline, ExecutionRecord, ExecutionState, KeyRecord, Node, NodeBody, NodeKey, Write},
    time::Timestamp,
};

/// The next step of the end node.
#[derive(Debug, Clone)]
pub enum EndStep {
    /// Jobs have not ended. A due end node is checked again later; with `cancel`, an interrupted cancel is resumed
    /// first.
    Wait {
        /// Whether a cancel may have been interrupted.
        cancel: bool,
    },
    /// The execution has ended: nothing is left to do.
    AlreadyEnded,
    /// The deadline has passed: the execution is canceled with the writes of [`time_out`].
    TimeOut,
    /// Every job has ended: the execution ends with the writes of [`finish`].
    Finish,
}

/// Returns the next step of the end node `end` of `execution`.
#[must_use]
pub fn end_step(
    execution: &ExecutionState,
    deadline: Option<Deadline>,
    end: &Node,
    now: Timestamp,
) -> EndStep {
    if !guarded!(EndOnlyLive, !execution.status.is_terminal()) {
        return EndStep::AlreadyEnded;
    }
    if execution.unplanned && execution.cancel_requested {
        // None of its jobs is recorded, so no arrivals will come.
        return EndStep::Finish;
    }
    if !guarded!(EndWaitsForAll, end.waits_for == 0) {
        if deadline.is_some_and(|deadline| deadline.at <= now) && !execution.cancel_requested {
            return EndStep::TimeOut;
        }
        let cancel = execution.cancel_requested && end.due_at.is_some();
        return EndStep::Wait { cancel: guarded!(InterruptedCancelResumes, cancel, without false) };
    }
    EndStep::Finish
}

/// Returns the status of an execution with these nodes, all of whose jobs have ended.
#[must_use]
pub fn ended_status(execution: &ExecutionRecord, nodes: &[Node]) -> ExecutionStatus {
    let status_of =
        |ix: u32| nodes.iter().find(|node| node.key.ix == ix).and_then(|node| node.state.status());
    let outcome = |node: &Node| match &node.state.body {
        NodeBody::Job(item) => Some(JobOutcome { status: item.job.status, tolerated: node.is_tolerated() }),
        NodeBody::Gate { .. } => {
            // The child of a job that succeeded did not.
            let job = node.spec.child_of.filter(|_| node.failed > 0)?;
            (status_of(job) == Some(JobStatus::Success))
                .then_some(JobOutcome { status: JobStatus::Failed, tolerated: node.spec.allow_failure })
        }
        NodeBody::End => None,
    };
    let outcomes: Vec<JobOutcome> = nodes.iter().filter_map(outcome).collect();
    // An execution without recorded jobs was canceled before it had them; without a cancel it ends when it has nothing to run.
    let ended = if execution.state.unplanned && execution.state.cancel_requested {
        ExecutionStatus::Canceled
    } else {
        final_status(&outcomes, execution.state.cancel_requested)
    };
    match ended {
        // A timeout needs attention, unlike a deliberate cancel.
        ExecutionStatus::Canceled if guarded!(TimeoutFailsExecution, execution.state.timed_out, without false) => {
            ExecutionStatus::Failed
        }
        status => status,
    }
}

/// The gate of a parent that waits for the end of a child.
#[derive(Debug, Clone)]
pub struct ParentGate {
    /// The gate.
    pub gate: NodeKey,
    /// The key that is taken when the gate is opened, so that it opens once.
    pub key: String,
    /// The name of the job that started the child.
    pub job: String,
}

/// Returns the writes that open the gate of the parent of a child that ends with `status`; they belong to the batch of
/// [`finish`].
#[must_use]
pub fn open_parent_gate(gate: ParentGate, status: ExecutionStatus, now: Timestamp) -> [Write; 2] {
    let record = KeyRecord { execution: gate.gate.execution, request: String::new() };
    [
        Write::PutKey { key: gate.key, if_execution: None, record },
        Write::Arrive {
            key: gate.gate,
            ok: status == ExecutionStatus::Success,
            from: gate.job,
            now,
            continuation: None,
        },
    ]
}

/// The effect of the end of an execution on the next one in its concurrency group.
#[derive(Debug, Clone)]
pub enum NextInGroup {
    /// The next one starts, if there is one.
    Start,
    /// This execution ended before it could start: the next one waits for the preceding one, which becomes the group's
    /// newest if this one was the newest.
    WaitFor {
        /// The preceding execution, which has not ended.
        older: Box<ExecutionRecord>,
        /// Whether this execution is the newest of the group.
        is_newest: bool,
    },
}

/// Returns the writes that end an execution with these nodes, all of whose jobs have ended.
#[must_use]
pub fn finish(
    execution: &ExecutionRecord,
    end: &Node,
    nodes: &[Node],
    next: NextInGroup,
    now: Timestamp,
) -> Vec<Write> {
    let status = ended_status(execution, nodes);
    let state = ExecutionState { status, end_time: Some(now), ..execution.state.clone() };
    let put = Write::PutExecution { id: execution.spec.id, if_version: execution.version, state };
    let mut writes = vec![put, Write::SetDue { key: end.key, if_version: end.version, due_at: None }];
    match next {
        NextInGroup::Start => {
            let next = guarded!(EndStartsNextInGroup, execution.state.followed_by, without None);
            if let Some((next, gate)) = next {
                let key = NodeKey { execution: next, ix: gate };
                let from = execution.spec.id.to_string();
                writes.push(Write::Arrive { key, ok: true, from, now, continuation: None });
            }
        }
        NextInGroup::WaitFor { older, is_newest } => {
            let followed_by = execution.state.followed_by;
            let state = ExecutionState { followed_by, ..older.state.clone() };
            writes.push(Write::PutExecution { id: older.spec.id, if_version: older.version, state });
            if let (true, Some(position)) = (is_newest, &execution.spec.group) {
                let record = KeyRecord { execution: older.spec.id, request: String::new() };
                let if_execution = Some(execution.spec.id);
                writes.push(Write::PutKey { key: position.group.clone(), if_execution, record });
            }
        }
    }
    writes
}

/// The outcome of a job, as far as it decides the outcome of its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobOutcome {
    /// Status.
    pub status: JobStatus,
    /// Whether the job counts as successful although it did not succeed: see [`Node::is_tolerated`].
    pub tolerated: bool,
}

impl JobOutcome {
    /// Whether the job counts as successful.
    #[must_use]
    pub fn is_ok(self) -> bool {
        match self.status {
            JobStatus::Success => true,
            JobStatus::Failed | JobStatus::Skipped => self.tolerated,
            _ => false,
        }
    }
}

/// Returns the status of an execution whose jobs have all ended.
#[must_use]
pub fn final_status(jobs: &[JobOutcome], cancel_requested: bool) -> ExecutionStatus {
    if jobs.iter().all(|job| job.is_ok()) {
        return ExecutionStatus::Success;
    }
    let failed = jobs.iter().any(|job| job.status == JobStatus::Failed && !job.tolerated);
    if cancel_requested || !failed { ExecutionStatus::Canceled } else { ExecutionStatus::Failed }
}

/// Returns the writes that request the cancel of a running execution whose deadline has passed.
#[must_use]
pub fn time_out(execution: &ExecutionRecord, end: &Node, now: Timestamp) -> [Write; 2] {
    let timed_out = execution.spec.deadline.is_some_and(|deadline| deadline.is_timeout);
    let timed_out = ExecutionRecord {
        state: ExecutionState { timed_out, ..execution.state.clone() },
        ..execution.clone()
    };
    request_cancel(&timed_out, end, None, now)
}

/// Returns the writes that request the cancel of a running execution; `by` is the newer execution that supersedes it.
/// The end node is due until the jobs are canceled, so that an interrupted cancel is resumed.
#[must_use]
pub fn request_cancel(
    execution: &ExecutionRecord,
    end: &Node,
    by: Option<ExecutionId>,
    now: Timestamp,
) -> [Write; 2] {
    let state = ExecutionState { cancel_requested: true, superseded_by: by, ..execution.state.clone() };
    let due_at = guarded!(CancelMakesDue, Some(now), without end.due_at);
    [
        Write::PutExecution { id: execution.spec.id, if_version: execution.version, state },
        Write::SetDue { key: end.key, if_version: end.version, due_at },
    ]
}
