//! The protocol as a state machine: the steps of all actors, and all faults, in any order.
//!
//! A request that the server handles is an operation in flight. It reads a snapshot of the records, decides with the
//! production code, and commits conditionally. Between these steps other operations run, or it dies.

use super::{
    promise::Promise,
    records::{Cell, DueState, PlanShape, Records},
    state::{
        Action, FaultBudget, Operation, OperationKind, OperationStage, ReportState, State, WORKERS, Worker,
        canonical,
    },
};
use stateright::{Model, Property};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};

/// Duration of a lease, in milliseconds.
pub const TTL_MS: u64 = 30_000;

#[derive(Debug, Clone)]
pub struct Protocol {
    pub shape: PlanShape,
    pub cells: Vec<Cell>,
    pub budget: FaultBudget,
    /// Maximum concurrent operations.
    pub max_operations: usize,
    /// Whether messages of jobs that have ended are still delivered.
    pub late_messages: bool,
}

impl Protocol {
    pub fn new(file: &str, budget: FaultBudget, max_operations: usize) -> Self {
        let (shape, cells) = PlanShape::new(file);
        Self { shape, cells, budget, max_operations, late_messages: max_operations == 1 }
    }

    pub fn initial(&self) -> State {
        let roots = self.bits(|cell| cell.status == JobStatus::Queued, &self.cells);
        let records = Records {
            created: u8::from(self.budget.executes == 0),
            status: ExecutionStatus::Pending,
            cancel: false,
            version: 0,
            cells: self.cells.clone(),
        };
        State {
            records,
            queue: roots,
            workers: [Worker::Idle; WORKERS],
            ops: Vec::new(),
            remaining: self.budget,
            succeeded: 0,
            canceled: 0,
            cancel_acknowledged: false,
            violation: None,
        }
    }

    pub fn bits(&self, predicate: impl Fn(&Cell) -> bool, cells: &[Cell]) -> u8 {
        (0..self.shape.jobs()).filter(|ix| predicate(&cells[*ix])).fold(0, |bits, ix| bits | 1 << ix)
    }

    fn start_operation(state: &mut State, what: OperationKind) {
        state.ops.push(Operation {
            kind: what,
            stage: OperationStage::Main,
            read: None,
            sends: 0,
            due: 0,
            at: 0,
            conflict: false,
            canceled: false,
        });
    }

    /// Whether an action occurs eventually: it is neither a fault nor a user's request.
    pub fn is_fair(state: &State, action: Action) -> bool {
        match action {
            Action::Deliver { .. }
            | Action::Sweep
            | Action::Step(_)
            | Action::TimePasses(_)
            | Action::Execute => true,
            Action::Report { said, .. } => said == ReportState::Succeeded,
            Action::LeaseExpires(job) => !Self::is_held(state, job),
            _ => false,
        }
    }

    /// Whether a worker holds the job's current lease, or is claiming the job.
    fn is_held(state: &State, job: u8) -> bool {
        let token_of_job = state.records.cells[usize::from(job)].token;
        let holds = |worker: &Worker| match worker {
            Worker::Running { job: of, token, .. } | Worker::Reporting { job: of, token, .. } => {
                (*of, *token) == (job, token_of_job)
            }
            _ => false,
        };
        let claims = |op: &Operation| matches!(op.kind, OperationKind::Claim { job: of, .. } if of == job);
        state.workers.iter().any(holds) || state.ops.iter().any(claims)
    }

