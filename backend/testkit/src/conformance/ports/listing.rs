//! Checks of the records' reads.

use crate::conformance::{
    StoresUnderTest,
    samples::{
        START, artifact, commit_writes, create_execution, create_write, execution_id, independent_jobs, job,
        job_state, node_without_job, read_node, repo, spec, state,
    },
};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::ids::{ExecutionId, JobId};
use tidemill_services::Error;
use tidemill_services::ports::{DueNode, ExecutionRecord, ListFilter, NodeBody, NodeKey, Records, Write};

async fn in_repo(records: &dyn Records, repo: &str, pipeline: &str, branch: &str) -> ExecutionId {
    let mut spec = spec(execution_id(), repo, pipeline, 1);
    spec.branch = Some(branch.to_owned());
    let id = spec.id;
    commit_writes(records, vec![create_write(spec, independent_jobs(1))]).await;
    id
}

async fn set_status(records: &dyn Records, id: ExecutionId, status: ExecutionStatus) {
    let if_version = records.execution(id).await.unwrap().unwrap().version;
    commit_writes(records, vec![Write::PutExecution { id, if_version, state: state(status) }]).await;
}

fn ids(found: &[ExecutionRecord]) -> Vec<ExecutionId> {
    found.iter().map(|record| record.spec.id).collect()
}

/// Following the cursor returns each execution once, and marks the last page.
pub async fn pages_are_newest_first_and_complete(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let repo = repo();
    let mut all = Vec::new();
    for _ in 0..9 {
        all.insert(0, in_repo(&*records, &repo, "a", "main").await);
    }
    for page in [2, 3, 9, 200] {
        let mut filter = ListFilter { repo: Some(repo.clone()), limit: Some(page), ..Default::default() };
        let mut listed = Vec::new();
        loop {
            let (executions, more) = records.executions(&filter).await.unwrap();
            assert!(executions.len() <= page as usize);
            listed.extend(ids(&executions));
            if !more {
                break;
            }
            assert_eq!(executions.len(), page as usize);
            // Executions that are created meanwhile are newer, and so not on later pages.
            filter.cursor = executions.last().map(|record| record.spec.id.to_string());
        }
        assert_eq!(listed, all, "pages of {page}");
    }
}

/// Each filter applies alone and in combination.
pub async fn all_filters_apply(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let (one, two, branch) = (repo(), repo(), format!("branch-{}", execution_id()));
    let pipeline = format!("pipeline-{}", execution_id());
    let a = in_repo(&*records, &one, &pipeline, &branch).await;
    let b = in_repo(&*records, &one, &pipeline, "main").await;
    let c = in_repo(&*records, &one, "other", &branch).await;
    let d = in_repo(&*records, &two, &pipeline, &branch).await;
    set_status(&*records, a, ExecutionStatus::Running).await;
    set_status(&*records, b, ExecutionStatus::Failed).await;
    set_status(&*records, d, ExecutionStatus::Failed).await;

    let nothing = ListFilter::default();
    let of_repo = ListFilter { repo: Some(one.clone()), ..nothing.clone() };
    let of_pipeline = ListFilter { pipeline: Some(pipeline.clone()), ..nothing.clone() };
    let status = |status, filter: &ListFilter| ListFilter { status: Some(status), ..filter.clone() };
    let number = |number, filter: &ListFilter| ListFilter { run_number: Some(number), ..filter.clone() };
    let both = ListFilter { repo: Some(one.clone()), ..of_pipeline.clone() };
    let on_branch = |filter: &ListFilter| ListFilter { branch: Some(branch.clone()), ..filter.clone() };
    let cases = [
        (of_repo.clone(), vec![c, b, a]),
        (of_pipeline.clone(), vec![d, b, a]),
        (both.clone(), vec![b, a]),
        (on_branch(&nothing), vec![d, c, a]),
        (on_branch(&both), vec![a]),
        (status(ExecutionStatus::Failed, &of_pipeline), vec![d, b]),
        (status(ExecutionStatus::Running, &of_repo), vec![a]),
        (status(ExecutionStatus::Success, &of_repo), vec![]),
        (status(ExecutionStatus::Failed, &on_branch(&nothing)), vec![d]),
        (number(1, &of_pipeline), vec![d, a]),
        (number(2, &both), vec![b]),
        (number(1, &of_repo), vec![c, a]),
        (number(1, &status(ExecutionStatus::Running, &on_branch(&both))), vec![a]),
        (number(9, &of_repo), vec![]),
    ];
    for (filter, expected) in cases {
        let (executions, more) = records.executions(&filter).await.unwrap();
        assert_eq!((ids(&executions), more), (expected, false), "{filter:?}");
    }
    let failed = ListFilter { status: Some(ExecutionStatus::Failed), limit: Some(200), ..nothing };
    let executions = ids(&records.executions(&failed).await.unwrap().0);
    assert!(executions.contains(&b) && executions.contains(&d) && !executions.contains(&a));
}

