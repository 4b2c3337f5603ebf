//! A reduced form of the records: the fields that the scheduler reads and writes, without times and texts.

use tidemill_core::execution::{
    assignment::Source,
    attempt::Lease,
    failure::{FailureKind, FailureReason},
    status::{ExecutionStatus, JobStatus},
    transition::JobState,
};
use tidemill_core::{
    api::Trigger,
    guarded,
    ids::{ExecutionId, LeaseToken},
    plan::Plan,
    scheduler::{StartConditions, new_execution},
    time::Timestamp,
};
use tidemill_services::ports::{
    ArrivalOutcome, CommitResult, ExecutionRecord, ExecutionSpec, ExecutionState, ExecutionTask, JobRecord,
    Node, NodeBody, NodeKey, NodeSpec, NodeState, Write,
};
use uuid::Uuid;

/// The time of every action; only whether a time has passed matters.
pub const NOW: Timestamp = Timestamp(1_000_000_000);
/// Early enough for a message to be sent again.
const LONG_AGO: Timestamp = Timestamp(900_000_000);

/// When a node is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DueState {
    No,
    Now,
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Job,
    Gate,
    End,
}

/// The mutable part of a node.
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cell {
    pub kind: Kind,
    pub version: u8,
    pub waits_for: u8,
    pub failed: u8,
    pub due: DueState,
    pub notified: u8,
    /// Only for a gate.
    pub open: bool,
    /// Only for a job, as all fields that follow.
    pub status: JobStatus,
    pub attempt: u8,
    /// 0: no lease.
    pub token: u8,
    pub run_out: bool,
    pub cancel: bool,
    pub infrastructure_tries: u8,
    pub failed_tries: u8,
    /// An `on_failure` job that was skipped without a failure.
    pub not_needed: bool,
    /// Whether it was queued so long ago that its message is sent again.
    pub old: bool,
}

/// The mutable part of the execution, and the state of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Records {
    /// The number of executions that were created under the key.
    pub created: u8,
    pub status: ExecutionStatus,
    pub cancel: bool,
    pub version: u8,
    pub cells: Vec<Cell>,
}

/// The immutable part: the plan, and the nodes that production code creates from it.
#[derive(Debug, Clone)]
pub struct PlanShape {
    pub plan: Plan,
    pub specs: Vec<NodeSpec>,
    pub spec: ExecutionSpec,
}

pub fn execution_id() -> ExecutionId {
    ExecutionId(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000))
}

pub fn token(small: u8) -> LeaseToken {
    LeaseToken(Uuid::from_u128(u128::from(small)))
}

fn small(token: LeaseToken) -> u8 {
    u8::try_from(token.0.as_u128()).unwrap()
}

impl PlanShape {
    pub fn new(file: &str) -> (Self, Vec<Cell>) {
        let pipeline = tidemill_core::pipeline::parse(file).unwrap();
        let plan = Plan::new(&pipeline, &indexmap::IndexMap::new()).unwrap();
        let none = std::collections::BTreeMap::new();
        let created = new_execution(&plan, execution_id(), &none, StartConditions::default(), NOW);
        let nodes = created.nodes;
        let cells = nodes
            .iter()
            .map(|node| Cell::of(&node.state, 0, (node.waits_for, node.failed), node.due_at))
            .collect();
        let spec = ExecutionSpec {
            id: execution_id(),
            pipeline_name: plan.pipeline_name.clone(),
            repo: String::new(),
            branch: None,
            commit: None,
            source: Source::None,
            stages: plan.stages.clone(),
            task: ExecutionTask::RunPipeline { file: file.to_owned() },
            plan_digest: plan.digest(),
            held: false,
            variables: indexmap::IndexMap::new(),

            facts: tidemill_core::execution::facts::Facts::default(),
            trigger: Trigger::Manual,
            requested_by: None,
            started_by: None,
            retry_of: None,
            created_at: NOW,
            jobs: u32::try_from(plan.jobs.len()).unwrap(),
            end_node: u32::try_from(nodes.len() - 1).unwrap(),
            carried: Vec::new(),
            approved: Vec::new(),
            approvals: Vec::new(),
            demands: Vec::new(),
            group: None,
            deadline: None,
            trace: None,
            parent: None,
        };
        let specs = nodes.into_iter().map(|node| node.spec).collect();
        (Self { plan, specs, spec }, cells)
    }

