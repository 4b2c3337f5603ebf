//! Machines of workers follow the jobs, and what is sent to the queue.

use super::server::Server;
use async_trait::async_trait;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tidemill_core::api::{WorkerInfo, WorkerReport};
use tidemill_core::ids::{ExecutionId, WorkerId};
use tidemill_core::pipeline::labels::{Labels, parse, route};
use tidemill_core::scheduler::FleetLimits;
use tidemill_services::ports::{
    JobQueue, Message, MessageContext, NodeKey, QueuedJob, WorkerGroup, WorkerPool, message_group,
};
use tidemill_services::{Result, Settings};
use tidemill_testkit::{
    conformance::ManualClock,
    memory::{self, GroupCall, MemoryQueue, MemoryWorkerGroup},
};
use uuid::Uuid;

const MINUTE_MS: i64 = 60_000;

/// The labels of the queues. The machines of the first two are the deployment's; an operator starts the workers of the last.
const QUEUES: [&str; 3] = ["", "gpu=true,size=large", "gpu=true"];

/// A queue that records what is sent to it.
struct RecordedQueue {
    queue: MemoryQueue,
    sent: Mutex<Vec<(NodeKey, String)>>,
}

#[async_trait]
impl JobQueue for RecordedQueue {
    async fn send(&self, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()> {
        let sent = messages.iter().map(|message| (message.node, context.group.to_owned()));
        self.sent.lock().unwrap().extend(sent);
        self.queue.send(messages, context).await
    }

    fn route(&self, labels: &Labels) -> Option<Labels> {
        let queues: Vec<Labels> = QUEUES.iter().map(|labels| parse(labels).unwrap()).collect();
        route(labels, &queues).cloned()
    }

    async fn receive(
        &self,
        execution: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
        wait: Duration,
    ) -> Result<Option<Message>> {
        self.queue.receive(execution, labels, hide_ms, wait).await
    }

    async fn delete(&self, message: &Message) -> Result<()> {
        self.queue.delete(message).await
    }

    async fn give_back(&self, message: &Message) -> Result<()> {
        self.queue.give_back(message).await
    }
}

/// A server with a group of machines, whose clock stands still.
struct ScaledServer {
    server: Server,
    clock: Arc<ManualClock>,
    group: Arc<MemoryWorkerGroup>,
    /// The machines for jobs that require a large GPU.
    large: Arc<MemoryWorkerGroup>,
    queue: Arc<RecordedQueue>,
}

impl ScaledServer {
    fn start(limits: FleetLimits) -> Self {
        Self::start_with(limits, Settings::default())
    }

    fn start_with(limits: FleetLimits, settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::default());
        let queue =
            Arc::new(RecordedQueue { queue: MemoryQueue::new(clock.clone()), sent: Mutex::default() });
        let mut stores = memory::open(clock.clone());
        stores.queue = queue.clone();
        let server = Server::start_over(stores, settings);
        let group = Arc::new(MemoryWorkerGroup::default());
        let large = Arc::new(MemoryWorkerGroup::with_fallback());
        let pool = |(group, labels): (Arc<MemoryWorkerGroup>, &str)| {
            let group: Arc<dyn WorkerGroup> = group;
            WorkerPool { labels: parse(labels).unwrap(), group, limits }
        };
        server.services.scale_on([group.clone(), large.clone()].into_iter().zip(QUEUES).map(pool).collect());
        Self { server, clock, group, large, queue }
    }

    async fn execute(&self, pipeline: &str) -> String {
        let (status, reply) = self.server.execute(pipeline).await;
        assert_eq!(status, StatusCode::CREATED, "{reply}");
        reply["execution_id"].as_str().unwrap().to_owned()
    }

    async fn claim(&self, machine: &str) -> Option<Value> {
        let worker = json!({ "id": Uuid::now_v7(), "name": machine });
        let (status, reply) = self
            .server
            .post("/api/job/execute", json!({ "worker": worker, "lookahead": 0, "wait_ms": 0 }))
            .await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        (reply["kind"] == "assigned").then(|| reply["assignment"].clone())
    }

