//! Sample records.

use indexmap::IndexMap;
use tidemill_core::execution::{
    assignment::Source,
    retry::RetryFor,
    status::{ExecutionStatus, JobStatus},
    transition::JobState,
};
use tidemill_core::{
    api::{ArtifactEncoding, ArtifactFile, Trigger},
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::ports::{
    ArtifactRecord, Commit, CommitResult, ExecutionSpec, ExecutionState, ExecutionTask, JobRecord, NewNode,
    Node, NodeBody, NodeKey, NodeSpec, NodeState, Records, Write,
};
use uuid::Uuid;

/// The creation time of the samples.
pub const START: Timestamp = Timestamp(1_780_000_000_000);

/// Creates an execution id; later ones are greater.
#[must_use]
pub fn execution_id() -> ExecutionId {
    ExecutionId(Uuid::now_v7())
}

/// Creates a job id.
#[must_use]
pub fn job_id() -> JobId {
    JobId(Uuid::now_v7())
}

/// Creates a unique repository.
#[must_use]
pub fn repo() -> String {
    format!("https://git.example/{}", Uuid::now_v7())
}

/// Creates an execution's spec with this many jobs.
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
        started_by: None,
        retry_of: None,
        created_at: START,
        jobs,
        end_node: jobs,
        approved: Vec::new(),
        approvals: Vec::new(),
        demands: Vec::new(),
        plan_digest: String::new(),
        held: false,
        group: None,
        deadline: None,
        carried: vec![(0, job_id())],
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        parent: None,
    }
}

/// Creates an execution's state with this status.
#[must_use]
pub fn state(status: ExecutionStatus) -> ExecutionState {
    ExecutionState {
        status,
        start_time: None,
        end_time: status.is_terminal().then_some(START),
        cancel_requested: false,
        unplanned: false,
        approved_at: None,
        superseded_by: None,
        timed_out: false,
        followed_by: None,
        retention: tidemill_core::retention::decision::RetentionState::default(),
    }
}

/// Creates a job's state with this status.
#[must_use]
pub fn job_state(status: JobStatus) -> NodeState {
    let item = JobRecord {
        job: JobState { status, ..JobState::default() },
        log_bytes: 0,
        carried_from: None,
        carried_attempt: 0,
        child: None,
        watched_until: None,
    };
    NodeState { notified: 0, body: NodeBody::Job(Box::new(item)), approvals: Vec::new() }
}

/// Creates a job's node.
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
            start_in_s: None,
            allow_exit_codes: Vec::new(),
            optional: false,
            closing: None,
            deploys: false,
            concurrency: None,
            child_gate: None,
            child_of: None,
            decided_by: None,
            stage_gate: None,
        },
        state: job_state(status),
        waits_for,
        failed: 0,
        due_at: None,
        described: None,
    }
}

/// Creates a gate or an end node.
#[must_use]
pub fn node_without_job(body: NodeBody, waits_for: u32, links: Vec<u32>) -> NewNode {
    NewNode {
        spec: NodeSpec {
            name: String::new(),
            job: None,
            allow_failure: false,
            retry: 0,
            retry_for: RetryFor::default(),
            links,
            when: tidemill_core::pipeline::When::default(),
            start_in_s: None,
            allow_exit_codes: Vec::new(),
            optional: false,
            closing: None,
            deploys: false,
            concurrency: None,
            child_gate: None,
            child_of: None,
            decided_by: None,
            stage_gate: None,
        },
        state: NodeState { notified: 0, body, approvals: Vec::new() },
        waits_for,
        failed: 0,
        due_at: None,
        described: None,
    }
}

/// Creates independent jobs and an end node.
#[must_use]
pub fn independent_jobs(jobs: u32) -> Vec<NewNode> {
    let mut nodes: Vec<NewNode> =
        (0..jobs).map(|ix| job(&format!("job-{ix}"), JobStatus::Pending, 0, vec![jobs])).collect();
    nodes.push(node_without_job(NodeBody::End, jobs, Vec::new()));
    nodes
}

/// Creates an artifact of a job; `sequence` distinguishes several.
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
        name: None,
        expose_as: Some("a report".to_owned()),
        encoding: ArtifactEncoding::Zstd,
        unpacked_size: 4_000,
        image: None,
        files: vec![ArtifactFile { path: "out/ä".to_owned(), size: 3 }],
        expires_at,
    }
}

/// Creates the write of a pending execution.
#[must_use]
pub fn create_write(spec: ExecutionSpec, nodes: Vec<NewNode>) -> Write {
    let nodes = (0..).zip(with_job_ids(spec.id, nodes)).collect();
    Write::Create { spec: Box::new(spec), state: state(ExecutionStatus::Pending), nodes }
}

/// Sets the ids that the nodes' jobs have in `execution`.
#[must_use]
pub fn with_job_ids(execution: ExecutionId, mut nodes: Vec<NewNode>) -> Vec<NewNode> {
    for (ix, node) in (0..).zip(&mut nodes) {
        if node.spec.job.is_some() {
            node.spec.job = Some(JobId::of(execution, ix));
        }
    }
    nodes
}

/// Commits writes that must not conflict.
pub async fn commit_writes(records: &dyn Records, writes: Vec<Write>) -> CommitResult {
    match records.commit(writes).await.unwrap() {
        Commit::Done(result) => result,
        Commit::Conflict => panic!("an unexpected conflict"),
    }
}

/// Commits writes that must conflict.
pub async fn assert_conflict(records: &dyn Records, writes: Vec<Write>) {
    assert_eq!(records.commit(writes).await.unwrap(), Commit::Conflict);
}

/// Creates an execution with these nodes in a new repository.
pub async fn create_execution(records: &dyn Records, nodes: Vec<NewNode>) -> ExecutionId {
    let id = execution_id();
    let jobs = nodes.iter().filter(|node| node.spec.job.is_some()).count();
    let spec = spec(id, &repo(), "build", u32::try_from(jobs).unwrap());
    commit_writes(records, vec![create_write(spec, nodes)]).await;
    id
}

/// Returns an existing node.
pub async fn read_node(records: &dyn Records, key: NodeKey) -> Node {
    records.nodes(key.execution, &[key.ix]).await.unwrap().pop().expect("a node")
}