/// Equivalent addresses name the same repository, in lists and in run numbers.
pub async fn repository_addresses_are_normalized(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let name = format!("git.example.org/{}", execution_id());
    let (https, ssh) = (format!("https://{name}.git"), format!("ssh://git@{name}"));
    let pipeline = format!("pipeline-{}", execution_id());
    let a = in_repo(&*records, &https, &pipeline, "main").await;
    let b = in_repo(&*records, &ssh, &pipeline, "main").await;
    in_repo(&*records, &format!("{https}x"), &pipeline, "main").await;
    for repo in [&https, &ssh, &name] {
        let in_it = ListFilter { repo: Some(repo.clone()), ..ListFilter::default() };
        let of_pipeline = ListFilter { pipeline: Some(pipeline.clone()), ..in_it.clone() };
        for filter in [in_it, of_pipeline] {
            let (executions, more) = records.executions(&filter).await.unwrap();
            assert_eq!((ids(&executions), more), (vec![b, a], false), "{filter:?}");
            assert_eq!(executions.iter().map(|record| record.run_number).collect::<Vec<_>>(), [2, 1]);
        }
    }
}

/// An invalid cursor is an error, not the first page.
pub async fn invalid_cursor_returns_validation_error(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let filter = ListFilter { cursor: Some("x' OR 1".to_owned()), ..Default::default() };
    assert!(matches!(records.executions(&filter).await, Err(Error::Invalid(_))));
}

/// Unfinished executions are listed oldest first, after a cursor.
pub async fn live_lists_unfinished_executions(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(create_execution(&*records, independent_jobs(1)).await);
    }
    set_status(&*records, all[0], ExecutionStatus::Running).await;
    set_status(&*records, all[1], ExecutionStatus::Success).await;
    set_status(&*records, all[3], ExecutionStatus::Canceled).await;
    let mut live = records.live_executions(None, 10_000).await.unwrap();
    live.retain(|id| all.contains(id));
    assert_eq!(live, [all[0], all[2], all[4]]);
    assert_eq!(records.live_executions(Some(all[0]), 1).await.unwrap(), [all[2]]);
    assert_eq!(records.live_executions(Some(all[2]), 10).await.unwrap()[0], all[4]);
    assert!(!records.live_executions(Some(all[4]), 10).await.unwrap().contains(&all[4]));
}

/// Due nodes are listed in the order of their due time, up to the limit.
pub async fn due_nodes_are_listed_in_order(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    // Long before the due times of other checks in the same store.
    let due = |ms: i64| START.plus_ms(-1_000_000_000_000 + ms);
    let mut nodes = independent_jobs(5);
    for (ix, ms) in [(0, 30), (1, 10), (2, 50), (3, 20)] {
        nodes[ix].due_at = Some(due(ms));
    }
    let execution = create_execution(&*records, nodes).await;
    let late = |ix, ms| DueNode { key: NodeKey { execution, ix }, due_at: due(ms) };
    assert_eq!(records.due_nodes(due(9), 10).await.unwrap(), []);
    assert_eq!(records.due_nodes(due(30), 10).await.unwrap(), [late(1, 10), late(3, 20), late(0, 30)]);
    assert_eq!(records.due_nodes(due(99), 2).await.unwrap(), [late(1, 10), late(3, 20)]);
    for (ix, due_at) in [(1, None), (3, Some(due(60))), (4, Some(due(5)))] {
        let key = NodeKey { execution, ix };
        let if_version = read_node(&*records, key).await.version;
        commit_writes(&*records, vec![Write::SetDue { key, if_version, due_at }]).await;
    }
    let expected = [late(4, 5), late(0, 30), late(2, 50), late(3, 60)];
    assert_eq!(records.due_nodes(due(99), 10).await.unwrap(), expected);
}

/// Postponing keeps the version, and does not change a node that is due at another time or not due.
pub async fn postpone_requires_unchanged_due_time(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let due = |ms: i64| START.plus_ms(-1_000_000_000_000 + ms);
    let mut nodes = independent_jobs(3);
    nodes[0].due_at = Some(due(1));
    nodes[1].due_at = Some(due(2));
    let execution = create_execution(&*records, nodes).await;
    let late = |ix, ms| DueNode { key: NodeKey { execution, ix }, due_at: due(ms) };
    let before = read_node(&*records, late(0, 1).key).await;
    assert!(records.postpone(late(0, 1), due(30)).await.unwrap());
    let after = read_node(&*records, late(0, 1).key).await;
    assert_eq!((after.version, after.due_at, &after.state), (before.version, Some(due(30)), &before.state));
    assert_eq!(records.due_nodes(due(30), 9).await.unwrap(), [late(1, 2), late(0, 30)]);
    for stale in [late(0, 1), late(1, 1), late(2, 2), late(9, 1)] {
        assert!(!records.postpone(stale, due(60)).await.unwrap(), "{stale:?}");
    }
    assert_eq!(records.due_nodes(due(99), 9).await.unwrap(), [late(1, 2), late(0, 30)]);
}