    /// Decides about the machines, and returns the changes.
    async fn scale(&self) -> Vec<GroupCall> {
        self.group.take_calls();
        self.server.services.scaling.run().await.unwrap();
        self.group.take_changes()
    }

    fn sent(&self) -> Vec<(NodeKey, String)> {
        self.queue.sent.lock().unwrap().clone()
    }
}

const fn limits(slots: u32) -> FleetLimits {
    FleetLimits { slots, min: 0, max: 10 }
}

/// Returns a pipeline of independent jobs.
fn jobs(name: &str, number: usize) -> String {
    let head = format!("name: {name}\njobs:\n");
    (0..number).fold(head, |text, ix| text + &format!("  job-{ix}: {{ image: i, script: [a] }}\n"))
}

fn report(machine: &str, id: WorkerId) -> WorkerReport {
    WorkerReport {
        worker: WorkerInfo { id, name: machine.to_owned() },
        labels: Labels::new(),
        version: "1".to_owned(),
        slots: 1,
        disk: None,
        running: Vec::new(),
        draining: false,
        stopped: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_job_requests_a_machine_at_once() {
    let scaled = ScaledServer::start(limits(2));
    scaled.execute(&jobs("one", 1)).await;
    assert_eq!(scaled.group.take_calls(), [GroupCall::State, GroupCall::SetDesired(1)]);
    // Its machine has a slot for the next one, too.
    scaled.execute(&jobs("two", 1)).await;
    assert_eq!(scaled.group.take_changes(), []);
    scaled.execute(&jobs("three", 5)).await;
    assert_eq!(scaled.group.take_changes(), [GroupCall::SetDesired(4)]);
}

/// A job requests machines of the pool whose queue it goes to: that with exactly its labels, or else one with more.
#[tokio::test(flavor = "multi_thread")]
async fn job_requests_a_machine_of_the_pool_with_its_labels() {
    let scaled = ScaledServer::start(limits(1));
    let job =
        |labels: &str| format!("name: p\njobs:\n  a: {{ image: i, script: [a], runs_on: {{ {labels} }} }}\n");
    let requested = |group: &MemoryWorkerGroup| -> u32 {
        group.take_changes().iter().map(|call| if let GroupCall::SetDesired(n) = call { *n } else { 0 }).sum()
    };
    for (labels, plain, large) in
        [("size: large", 0, 1), ("gpu: true", 0, 0), ("gpu: true, size: large", 0, 2)]
    {
        scaled.execute(&job(labels)).await;
        assert_eq!((requested(&scaled.group), requested(&scaled.large)), (plain, large), "{labels}");
    }
    scaled.execute(&jobs("plain", 1)).await;
    assert_eq!((requested(&scaled.group), requested(&scaled.large)), (1, 0));
    let (status, reply) = scaled.server.execute(&job("size: small")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{reply}");

    // Each pool is decided for itself, and the list of workers has the machines of both.
    for group in [&scaled.group, &scaled.large] {
        group.start_machines();
    }
    assert_eq!(scaled.scale().await, []);
    assert_eq!(requested(&scaled.large), 0);
    assert_eq!(scaled.server.get("/api/workers").await["fleet"]["machines"], 3);
}

/// Spot instances that do not come are requested on demand, and for a while more of them as well.
#[tokio::test(flavor = "multi_thread")]
async fn missing_spot_instances_are_requested_on_demand() {
    let scaled = ScaledServer::start(limits(1));
    let large = |jobs: usize| {
        let head = format!("name: {jobs}\ndefaults: {{ runs_on: {{ size: large }} }}\njobs:\n");
        (0..jobs).fold(head, |text, ix| text + &format!("  job-{ix}: {{ image: i, script: [a] }}\n"))
    };
    scaled.execute(&large(3)).await;
    assert_eq!(scaled.large.take_changes(), [GroupCall::SetDesired(3)]);
    for _ in 0..2 {
        scaled.scale().await;
        assert_eq!(scaled.large.take_changes(), []);
        scaled.clock.advance(MINUTE_MS);
    }
    scaled.scale().await;
    assert_eq!(scaled.large.take_changes(), [GroupCall::SetDesired(0), GroupCall::SetFallback(3)]);
    scaled.execute(&large(4)).await;
    assert_eq!(scaled.large.take_changes(), [GroupCall::SetFallback(7)]);
    // After a quarter of an hour it tries spot instances again.
    scaled.clock.advance(16 * MINUTE_MS);
    scaled.execute(&large(2)).await;
    assert_eq!(scaled.large.take_changes(), [GroupCall::SetDesired(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_executions_makes_few_requests() {
    let scaled = ScaledServer::start(limits(2));
    for number in 0..100 {
        scaled.execute(&jobs(&format!("p{number}"), 10)).await;
    }
    let calls = scaled.group.take_calls();
    assert!(calls.len() <= 10, "{calls:?}");
    let changes: Vec<GroupCall> = calls.into_iter().filter(|call| *call != GroupCall::State).collect();
    assert_eq!(changes, [GroupCall::SetDesired(5), GroupCall::SetDesired(10)]);
    assert_eq!(scaled.scale().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn resent_messages_request_no_more_machines() {
    let scaled = ScaledServer::start(limits(2));
    scaled.execute(&jobs("ten", 10)).await;
    assert_eq!(scaled.group.take_changes(), [GroupCall::SetDesired(5)]);
    for _ in 0..3 {
        scaled.clock.advance(2 * MINUTE_MS);
        scaled.server.services.sweep.run().await.unwrap();
        assert_eq!(scaled.scale().await, []);
    }
    assert!(scaled.sent().len() >= 30, "each message was sent again");
}

/// A job that waits for an approval, for its `start_in` or for a worker with labels needs no machine of the group.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_need_no_machine_request_none() {
    let scaled = ScaledServer::start(limits(1));
    scaled
        .execute(
            "
name: waits
jobs:
  manual: { image: i, script: [a], when: manual }
  labels: { image: i, script: [a], runs_on: { gpu: true } }
  later: { image: i, script: [a], start_in: 1h }
",
        )
        .await;
    assert_eq!(scaled.group.take_calls(), []);
    assert_eq!(scaled.scale().await, []);
    scaled.clock.advance(61 * MINUTE_MS);
    assert_eq!(scaled.scale().await, [GroupCall::SetDesired(1)], "for the one whose time has come");
}

/// Stages, `on_failure` and manual jobs have gates, which no worker is asked to run.
#[tokio::test(flavor = "multi_thread")]
async fn only_jobs_are_sent_in_the_group_of_their_repository() {
    let scaled = ScaledServer::start(limits(1));
    let id = scaled
        .execute(
            "
name: gates
stages: [one, two, three]
jobs:
  a: { stage: one, image: i, script: [a] }
  b: { stage: one, image: i, script: [a] }
  c: { stage: two, image: i, script: [a] }
  d: { stage: two, image: i, script: [a] }
  cleanup: { stage: two, image: i, script: [a], when: on_failure }
  approved: { stage: two, image: i, script: [a], when: manual, allow_failure: true }
  e: { stage: three, image: i, script: [a] }
  f: { stage: three, image: i, script: [a], needs: [c] }
",
        )
        .await;
    let mut ran = 0;
    while let Some(assignment) = scaled.claim("w").await {
        scaled.server.finish(&assignment, 0).await;
        ran += 1;
    }
    assert_eq!(ran, 6);
    assert_eq!(scaled.server.view(&id).await["execution"]["status"], "SUCCESS");
    let (execution, group) = (ExecutionId(id.parse().unwrap()), message_group("here"));
    let sent: Vec<NodeKey> = scaled.sent().iter().map(|(node, _)| *node).collect();
    assert_eq!(sent.len(), 6, "one message for each job that ran: {sent:?}");
    assert!(sent.iter().all(|node| node.execution == execution && node.ix < 8), "{sent:?}");
    assert!(scaled.sent().iter().all(|(_, of)| *of == group));
    assert_eq!(group.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_workers_drain_and_end_while_a_job_runs() {
    let settings = Settings { lease_ttl_ms: 3_600_000, ..Settings::default() };
    let scaled = ScaledServer::start_with(limits(1), settings);
    scaled.execute(&jobs("three", 3)).await;
    let machines = scaled.group.start_machines();
    assert_eq!(machines.len(), 3);
    let workers: Vec<WorkerReport> =
        machines.iter().map(|machine| report(machine, WorkerId(Uuid::now_v7()))).collect();
    let mut running = Vec::new();
    for worker in &workers {
        assert!(!scaled.server.services.workers.report(worker.clone()).await.unwrap().drain);
        running.push(scaled.claim(&worker.worker.name).await.unwrap());
    }
    scaled.clock.advance(MINUTE_MS);
    assert_eq!(scaled.scale().await, [], "all are busy");
    for assignment in &running[..2] {
        scaled.server.finish(assignment, 0).await;
    }
    // The workers report once a minute, and stop when they were asked to drain and have no job.
    let mut stopped = [false; 3];
    let mut removed = Vec::new();
    for _ in 0..10 {
        for (worker, stopped) in workers.iter().zip(&mut stopped) {
            let report = |more: bool| WorkerReport { draining: more, stopped: more, ..worker.clone() };
            if !*stopped && scaled.server.services.workers.report(report(false)).await.unwrap().drain {
                scaled.server.services.workers.report(report(true)).await.unwrap();
                *stopped = true;
            }
        }
        removed.extend(scaled.scale().await);
        scaled.clock.advance(MINUTE_MS);
    }
    assert_eq!(stopped, [true, true, false]);
    removed.sort_by_key(|call| format!("{call:?}"));
    let remove = |ix: usize| GroupCall::Remove(machines[ix].clone(), false);
    assert_eq!(removed, [remove(0), remove(1)]);
    scaled.server.finish(&running[2], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_whose_worker_never_reports_is_replaced_and_listed() {
    let scaled = ScaledServer::start(limits(1));
    scaled.execute(&jobs("one", 1)).await;
    let machine = scaled.group.start_machines().remove(0);
    let mut changes = Vec::new();
    for _ in 0..11 {
        changes.extend(scaled.scale().await);
        scaled.clock.advance(MINUTE_MS);
    }
    assert_eq!(changes, [GroupCall::Remove(machine.clone(), true)]);
    let list = scaled.server.get("/api/workers").await;
    assert_eq!(list["fleet"]["unstarted"][0]["machine"], machine, "{list}");
    // The next one starts.
    let second = scaled.group.start_machines().remove(0);
    assert_ne!(second, machine);
    scaled.server.services.workers.report(report(&second, WorkerId(Uuid::now_v7()))).await.unwrap();
    let assignment = scaled.claim(&second).await.unwrap();
    assert_eq!(scaled.scale().await, []);
    scaled.server.finish(&assignment, 0).await;
}

/// Whatever the queue does with its message, a job of 30 days ends once.
#[tokio::test(flavor = "multi_thread")]
async fn job_of_thirty_days_survives_its_message() {
    const DAY_MS: i64 = 86_400_000;
    let settings = Settings { lease_ttl_ms: 2 * DAY_MS.unsigned_abs(), ..Settings::default() };
    let scaled = ScaledServer::start_with(limits(1), settings);
    let id = scaled.execute(&jobs("long", 1)).await;
    let assignment = scaled.claim("w").await.unwrap();
    let job = scaled.sent()[0].0;
    for _ in 0..30 {
        scaled.clock.advance(DAY_MS);
        // The queue delivers the message again: its visibility timeout has a limit of 12 hours.
        let again = [QueuedJob::immediate(job)];
        scaled.queue.queue.send(&again, MessageContext::default()).await.unwrap();
        assert!(scaled.claim("other").await.is_none(), "the job has a worker");
        let (status, reply) = scaled.server.report(&assignment, json!({})).await;
        assert_eq!((status, &reply["cancel"]), (StatusCode::OK, &json!(false)), "{reply}");
        scaled.server.services.sweep.run().await.unwrap();
    }
    scaled.server.finish(&assignment, 0).await;
    let view = scaled.server.view(&id).await;
    assert_eq!(
        (&view["execution"]["status"], &view["jobs"][0]["attempt"]),
        (&json!("SUCCESS"), &json!(1)),
        "{view}"
    );
}
