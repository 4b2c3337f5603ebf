//! Measures the embedded stores on the disk of the current directory: `cargo run --release -p tidemill-sqlite --example stores`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use std::{sync::Arc, time::Instant};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::labels::Labels;
use tidemill_services::ports::{JobQueue, MessageContext, NodeKey, QueuedJob, Records, Write};
use tidemill_testkit::conformance::samples::{
    START, commit_writes, create_write, execution_id, independent_jobs, job_id, job_state, read_node, repo,
    spec,
};

const CONCURRENT_CALLERS: u32 = 4;

/// Records the three transitions of one job: queued, running, and ended with an arrival at the end node.
async fn run_job(records: &dyn Records, execution: ExecutionId, ix: u32, jobs: u32) {
    let key = NodeKey { execution, ix };
    let mut if_version = read_node(records, key).await.version;
    for (status, due) in [(JobStatus::Queued, 30_000), (JobStatus::Running, 60_000), (JobStatus::Success, 0)]
    {
        let due_at = (due > 0).then(|| START.plus_ms(due));
        let mut writes = vec![Write::PutNode { key, if_version, state: job_state(status), due_at }];
        if due == 0 {
            let end = NodeKey { execution, ix: jobs };
            writes.push(Write::Arrive {
                key: end,
                ok: true,
                from: String::new(),
                now: START,
                continuation: None,
            });
        }
        commit_writes(records, writes).await;
        if_version += 1;
    }
}

async fn measure_transitions(records: &Arc<dyn Records>, jobs: u32) {
    for callers in [CONCURRENT_CALLERS, 32] {
        let id = execution_id();
        let spec = spec(id, &repo(), "a", jobs);
        let started = Instant::now();
        commit_writes(&**records, vec![create_write(spec, independent_jobs(jobs))]).await;
        println!("create, {jobs} jobs: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        let tasks = (0..callers).map(|first| {
            let records = Arc::clone(records);
            tokio::spawn(async move {
                for ix in (first..jobs).step_by(callers as usize) {
                    run_job(&*records, id, ix, jobs).await;
                }
            })
        });
        join_all(tasks).await.into_iter().for_each(Result::unwrap);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{jobs} jobs, {callers} callers: {:.0} transitions/s, {:.0} us a job",
            f64::from(jobs * 3) / seconds,
            seconds * 1e6 / f64::from(jobs)
        );
    }
}

async fn measure_queue(queue: &Arc<dyn JobQueue>, count: u32) {
    let execution = execution_id();
    let keys: Vec<_> = (0..count).map(|ix| QueuedJob::immediate(NodeKey { execution, ix })).collect();
    let started = Instant::now();
    queue.send(&keys, MessageContext::default()).await.unwrap();
    println!("send, {count} messages: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    let tasks = (0..CONCURRENT_CALLERS).map(|_| {
        let queue = Arc::clone(queue);
        tokio::spawn(async move {
            while let Some(message) = queue
                .receive(Some(execution), &Labels::new(), 60_000, std::time::Duration::ZERO)
                .await
                .unwrap()
            {
                queue.delete(&message).await.unwrap();
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(Result::unwrap);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "receive and delete, {CONCURRENT_CALLERS} callers: {:.0} messages/s",
        f64::from(count) / seconds
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let stores = tidemill_sqlite::open(directory.path()).unwrap();
    for jobs in [1_000, 10_000] {
        measure_transitions(&stores.records, jobs).await;
    }
    measure_queue(&stores.queue, 5_000).await;

    let chunk = Bytes::from(vec![7_u8; 64 * 1024]);
    for run in 0..3 {
        let bytes = stream::iter(vec![chunk.clone(); 1_600]).map(Ok).boxed();
        let started = Instant::now();
        let info = stores.objects.put(&format!("run-{run}"), bytes).await.unwrap();
        let put = started.elapsed();
        let started = Instant::now();
        let read: Vec<Bytes> =
            stores.objects.get(&format!("run-{run}")).await.unwrap().try_collect().await.unwrap();
        assert_eq!(read.iter().map(Bytes::len).sum::<usize>() as u64, info.size);
        println!(
            "object of {} MB: put {:.0} ms, get {:.0} ms",
            info.size / 1_000_000,
            put.as_secs_f64() * 1e3,
            started.elapsed().as_secs_f64() * 1e3
        );
    }

    for chunk in [64 << 10, 1 << 20] {
        let (job, bytes) = (job_id(), vec![b'x'; chunk]);
        let started = Instant::now();
        let mut stored = 0;
        while stored < 150 << 20 {
            stored = stores.logs.append(job, 1, stored, &bytes).await.unwrap();
        }
        println!(
            "log of 150 MiB in appends of {} KiB: {:.0} ms",
            chunk >> 10,
            started.elapsed().as_secs_f64() * 1e3
        );
    }
}
