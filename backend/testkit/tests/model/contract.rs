//! The model's records against the ports' contract: random batches come to the same in stores that pass the conformance suite.

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

/// What is written by chance.
struct RandomWrites<'a> {
    rng: Rng,
    shape: &'a PlanShape,
}

impl RandomWrites<'_> {
    /// The version that is there, or now and then another one.
    fn version(&mut self, is: u8) -> u64 {
        u64::from(is) + u64::from(self.rng.u8(..8) == 0)
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

/// How many batches were made, and refused, in a run of this seed; that both stores come to the same is asserted.
pub async fn compare(seed: u64) -> (usize, usize) {
    let (shape, cells) = PlanShape::new(if seed.is_multiple_of(2) { DIAMOND } else { STAGES });
    let mut model = Records { made: 1, status: ExecutionStatus::Pending, cancel: false, version: 0, cells };
    let store = MemoryRecords::default();
    let nodes =
        new_execution(&shape.plan, execution_id(), &BTreeMap::new(), StartConditions::default(), NOW).nodes;
    let spec = Box::new(shape.spec.clone());
    let made = store
        .commit(vec![Write::Create { spec, state: model.state(), nodes: (0..).zip(nodes).collect() }])
        .await
        .unwrap();
    assert!(matches!(made, Commit::Done(_)));
    // Stores count their versions from where they like.
    let first = seen(&store).await;
    model.version = first.version;
    for (cell, first) in model.cells.iter_mut().zip(&first.cells) {
        cell.version = first.version;
    }
    assert_eq!(model, first, "seed {seed}: both begin the same");
    let mut chance = RandomWrites { rng: Rng::with_seed(seed), shape: &shape };
    let (mut done, mut refused) = (0, 0);
    for batch in 0..BATCHES {
        let writes: Vec<Write> = (0..chance.rng.u8(1..5)).map(|_| chance.write(&model)).collect();
        let here = model.commit(&writes);
        let there = store.commit(writes.clone()).await.unwrap();
        match (here, there) {
            (Some(here), Commit::Done(there)) => {
                assert_eq!(here.arrivals, there.arrivals, "seed {seed}, batch {batch}: {writes:#?}");
                done += 1;
            }
            (None, Commit::Conflict) => refused += 1,
            (here, there) => {
                panic!("seed {seed}, batch {batch}: here {here:?}, there {there:?}: {writes:#?}")
            }
        }
        assert_eq!(model, seen(&store).await, "seed {seed}, batch {batch}: {writes:#?}");
    }
    (done, refused)
}

async fn seen(store: &MemoryRecords) -> Records {
    let execution = store.execution(execution_id()).await.unwrap().unwrap();
    let nodes = store.all_nodes(execution_id()).await.unwrap();
    let cell = |node: &Node| Cell::of(&node.state, node.version, (node.waits_for, node.failed), node.due_at);
    Records {
        made: 1,
        status: execution.state.status,
        cancel: execution.state.cancel_requested,
        version: u8::try_from(execution.version).unwrap(),
        cells: nodes.iter().map(cell).collect(),
    }
}
