//! One run of the simulation.

use super::{
    auditor::Auditor,
    clients::{Client, MAX_WAIT_MS, run_approver},
    cluster::Cluster,
    fault_injection::{inject_faults, run_sweeps},
    faults::{EventCounts, FaultRates},
    pushes::run_git_provider,
    stores::SharedStores,
    worker::{WORKERS, Worker},
    world::{TaskOwner, World},
};
use crate::memory::MemoryRecords;
use std::sync::{Arc, atomic::AtomicBool};

/// How long faults are injected, in milliseconds of the run.
const FAULT_PERIOD_MS: i64 = 180_000;
/// How long an execution may take after the faults, and after the one that it waits for: a lost message is sent again within a
/// quarter of an hour, and a job may wait for other jobs first.
const CALM_PERIOD_MS: i64 = 4 * 3_600_000;
/// Maximum duration of a run without faults: an execution is canceled after 30 days without approval, and so is its retry.
const MAX_RUN_MS: i64 = 60 * 86_400_000;

/// The outcome of a run.
pub struct Outcome {
    /// The hash of all events in their order.
    pub hash: u64,
    pub events: u64,
    /// Executions that ended.
    pub executions: u64,
    /// The broken promise, and the last events before it was detected.
    pub violation: Option<(String, Vec<String>)>,
}

/// Runs the simulation with this seed.
pub fn run(seed: u64, loud: bool, tally: &Arc<EventCounts>) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(seed);
    let chances = FaultRates::random(&mut rng);
    let world = World::new(rng.u64(..), loud);
    let auditor = Auditor::new(world.clone(), tally.clone(), chances.max_jobs_per_request);
    let shared = SharedStores::new(
        world.clone(),
        chances,
        tally.clone(),
        Arc::new(MemoryRecords::observed(auditor.clone())),
    );
    let cluster = Cluster::new(shared.clone(), auditor.clone());
    let begin = world.now();
    // In some runs all clients use one group and often cancel, which tests the order of waiting executions.
    let crowd = rng.u32(..6) == 0;
    for number in 0..if crowd { 5 } else { rng.usize(1..=4) } {
        // Some clients use the same pipeline, so that their executions supersede each other.
        let name = format!("p{}", rng.u32(..2));
        let client = Client { number, is_duplicated: rng.u32(..3) == 0, name, single_group: crowd };
        world.spawn(TaskOwner::Environment, client.run(cluster.clone()));
    }
    let cuts: Vec<Arc<AtomicBool>> = (0..WORKERS).map(|_| Arc::default()).collect();
    for (number, cut) in cuts.iter().enumerate() {
        let worker = Worker { cluster: cluster.clone(), number, disconnected: cut.clone() };
        world.spawn(TaskOwner::Worker(number), worker.run());
    }
    for _ in 0..2 {
        world.spawn(TaskOwner::Environment, run_sweeps(cluster.clone()));
    }
    world.spawn(TaskOwner::Environment, run_approver(cluster.clone()));
    if rng.u32(..5) == 0 {
        world.spawn(TaskOwner::Environment, run_git_provider(cluster.clone(), begin + FAULT_PERIOD_MS));
    }
    world.spawn(TaskOwner::Environment, inject_faults(cluster.clone(), cuts, begin + FAULT_PERIOD_MS));
    world.spawn(TaskOwner::Environment, watch(cluster, begin + FAULT_PERIOD_MS));
    world.run(begin + FAULT_PERIOD_MS + MAX_RUN_MS + CALM_PERIOD_MS);
    let executions = auditor.ended_executions();
    let (_, _, broken, _) = world.outcome();
    if broken.is_none() {
        // Calls of the shared stores do not wait.
        let verdict = auditor.check_end(&shared);
        if futures_util::FutureExt::now_or_never(verdict).is_none() {
            world.record_violation("the final checks did not finish".into());
        }
        if !shared.queue.is_empty() {
            world.record_violation(format!("{} messages are in the queue at the end", shared.queue.len()));
        }
    }
    let (hash, events, broken, last) = world.outcome();
    Outcome { hash, events, executions, violation: broken.map(|message| (message, last)) }
}

/// Ends the run after faults have stopped, when every execution has ended and the queue is empty.
async fn watch(cluster: Arc<Cluster>, quiet_at: i64) {
    let world = cluster.world().clone();
    let (mut wait_ms, mut seen) = (2_000, 0);
    loop {
        world.sleep(wait_ms).await;
        let commits = cluster.auditor.commits();
        let is_unchanged = commits == seen && world.now() > quiet_at;
        wait_ms = if is_unchanged { MAX_WAIT_MS.min(wait_ms * 2) } else { 2_000 };
        seen = commits;
        let live = cluster.stores.records.live_executions(None, 1).await;
        let idle = live.is_ok_and(|live| live.is_empty()) && cluster.stores.queue.is_empty();
        // By then no client has requests left.
        if idle && world.now() > quiet_at + 60_000 && !cluster.git_server.is_busy() {
            return world.stop();
        }
        // An execution has not ended in time.
        if world.now() > quiet_at.max(cluster.auditor.last_change_at()) + CALM_PERIOD_MS {
            return world.stop();
        }
    }
}