/// Upcoming jobs are the pending and queued ones from an index on.
pub async fn upcoming_jobs_follow_statuses(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let (id, other) = (
        create_execution(&*records, independent_jobs(4)).await,
        create_execution(&*records, independent_jobs(2)).await,
    );
    let put = async |ix, status| {
        let key = NodeKey { execution: id, ix };
        let if_version = read_node(&*records, key).await.version;
        commit_writes(
            &*records,
            vec![Write::PutNode { key, if_version, state: job_state(status), due_at: None }],
        )
        .await;
    };
    assert_eq!(records.upcoming(id, 0, 3).await.unwrap(), [0, 1, 2]);
    put(1, JobStatus::Queued).await;
    assert_eq!(records.upcoming(id, 0, 9).await.unwrap(), [0, 1, 2, 3]);
    put(1, JobStatus::Running).await;
    assert_eq!(records.upcoming(id, 0, 9).await.unwrap(), [0, 2, 3]);
    put(1, JobStatus::Success).await;
    put(0, JobStatus::Skipped).await;
    assert_eq!(records.upcoming(id, 0, 1).await.unwrap(), [2]);
    assert_eq!(records.upcoming(id, 3, 9).await.unwrap(), [3]);
    assert_eq!(records.upcoming(other, 0, 9).await.unwrap(), [0, 1]);
    assert_eq!(records.upcoming(execution_id(), 0, 9).await.unwrap(), Vec::<u32>::new());
}

/// Missing nodes are omitted, and the order is the requested one.
pub async fn nodes_and_specs_are_found_by_index(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let mut nodes: Vec<_> =
        (0..150).map(|ix| job(&format!("j{ix}"), JobStatus::Pending, 0, vec![150])).collect();
    nodes.push(node_without_job(NodeBody::End, 150, Vec::new()));
    let id = create_execution(&*records, nodes).await;
    let indexes =
        |nodes: Vec<tidemill_services::ports::Node>| nodes.iter().map(|node| node.key.ix).collect::<Vec<_>>();
    assert_eq!(indexes(records.nodes(id, &[3, 150, 999, 7]).await.unwrap()), [3, 150, 7]);
    assert_eq!(indexes(records.nodes(id, &[]).await.unwrap()), Vec::<u32>::new());
    let all: Vec<u32> = (0..=150).collect();
    assert_eq!(indexes(records.nodes(id, &all).await.unwrap()), all);
    assert_eq!(records.nodes(execution_id(), &[0]).await.unwrap(), []);
}

/// Artifacts are listed in the order of jobs; a put replaces, and a delete may be repeated.
pub async fn artifacts_are_listed_by_execution_and_job(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let execution = create_execution(&*records, independent_jobs(2)).await;
    let (first, second) = (JobId::of(execution, 0), JobId::of(execution, 1));
    let late = artifact(NodeKey { execution, ix: 1 }, 0, None);
    let mut early = artifact(NodeKey { execution, ix: 0 }, 0, Some(START));
    let put =
        |record: &tidemill_services::ports::ArtifactRecord| Write::PutArtifact(Box::new(record.clone()));
    commit_writes(&*records, vec![put(&late), put(&early)]).await;
    early.size = 99;
    early.expires_at = None;
    commit_writes(&*records, vec![put(&early)]).await;
    assert_eq!(records.artifacts(execution).await.unwrap(), [early.clone(), late.clone()]);
    assert_eq!(records.artifacts_of(first).await.unwrap(), [early.clone()]);
    assert_eq!(records.artifact(late.id).await.unwrap(), Some(late.clone()));
    for _ in 0..2 {
        commit_writes(&*records, vec![Write::DeleteArtifact(late.id)]).await;
        assert_eq!(records.artifact(late.id).await.unwrap(), None);
        assert_eq!(records.artifacts_of(second).await.unwrap(), []);
    }
    assert_eq!(records.artifacts(execution).await.unwrap(), [early]);
}

/// Expired artifacts are listed in the order of expiry, up to the limit.
pub async fn expired_artifacts_are_listed_by_expiry(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let key = NodeKey { execution: create_execution(&*records, independent_jobs(1)).await, ix: 0 };
    let at = |ms: i64| Some(START.plus_ms(-1_000_000_000_000 + ms));
    let all = [(0, at(20)), (1, at(10)), (2, None), (3, at(30))];
    let all = all.map(|(sequence, expires_at)| artifact(key, sequence, expires_at));
    let puts = all.iter().map(|record| Write::PutArtifact(Box::new(record.clone()))).collect();
    commit_writes(&*records, puts).await;
    let now = at(20).unwrap();
    assert_eq!(records.expired_artifacts(now, 9).await.unwrap(), [all[1].clone(), all[0].clone()]);
    assert_eq!(records.expired_artifacts(now, 1).await.unwrap(), [all[1].clone()]);
    assert_eq!(records.expired_artifacts(now.plus_ms(-11), 9).await.unwrap(), []);
}
