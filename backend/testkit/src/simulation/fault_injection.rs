//! Periodic sweeps, and faults of servers, workers and the queue.

use super::{
    clients::MAX_WAIT_MS,
    cluster::{Cluster, LEASE_MS, SERVERS},
    pipelines::labels_of,
    worker::{VISIBILITY_TIMEOUT_MS, WORKERS, Worker},
    world::TaskOwner,
};
use futures_util::FutureExt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_core::{ids::JobId, time::Timestamp};
use tidemill_services::ports::JobQueue;

/// Average time between sweeps, in milliseconds.
const SWEEP_INTERVAL_MS: u64 = 20_000;

/// Runs sweeps and schedules on random servers, possibly concurrently. After faults have stopped and while nothing changes, it waits
/// until something is due.
pub async fn run_sweeps(cluster: Arc<Cluster>) {
    let world = cluster.world().clone();
    let (mut idle, mut seen) = (SWEEP_INTERVAL_MS, 0);
    loop {
        let mut wait_ms = SWEEP_INTERVAL_MS / 2 + world.random_below(SWEEP_INTERVAL_MS);
        let commits = cluster.auditor.commits();
        if commits == seen && cluster.stores.quiet.load(Ordering::Relaxed) {
            idle = MAX_WAIT_MS.min(idle * 2);
            wait_ms = wait_ms.max(idle.min(due_in(&cluster).await));
        } else {
            idle = SWEEP_INTERVAL_MS;
        }
        seen = commits;
        world.sleep(wait_ms).await;
        drop(cluster.call(|server| async move { server.sweep.run().await }.boxed()).await);
        drop(cluster.call(|server| async move { server.schedules.run().await }.boxed()).await);
        drop(cluster.call(|server| async move { server.follow_ups.run().await }.boxed()).await);
    }
}

/// Returns the milliseconds until a node or a schedule is due.
async fn due_in(cluster: &Cluster) -> u64 {
    let (now, end_of_time) = (Timestamp(cluster.world().now()), Timestamp(i64::MAX));
    let due_nodes = cluster.stores.records.due_nodes(end_of_time, 1).await.unwrap_or_default();
    let schedules = cluster.stores.documents.due("schedule", end_of_time, 1).await.unwrap_or_default();
    let next =
        due_nodes.iter().map(|node| node.due_at).chain(schedules.iter().filter_map(|one| one.due_at)).min();
    next.map_or(u64::MAX, |at| at.since_ms(now))
}

/// Injects faults of servers, workers and the queue each second until `until`.
pub async fn inject_faults(cluster: Arc<Cluster>, cuts: Vec<Arc<AtomicBool>>, until: i64) {
    let (world, shared) = (cluster.world().clone(), cluster.stores.clone());
    let chances = shared.chances;
    while world.now() < until {
        world.sleep(1_000).await;
        for ix in 0..SERVERS {
            if cluster.server(ix).is_some() && shared.inject(chances.server_dies, "server died") {
                cluster.crash(ix);
            }
        }
        for (number, cut) in cuts.iter().enumerate() {
            if shared.inject(chances.worker_dies, "worker died") {
                world.kill(TaskOwner::Worker(number));
                let (cluster, cut) = (cluster.clone(), cut.clone());
                let wait_ms = world.random_below(5_000);
                world.spawn(TaskOwner::Environment, async move {
                    cluster.world().sleep(wait_ms).await;
                    let worker = Worker { cluster: cluster.clone(), number, disconnected: cut };
                    cluster.world().spawn(TaskOwner::Worker(number), worker.run());
                });
            }
            if shared.inject(chances.cut, "worker cut off") {
                cut.store(true, Ordering::Relaxed);
                let (world, cut, wait_ms) = (world.clone(), cut.clone(), world.random_below(3 * LEASE_MS));
                let later = world.clone();
                world.spawn(TaskOwner::Environment, async move {
                    later.sleep(wait_ms).await;
                    cut.store(false, Ordering::Relaxed);
                });
            }
        }
        if shared.inject(chances.redelivery, "messages visible again") {
            shared.queue.make_all_visible();
        }
        if shared.inject(chances.give_up, "message sent to dead-letter queue")
            && let Ok(Some(message)) = shared
                .queue
                .receive(None, &labels_of(WORKERS - 1), VISIBILITY_TIMEOUT_MS, Duration::ZERO)
                .await
        {
            let job = JobId::of(message.node.execution, message.node.ix);
            let caller = cluster.clone();
            world.spawn(TaskOwner::Environment, async move {
                drop(
                    caller
                        .call(|server| async move { server.jobs.end_undeliverable(job).await }.boxed())
                        .await,
                );
            });
        }
        if shared.inject(chances.queue_loss, "queue lost all messages") {
            shared.queue.clear();
        }
    }
    world.record_event(format_args!("faults have stopped"));
    shared.quiet.store(true, Ordering::Relaxed);
    cluster.auditor.faults_stopped();
    for cut in cuts {
        cut.store(false, Ordering::Relaxed);
    }
}
