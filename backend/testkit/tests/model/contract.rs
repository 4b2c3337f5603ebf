//! Compares the model's records with stores that pass the conformance suite: random batches must have the same results.

use super::{
    cases::{DIAMOND, STAGES},
    records::{Cell, Kind, NOW, PlanShape, Records, execution_id},
};
use fastrand::Rng;
use std::collections::BTreeMap;
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::{
    scheduler::{StartConditions, new_execution},
    time::Timestamp,
};
use tidemill_services::ports::{
    Commit, Continuation, ExecutionState, Node, NodeKey, NodeState, Records as _, Write,
};
use tidemill_testkit::memory::MemoryRecords;

const BATCHES: usize = 40;
const JOB: [JobStatus; 7] = [
    JobStatus::Pending,
    JobStatus::Queued,
    JobStatus::Running,
    JobStatus::Success,
    JobStatus::Failed,
    JobStatus::Canceled,
    JobStatus::Skipped,
];
const EXECUTION: [ExecutionStatus; 3] =
    [ExecutionStatus::Pending, ExecutionStatus::Running, ExecutionStatus::Success];

/// Creates random writes.
struct RandomWrites<'a> {
    rng: Rng,
    shape: &'a PlanShape,
}

impl RandomWrites<'_> {
    /// Returns the current version, or sometimes another one.
    fn version(&mut self, current: u8) -> u64 {
        u64::from(current) + u64::from(self.rng.u8(..8) == 0)
    }

    fn due(&mut self) -> Option<Timestamp> {
        [None, Some(NOW), Some(NOW.plus_ms(30_000))][self.rng.usize(..3)]
    }

    fn state(&mut self, cell: &Cell, ix: usize) -> NodeState {
        let mut new = cell.clone();
        new.notified = self.rng.u8(..3);
        match cell.kind {
            Kind::End => {}
            Kind::Gate => new.open = self.rng.bool(),
            Kind::Job => {
                new.status = JOB[self.rng.usize(..JOB.len())];
                new.attempt = self.rng.u8(..3);
                new.token = if new.status == JobStatus::Running { self.rng.u8(1..9) } else { 0 };
                new.run_out = new.token > 0 && self.rng.bool();
                new.cancel = self.rng.bool();
                new.old = new.status == JobStatus::Queued && self.rng.bool();
            }
        }
        new.node(self.shape, ix).state
    }

    fn arrive(&mut self, records: &Records, depth: u8) -> Write {
        let ix = self.rng.usize(..records.cells.len());
        let cell = &records.cells[ix];
        let continuation = (self.rng.bool() && depth > 0).then(|| {
            let (if_version, state, due_at) = (self.version(cell.version), self.state(cell, ix), self.due());
            let arrivals = (0..self.rng.u8(..3)).map(|_| self.arrive(records, depth - 1)).collect();
            Box::new(Continuation { if_version, state, due_at, arrivals })
        });
        Write::Arrive { key: key(ix), ok: self.rng.bool(), from: "x".into(), now: NOW, continuation }
    }

    fn write(&mut self, records: &Records) -> Write {
        let ix = self.rng.usize(..records.cells.len());
        let cell = &records.cells[ix];
        match self.rng.u8(..6) {
            0 => Write::PutExecution {
                id: execution_id(),
                if_version: self.version(records.version),
                state: ExecutionState {
                    status: EXECUTION[self.rng.usize(..EXECUTION.len())],
                    cancel_requested: self.rng.bool(),
                    ..records.state()
                },
            },
            1 => Write::SetDue { key: key(ix), if_version: self.version(cell.version), due_at: self.due() },
            2 | 3 => Write::PutNode {
                key: key(ix),
                if_version: self.version(cell.version),
                state: self.state(cell, ix),
                due_at: self.due(),
            },
            _ => self.arrive(records, 2),
        }
    }
}

fn key(ix: usize) -> NodeKey {
    NodeKey { execution: execution_id(), ix: u32::try_from(ix).unwrap() }
}

/// Compares both stores in a run of this seed, and returns the numbers of commits and of conflicts.
pub async fn compare(seed: u64) -> (usize, usize) {
    let (shape, cells) = PlanShape::new(if seed.is_multiple_of(2) { DIAMOND } else { STAGES });
    let mut model =
        Records { created: 1, status: ExecutionStatus::Pending, cancel: false, version: 0, cells };
    let store = MemoryRecords::default();
    let nodes =
        new_execution(&shape.plan, execution_id(), &BTreeMap::new(), StartConditions::default(), NOW).nodes;
    let spec = Box::new(shape.spec.clone());
    let created = store
        .commit(vec![Write::Create { spec, state: model.state(), nodes: (0..).zip(nodes).collect() }])
        .await
        .unwrap();
    assert!(matches!(created, Commit::Done(_)));
    // A store may start its versions at any number.
    let first = read_back(&store).await;
    model.version = first.version;
    for (cell, first) in model.cells.iter_mut().zip(&first.cells) {
        cell.version = first.version;
    }
    assert_eq!(model, first, "seed {seed}: both must start with the same records");
    let mut random = RandomWrites { rng: Rng::with_seed(seed), shape: &shape };
    let (mut committed, mut conflicts) = (0, 0);
    for batch in 0..BATCHES {
        let writes: Vec<Write> = (0..random.rng.u8(1..5)).map(|_| random.write(&model)).collect();
        let expected = model.commit(&writes);
        let actual = store.commit(writes.clone()).await.unwrap();
        match (expected, actual) {
            (Some(expected), Commit::Done(actual)) => {
                assert_eq!(expected.arrivals, actual.arrivals, "seed {seed}, batch {batch}: {writes:#?}");
                committed += 1;
            }
            (None, Commit::Conflict) => conflicts += 1,
            (expected, actual) => {
                panic!("seed {seed}, batch {batch}: model {expected:?}, store {actual:?}: {writes:#?}")
            }
        }
        assert_eq!(model, read_back(&store).await, "seed {seed}, batch {batch}: {writes:#?}");
    }
    (committed, conflicts)
}

async fn read_back(store: &MemoryRecords) -> Records {
    let execution = store.execution(execution_id()).await.unwrap().unwrap();
    let nodes = store.all_nodes(execution_id()).await.unwrap();
    let cell = |node: &Node| Cell::of(&node.state, node.version, (node.waits_for, node.failed), node.due_at);
    Records {
        created: 1,
        status: execution.state.status,
        cancel: execution.state.cancel_requested,
        version: u8::try_from(execution.version).unwrap(),
        cells: nodes.iter().map(cell).collect(),
    }
}
