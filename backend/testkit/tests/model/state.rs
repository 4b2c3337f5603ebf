//! The model's states and actions.

use super::{promise::Promise, records::Records};

/// The number of workers.
pub const WORKERS: usize = 2;

/// Maximum numbers of faults and of user requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FaultBudget {
    /// Workers that die.
    pub worker_crashes: u8,
    /// Leases that expire although their worker is alive: it is paused, or disconnected.
    pub disconnects: u8,
    /// Operations that die between two steps.
    pub operation_crashes: u8,
    /// Scripts that fail.
    pub failures: u8,
    /// Jobs that are given back.
    pub give_backs: u8,
    /// Jobs whose message moves to the dead-letter queue.
    pub dead_letters: u8,
    /// Cancels of the execution.
    pub cancels: u8,
    /// The index of the job to cancel, plus 1; 0: none.
    pub cancel_job: u8,
    /// Requests for the execution; 0: it exists already.
    pub executes: u8,
    /// Heartbeats.
    pub heartbeats: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Worker {
    Idle,
    /// Waits for the reply to its claim.
    Claiming,
    /// Runs an attempt, possibly after losing its lease.
    Running {
        job: u8,
        attempt: u8,
        token: u8,
    },
    /// Runs an attempt, and waits for the reply to its report.
    Reporting {
        job: u8,
        attempt: u8,
        token: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReportState {
    Alive,
    Succeeded,
    Failed,
    GivenBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationKind {
    Execute,
    Claim { worker: u8, job: u8 },
    Report { worker: u8, job: u8, attempt: u8, token: u8, said: ReportState },
    CancelJob { job: u8 },
    CancelExecution,
    GiveUp { job: u8 },
    Sweep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationStage {
    Main,
    CancelJobs,
    Settle,
}

/// An operation in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operation {
    pub kind: OperationKind,
    pub stage: OperationStage,
    pub read: Option<Box<Records>>,
    /// Jobs whose ids must be sent.
    pub sends: u8,
    /// Due nodes to process.
    pub due: u8,
    /// The next node to cancel.
    pub at: u8,
    pub conflict: bool,
    pub canceled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub records: Records,
    /// Jobs with a message in the queue, which may be delivered any number of times, and may be lost at any time.
    pub queue: u8,
    pub workers: [Worker; WORKERS],
    pub ops: Vec<Operation>,
    pub remaining: FaultBudget,
    /// Jobs whose success was acknowledged.
    pub succeeded: u8,
    /// Jobs whose cancel was acknowledged.
    pub canceled: u8,
    pub cancel_acknowledged: bool,
    pub violation: Option<Promise>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Execute,
    Deliver { worker: u8, job: u8 },
    Report { worker: u8, said: ReportState },
    CancelJob { job: u8 },
    CancelExecution,
    GiveUp { job: u8 },
    Sweep,
    Step(u8),
    OperationDies(u8),
    WorkerDies(u8),
    LeaseExpires(u8),
    TimePasses(u8),
    MessageIsLost(u8),
}

/// Normalizes a state: only the order of versions matters, so they are renumbered from 0 to bound the state space.
pub fn canonical(mut state: State) -> State {
    state.ops.sort_by_key(|op| (op.kind, op.stage));
    let slots = state.records.cells.len() + 1;
    for position in 0..slots {
        let mut versions: Vec<u8> = Vec::new();
        each_version(&mut state, position, &mut |version| versions.push(*version));
        versions.sort_unstable();
        versions.dedup();
        each_version(&mut state, position, &mut |version| {
            let rank = versions.iter().position(|other| other == version).unwrap_or_default();
            *version = u8::try_from(rank).unwrap();
        });
    }
    state
}

fn each_version(state: &mut State, position: usize, visit: &mut dyn FnMut(&mut u8)) {
    let reads = state.ops.iter_mut().filter_map(|op| op.read.as_deref_mut());
    for records in std::iter::once(&mut state.records).chain(reads) {
        match records.cells.get_mut(position) {
            Some(cell) => visit(&mut cell.version),
            None => visit(&mut records.version),
        }
    }
}