    pub fn end(&self) -> usize {
        self.spec.end_node as usize
    }

    pub fn jobs(&self) -> usize {
        self.plan.jobs.len()
    }
}

impl Cell {
    /// Creates a cell from a node's state, version, counters and due time.
    pub fn of(
        state: &NodeState,
        version: u64,
        (waits_for, failed): (u32, u32),
        due_at: Option<Timestamp>,
    ) -> Self {
        let mut cell = Self {
            kind: Kind::Job,
            version: u8::try_from(version).unwrap(),
            waits_for: u8::try_from(waits_for).unwrap(),
            failed: u8::try_from(failed).unwrap(),
            due: DueState::No,
            notified: 0,
            open: false,
            status: JobStatus::Pending,
            attempt: 0,
            token: 0,
            run_out: false,
            cancel: false,
            infrastructure_tries: 0,
            failed_tries: 0,
            not_needed: false,
            old: false,
        };
        cell.put(state);
        cell.set_due(due_at);
        cell
    }

    /// Returns the node as production code reads it.
    pub fn node(&self, shape: &PlanShape, ix: usize) -> Node {
        let body = match self.kind {
            Kind::Gate => NodeBody::Gate { open: self.open },
            Kind::End => NodeBody::End,
            Kind::Job => NodeBody::Job(Box::new(JobRecord {
                job: self.job(),
                log_bytes: 0,
                carried_from: None,
                carried_attempt: 0,
                child: None,
                watched_until: None,
            })),
        };
        let due_at = match self.due {
            DueState::No => None,
            DueState::Now => Some(NOW),
            DueState::Later => Some(NOW.plus_ms(30_000)),
        };
        Node {
            key: NodeKey { execution: execution_id(), ix: u32::try_from(ix).unwrap() },
            spec: shape.specs[ix].clone(),
            state: NodeState { notified: self.notified.into(), body, approvals: Vec::new() },
            version: self.version.into(),
            waits_for: self.waits_for.into(),
            failed: self.failed.into(),
            blocker: None,
            due_at,
        }
    }

    fn job(&self) -> JobState {
        let lease = (self.token > 0).then(|| Lease {
            token: token(self.token),
            worker: String::new(),
            expires_at: if self.run_out { NOW } else { NOW.plus_ms(30_000) },
            slot_price: 0,
        });
        JobState {
            status: self.status,
            attempt: self.attempt.into(),
            lease,
            cancel_requested: self.cancel,
            cancel_requested_at: self.cancel.then_some(NOW),
            queued_at: Some(if self.old { LONG_AGO } else { NOW }),
            started_at: Some(NOW),
            ended_at: self.status.is_terminal().then_some(NOW),
            infrastructure_tries: self.infrastructure_tries.into(),
            failed_tries: self.failed_tries.into(),
            failure: self.not_needed.then(|| FailureReason::new(FailureKind::NotNeeded, "")),
            ..JobState::default()
        }
    }

    fn put(&mut self, state: &NodeState) {
        self.notified = u8::try_from(state.notified).unwrap();
        let item = match &state.body {
            NodeBody::Job(item) => item,
            NodeBody::Gate { open } => {
                (self.kind, self.open) = (Kind::Gate, *open);
                return;
            }
            NodeBody::End => {
                self.kind = Kind::End;
                return;
            }
        };
        let job = &item.job;
        self.status = job.status;
        self.attempt = u8::try_from(job.attempt).unwrap();
        self.token = job.lease.as_ref().map_or(0, |lease| small(lease.token));
        self.run_out = job.lease.as_ref().is_some_and(|lease| lease.expires_at <= NOW);
        self.cancel = job.cancel_requested;
        self.infrastructure_tries = u8::try_from(job.infrastructure_tries).unwrap();
        self.failed_tries = u8::try_from(job.failed_tries).unwrap();
        self.not_needed = job.failure.as_ref().is_some_and(|reason| reason.kind == FailureKind::NotNeeded);
        self.old = job.status == JobStatus::Queued && job.queued_at.is_some_and(|at| at < NOW);
    }