    pub fn has_ended(state: &State) -> bool {
        state.records.status.is_terminal()
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        let left = &state.remaining;
        let has_capacity = state.ops.len() < self.max_operations;
        if has_capacity {
            if left.executes > 0 {
                actions.push(Action::Execute);
            }
            if state.records.created > 0 {
                self.requests(state, actions);
            }
        }
        for op in 0..u8::try_from(state.ops.len()).unwrap() {
            actions.push(Action::Step(op));
            if left.operation_crashes > 0 {
                actions.push(Action::OperationDies(op));
            }
        }
        for (ix, worker) in (0..).zip(&state.workers) {
            if left.worker_crashes > 0 && !matches!(worker, Worker::Idle) {
                actions.push(Action::WorkerDies(ix));
            }
        }
        for (ix, cell) in (0..).zip(&state.records.cells) {
            if cell.token > 0 && !cell.run_out && (left.disconnects > 0 || !Self::is_held(state, ix)) {
                actions.push(Action::LeaseExpires(ix));
            }
            let can_become_due = cell.due == DueState::Later && cell.token == 0;
            if can_become_due {
                actions.push(Action::TimePasses(ix));
            }
            if state.queue & 1 << ix != 0 {
                actions.push(Action::MessageIsLost(ix));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Execute => {
                next.remaining.executes -= 1;
                Self::start_operation(&mut next, OperationKind::Execute);
            }
            Action::Deliver { worker, job } => {
                next.workers[usize::from(worker)] = Worker::Claiming;
                Self::start_operation(&mut next, OperationKind::Claim { worker, job });
            }
            Action::Report { worker, said } => {
                let Worker::Running { job, attempt, token } = next.workers[usize::from(worker)] else {
                    return None;
                };
                match said {
                    ReportState::Alive => next.remaining.heartbeats -= 1,
                    ReportState::Failed => next.remaining.failures -= 1,
                    ReportState::GivenBack => next.remaining.give_backs -= 1,
                    ReportState::Succeeded => {}
                }
                next.workers[usize::from(worker)] = Worker::Reporting { job, attempt, token };
                Self::start_operation(&mut next, OperationKind::Report { worker, job, attempt, token, said });
            }
            Action::CancelJob { job } => {
                next.remaining.cancel_job = 0;
                Self::start_operation(&mut next, OperationKind::CancelJob { job });
            }
            Action::CancelExecution => {
                next.remaining.cancels -= 1;
                Self::start_operation(&mut next, OperationKind::CancelExecution);
            }
            Action::GiveUp { job } => {
                next.remaining.dead_letters -= 1;
                Self::start_operation(&mut next, OperationKind::GiveUp { job });
            }
            Action::Sweep => {
                let late = (0..).zip(&next.records.cells).filter(|(_, cell)| cell.due == DueState::Now);
                let due = late.fold(0, |bits, (ix, _): (u8, _)| bits | 1 << ix);
                Self::start_operation(&mut next, OperationKind::Sweep);
                if let Some(op) = next.ops.last_mut() {
                    (op.stage, op.due) = (OperationStage::Settle, due);
                }
            }
            Action::Step(ix) => {
                let op = next.ops.remove(usize::from(ix));
                let stepped = self.step(&mut next, op);
                next.ops.extend(stepped);
            }
            Action::OperationDies(ix) => {
                next.remaining.operation_crashes -= 1;
                let op = next.ops.remove(usize::from(ix));
                match op.kind {
                    OperationKind::Claim { worker, .. } => next.workers[usize::from(worker)] = Worker::Idle,
                    // The worker does not know whether its report arrived, and sends it again.
                    OperationKind::Report { worker, job, attempt, token, .. } => {
                        let reporting = &mut next.workers[usize::from(worker)];
                        if *reporting == (Worker::Reporting { job, attempt, token }) {
                            *reporting = Worker::Running { job, attempt, token };
                        }
                    }
                    _ => {}
                }
            }
            Action::WorkerDies(ix) => {
                next.remaining.worker_crashes -= 1;
                next.workers[usize::from(ix)] = Worker::Idle;
            }
            Action::LeaseExpires(ix) => {
                if Self::is_held(state, ix) {
                    next.remaining.disconnects -= 1;
                }
                let cell = &mut next.records.cells[usize::from(ix)];
                cell.run_out = true;
                if cell.due == DueState::Later {
                    cell.due = DueState::Now;
                }
            }
            Action::TimePasses(ix) => {
                let cell = &mut next.records.cells[usize::from(ix)];
                cell.due = DueState::Now;
                cell.old = cell.status == JobStatus::Queued;
            }
            Action::MessageIsLost(job) => next.queue &= !(1 << job),
        }
        let records = &next.records;
        let is_success = |ix: usize| records.cells[ix].status == JobStatus::Success;
        let lost = (0..self.shape.jobs()).any(|ix| next.succeeded & 1 << ix != 0 && !is_success(ix));
        if lost || (next.cancel_acknowledged && !records.cancel) {
            next.violation = next.violation.or(Some(Promise::Acknowledged));
        }
        if !self.late_messages {
            next.queue &= !self.bits(|cell| cell.status.is_terminal(), &next.records.cells);
        }
        Some(canonical(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! keeps {
            ($($promise:ident)*) => {
                vec![$(Property::always(Promise::$promise.description(), |_, state: &State| {
                    state.violation != Some(Promise::$promise)
                }),)*]
            };
        }
        keeps!(TerminalStays OneLease NeedsHold OneExecution FinalStatus Acknowledged CancelHolds)
    }
}

impl Protocol {
    /// Adds the requests that clients and workers may send next.
    fn requests(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.remaining;
        for (ix, worker) in (0..).zip(&state.workers) {
            match worker {
                Worker::Idle => {
                    let jobs = (0..u8::try_from(self.shape.jobs()).unwrap())
                        .filter(|job| state.queue & 1 << job != 0)
                        .map(|job| Action::Deliver { worker: ix, job });
                    actions.extend(jobs);
                }
                Worker::Running { .. } => {
                    for (said, is_possible) in [
                        (ReportState::Alive, left.heartbeats > 0),
                        (ReportState::Succeeded, true),
                        (ReportState::Failed, left.failures > 0),
                        (ReportState::GivenBack, left.give_backs > 0),
                    ] {
                        if is_possible {
                            actions.push(Action::Report { worker: ix, said });
                        }
                    }
                }
                Worker::Claiming | Worker::Reporting { .. } => {}
            }
        }
        if left.cancels > 0 {
            actions.push(Action::CancelExecution);
        }
        if left.cancel_job > 0 {
            actions.push(Action::CancelJob { job: left.cancel_job - 1 });
        }
        if left.dead_letters > 0 {
            actions.push(Action::GiveUp { job: 0 });
        }
        let sweeps = state.ops.iter().any(|op| op.kind == OperationKind::Sweep);
        if !sweeps && state.records.cells.iter().any(|cell| cell.due == DueState::Now) {
            actions.push(Action::Sweep);
        }
    }
}
