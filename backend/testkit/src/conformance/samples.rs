//! Records to write.

use indexmap::IndexMap;
use tidemill_core::execution::{
    assignment::Source,
    retry::RetryFor,
    status::{ExecutionStatus, JobStatus},
    transition::JobState,
};
use tidemill_core::{
    api::{ArtifactFile, Trigger},
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{
    ArtifactRecord, Commit, CommitResult, ExecutionSpec, ExecutionState, ExecutionTask, JobRecord, NewNode,
    Node, NodeBody, NodeKey, NodeSpec, NodeState, Records, Write,
};
use uuid::Uuid;

/// Where the samples' time begins.
pub const START: Timestamp = Timestamp(1_780_000_000_000);

/// A new execution's id; later ones are greater.
#[must_use]
pub fn execution_id() -> ExecutionId {
    ExecutionId(Uuid::now_v7())
}

/// A new job's id.
#[must_use]
pub fn job_id() -> JobId {
    JobId(Uuid::now_v7())
}

/// A repository that nothing else uses.
#[must_use]
pub fn repo() -> String {
    format!("https://git.example/{}", Uuid::now_v7())
}

/// An execution's spec with this many jobs.
#[must_use]
pub fn spec(id: ExecutionId, repo: &str, pipeline: &str, jobs: u32) -> ExecutionSpec {
    ExecutionSpec {
        id,
        pipeline_name: pipeline.to_owned(),
        repo: repo.to_owned(),
        branch: Some("main".to_owned()),
        commit: Some("0123abcd".to_owned()),
        source: Source::None,
        stages: vec!["build".to_owned()],
        task: ExecutionTask::RunPipeline { file: "name: ünïcode \u{1f30a}\n".to_owned() },
        variables: IndexMap::from([("B".to_owned(), "2".to_owned()), ("A".to_owned(), "1".to_owned())]),

        facts: tidemill_core::execution::facts::Facts::default(),
        trigger: Trigger::Manual,
        requested_by: Some("ann".to_owned()),
        retry_of: None,
        created_at: START,
        jobs,
        end_node: jobs,
        approvals: Vec::new(),
        demands: Vec::new(),
        plan_digest: String::new(),
        held: false,
        group: None,
        deadline: None,
        carried: vec![(0, job_id())],
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

/// An execution's state with this status.
#[must_use]
pub fn state(status: ExecutionStatus) -> ExecutionState {
    ExecutionState {
        status,
        start_time: None,
        end_time: status.is_terminal().then_some(START),
        cancel_requested: false,
        unplanned: false,
        superseded_by: None,
        timed_out: false,
        followed_by: None,
    }
}

/// A job's state with this status.
#[must_use]
pub fn job_state(status: JobStatus) -> NodeState {
    let item = JobRecord {
        job: JobState { status, ..JobState::default() },
        log_bytes: 0,
        carried_from: None,
        carried_attempt: 0,
    };
    NodeState { notified: 0, body: NodeBody::Job(Box::new(item)) }
}

/// A job to record.
#[must_use]
pub fn job(name: &str, status: JobStatus, waits_for: u32, links: Vec<u32>) -> NewNode {
    let id = job_id();
    NewNode {
        spec: NodeSpec {
            name: name.to_owned(),
            job: Some(id),
            allow_failure: false,
            retry: 2,
            retry_for: RetryFor::default(),
            links,
            when: tidemill_core::pipeline::When::default(),
            allow_exit_codes: Vec::new(),
            optional: false,
            closing: None,
        },
        state: job_state(status),
        waits_for,
        failed: 0,
        due_at: None,
    }
}

/// A gate or an end to record.
#[must_use]
pub fn silent(body: NodeBody, waits_for: u32, links: Vec<u32>) -> NewNode {
    NewNode {
        spec: NodeSpec {
            name: String::new(),
            job: None,
            allow_failure: false,
            retry: 0,
            retry_for: RetryFor::default(),
            links,
            when: tidemill_core::pipeline::When::default(),
            allow_exit_codes: Vec::new(),
            optional: false,
            closing: None,
        },
        state: NodeState { notified: 0, body },
        waits_for,
        failed: 0,
        due_at: None,
    }
}

/// Jobs that each only tell the end.
#[must_use]
pub fn flat(jobs: u32) -> Vec<NewNode> {
    let mut nodes: Vec<NewNode> =
        (0..jobs).map(|ix| job(&format!("job-{ix}"), JobStatus::Pending, 0, vec![jobs])).collect();
    nodes.push(silent(NodeBody::End, jobs, Vec::new()));
    nodes
}

/// An artifact of a job, one of several that `sequence` tells apart.
#[must_use]
pub fn artifact(key: NodeKey, sequence: u32, expires_at: Option<Timestamp>) -> ArtifactRecord {
    ArtifactRecord {
        id: ArtifactId::of(key.execution, key.ix, 1, sequence),
        execution: key.execution,
        ix: key.ix,
        job: JobId::of(key.execution, key.ix),
        attempt: 1,
        job_name: "job".to_owned(),
        file_path: "out/*".to_owned(),
        uploaded_at: START,
        size: 3,
        sha256: "00".repeat(32),
        encoding: "zstd".to_owned(),
        files: vec![ArtifactFile { path: "out/ä".to_owned(), size: 3 }],
        expires_at,
    }
}

/// A write that creates a pending execution.
#[must_use]
pub fn create(spec: ExecutionSpec, nodes: Vec<NewNode>) -> Write {
    let nodes = (0..).zip(placed(spec.id, nodes)).collect();
    Write::Create { spec: Box::new(spec), state: state(ExecutionStatus::Pending), nodes }
}

/// The nodes with the ids that their jobs have in `execution`.
#[must_use]
pub fn placed(execution: ExecutionId, mut nodes: Vec<NewNode>) -> Vec<NewNode> {
    for (ix, node) in (0..).zip(&mut nodes) {
        if node.spec.job.is_some() {
            node.spec.job = Some(JobId::of(execution, ix));
        }
    }
    nodes
}

/// Commits what must not conflict.
pub async fn done(records: &dyn Records, writes: Vec<Write>) -> CommitResult {
    match records.commit(writes).await.unwrap() {
        Commit::Done(done) => done,
        Commit::Conflict => panic!("an unexpected conflict"),
    }
}

/// Commits what must conflict.
pub async fn conflict(records: &dyn Records, writes: Vec<Write>) {
    assert_eq!(records.commit(writes).await.unwrap(), Commit::Conflict);
}

/// Records an execution of these nodes in a repository of its own.
pub async fn made(records: &dyn Records, nodes: Vec<NewNode>) -> ExecutionId {
    let id = execution_id();
    let jobs = nodes.iter().filter(|node| node.spec.job.is_some()).count();
    let spec = spec(id, &repo(), "build", u32::try_from(jobs).unwrap());
    done(records, vec![create(spec, nodes)]).await;
    id
}

/// A node that is there.
pub async fn node(records: &dyn Records, key: NodeKey) -> Node {
    records.nodes(key.execution, &[key.ix]).await.unwrap().pop().expect("a node")
}
