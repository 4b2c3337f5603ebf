//! The model's states and actions.

use super::{promise::Promise, records::Records};

/// How many workers there are.
pub const WORKERS: usize = 2;

/// How often what can go wrong does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FaultBudget {
    /// Workers that die.
    pub worker_crashes: u8,
    /// Leases that run out although their worker lives: it is paused, or cut off.
    pub cut_offs: u8,
    /// Operations that die between two steps.
    pub op_crashes: u8,
    /// Scripts that fail.
    pub failures: u8,
    /// Jobs that are given back.
    pub give_backs: u8,
    /// Jobs that the queue gives up.
    pub give_ups: u8,
    /// Cancels of the execution.
    pub cancels: u8,
    /// Cancels of the job of this index, plus 1.
    pub cancel_job: u8,
    /// Requests for the execution; it is there already when there are none.
    pub executes: u8,
    /// Signs of life that are sent.
    pub beats: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Worker {
    Idle,
    /// It waits for the reply to its claim.
    Asks,
    /// It runs an attempt, or believes so.
    Runs {
        job: u8,
        attempt: u8,
        token: u8,
    },
    /// The same, and waits for the reply to its report.
    Tells {
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
    pub what: OperationKind,
    pub stage: OperationStage,
    pub read: Option<Box<Records>>,
    /// Jobs whose ids are to be sent.
    pub sends: u8,
    /// Nodes that are to take their turns.
    pub due: u8,
    /// The next node to cancel.
    pub at: u8,
    pub conflict: bool,
    pub canceled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub records: Records,
    /// Jobs with a message in the queue: it may be delivered any number of times, and may vanish at any time.
    pub queue: u8,
    pub workers: [Worker; WORKERS],
    pub ops: Vec<Operation>,
    pub left: FaultBudget,
    /// Jobs whose success, and cancel, was acknowledged.
    pub succeeded: u8,
    pub canceled: u8,
    pub cancel_acknowledged: bool,
    pub broken: Option<Promise>,
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
    OpDies(u8),
    WorkerDies(u8),
    LeaseRunsOut(u8),
    TimePasses(u8),
    MessageVanishes(u8),
}

/// Versions only matter by which are the same, so they count from 0, and nothing grows without end.
pub fn canonical(mut state: State) -> State {
    state.ops.sort_by_key(|op| (op.what, op.stage));
    let places = state.records.cells.len() + 1;
    for place in 0..places {
        let mut known: Vec<u8> = Vec::new();
        each_version(&mut state, place, &mut |version| known.push(*version));
        known.sort_unstable();
        known.dedup();
        each_version(&mut state, place, &mut |version| {
            let rank = known.iter().position(|one| one == version).unwrap_or_default();
            *version = u8::try_from(rank).unwrap();
        });
    }
    state
}

fn each_version(state: &mut State, place: usize, visit: &mut dyn FnMut(&mut u8)) {
    let reads = state.ops.iter_mut().filter_map(|op| op.read.as_deref_mut());
    for records in std::iter::once(&mut state.records).chain(reads) {
        match records.cells.get_mut(place) {
            Some(cell) => visit(&mut cell.version),
            None => visit(&mut records.version),
        }
    }
}