    fn set_due(&mut self, at: Option<Timestamp>) {
        self.due = match at {
            None => DueState::No,
            Some(at) if at <= NOW => DueState::Now,
            Some(_) => DueState::Later,
        };
    }

    fn is_idle(&self) -> bool {
        match self.kind {
            Kind::Job => self.status == JobStatus::Pending,
            Kind::Gate => !self.open,
            Kind::End => true,
        }
    }
}

impl Records {
    pub fn nodes(&self, shape: &PlanShape) -> Vec<Node> {
        self.cells.iter().enumerate().map(|(ix, cell)| cell.node(shape, ix)).collect()
    }

    pub fn execution(&self, shape: &PlanShape) -> ExecutionRecord {
        ExecutionRecord {
            spec: shape.spec.clone(),
            run_number: 1,
            state: self.state(),
            version: self.version.into(),
        }
    }

    pub fn state(&self) -> ExecutionState {
        ExecutionState {
            status: self.status,
            start_time: None,
            end_time: None,
            cancel_requested: self.cancel,
            unplanned: false,
            approved_at: None,
            superseded_by: None,
            timed_out: false,
            followed_by: None,
            retention: tidemill_core::retention::decision::RetentionState::default(),
        }
    }

    /// Applies all writes, as the port's contract requires; `None`: a condition does not hold, and nothing is written.
    pub fn commit(&mut self, writes: &[Write]) -> Option<CommitResult> {
        let mut new = self.clone();
        let mut result = CommitResult::default();
        for write in writes {
            new.apply(write, &mut result)?;
        }
        *self = new;
        Some(result)
    }

    /// Creates an execution under the key; `None`: one exists that was not read.
    pub fn create(&mut self, known: bool) -> Option<()> {
        guarded!(IdempotencyKeyCondition, known == (self.created > 0)).then_some(())?;
        self.created += 1;
        Some(())
    }

    fn apply(&mut self, write: &Write, result: &mut CommitResult) -> Option<()> {
        match write {
            Write::PutExecution { if_version, state, .. } => {
                guarded!(ExecutionVersion, u64::from(self.version) == *if_version).then_some(())?;
                self.version += 1;
                (self.status, self.cancel) = (state.status, state.cancel_requested);
            }
            Write::PutNode { key, if_version, state, due_at } => {
                let cell = &mut self.cells[key.ix as usize];
                guarded!(NodeVersion, u64::from(cell.version) == *if_version).then_some(())?;
                cell.version += 1;
                cell.put(state);
                cell.set_due(*due_at);
            }
            Write::SetDue { key, if_version, due_at } => {
                let cell = &mut self.cells[key.ix as usize];
                guarded!(NodeVersion, u64::from(cell.version) == *if_version).then_some(())?;
                cell.set_due(*due_at);
            }
            Write::Arrive { key, ok, now, continuation, .. } => {
                let cell = &mut self.cells[key.ix as usize];
                cell.waits_for = cell.waits_for.saturating_sub(1);
                cell.failed += u8::from(!ok);
                let last = cell.waits_for == 0 && cell.is_idle();
                if guarded!(ArrivalMakesDue, last, without false) {
                    cell.set_due(Some(*now));
                }
                let is_current = |version| {
                    let is_same = u64::from(cell.version) == version;
                    guarded!(PrecomputeOnlyLastArrival, last) && is_same
                };
                let next = continuation.as_ref().filter(|next| is_current(next.if_version));
                if let Some(next) = next {
                    cell.version += 1;
                    cell.put(&next.state);
                    cell.set_due(next.due_at);
                }
                let (waits_for, failed) = (cell.waits_for.into(), cell.failed.into());
                result.arrivals.push(ArrivalOutcome {
                    key: *key,
                    waits_for,
                    failed,
                    continued: next.is_some(),
                });
                for arrival in next.iter().flat_map(|next| &next.arrivals) {
                    self.apply(arrival, result)?;
                }
            }
            Write::PutDeadLetter(_) | Write::DeleteDeadLetter(_) => {}
            other => unreachable!("the model does not write {other:?}"),
        }
        Some(())
    }
}
