//! Checks of the records' writes.

use crate::conformance::{
    StoresUnderTest,
    samples::{
        self, START, artifact, assert_conflict, commit_writes, create_execution, create_write, execution_id,
        independent_jobs, job, job_id, job_state, node_without_job, read_node, repo, spec, state,
        with_job_ids,
    },
};
use futures_util::future::join_all;
use std::{collections::HashSet, sync::Arc};
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::ids::ExecutionId;
use tidemill_services::ports::{
    ArrivalOutcome, Commit, Continuation, ExecutionRecord, ExecutionState, KeyRecord, NodeBody, NodeKey,
    Write,
};

fn put_node(key: NodeKey, if_version: u64, status: JobStatus) -> Write {
    Write::PutNode { key, if_version, state: job_state(status), due_at: None }
}

fn arrive(key: NodeKey, ok: bool, from: &str) -> Write {
    Write::Arrive { key, ok, from: from.to_owned(), now: START.plus_ms(5), continuation: None }
}

fn put_key(key: &str, if_execution: Option<ExecutionId>, execution: ExecutionId) -> Write {
    let record = KeyRecord { execution, request: format!("request of {execution}") };
    Write::PutKey { key: key.to_owned(), if_execution, record }
}

/// A created execution is returned with all its parts.
pub async fn created_execution_is_readable(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let mut nodes = independent_jobs(3);
    nodes[0].due_at = Some(START);
    nodes[1].failed = 1;
    nodes[1].waits_for = 7;
    let spec = spec(execution_id(), &repo(), "build", 3);
    let nodes = with_job_ids(spec.id, nodes);
    let created = commit_writes(&*records, vec![create_write(spec.clone(), nodes.clone())]).await;
    assert_eq!(created.run_number, 1);
    assert_eq!(created.arrivals, []);
    let read = records.execution(spec.id).await.unwrap().unwrap();
    let version = read.version;
    let pending = state(ExecutionStatus::Pending);
    assert_eq!(read, ExecutionRecord { spec: spec.clone(), run_number: 1, state: pending, version });
    let read = records.all_nodes(spec.id).await.unwrap();
    assert_eq!(read.len(), nodes.len());
    for ((ix, new), read) in (0..).zip(&nodes).zip(read) {
        assert_eq!(read.key, NodeKey { execution: spec.id, ix });
        assert_eq!((&read.spec, &read.state), (&new.spec, &new.state));
        assert_eq!((read.waits_for, read.failed, read.due_at), (new.waits_for, new.failed, new.due_at));
        assert_eq!(read.blocker, None);
        if let Some(job) = new.spec.job {
            assert_eq!(records.job(job).await.unwrap().as_ref(), Some(&read));
        }
    }
    assert_eq!(records.execution(execution_id()).await.unwrap(), None);
    assert_eq!(records.revision(execution_id()).await.unwrap(), None);
    assert_eq!(records.job(job_id()).await.unwrap(), None);
    assert_eq!(records.all_nodes(execution_id()).await.unwrap(), []);
}

/// A second create of an id conflicts and changes nothing.
pub async fn id_is_created_once(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let spec = spec(execution_id(), &repo(), "build", 1);
    commit_writes(&*records, vec![create_write(spec.clone(), independent_jobs(1))]).await;
    assert_conflict(&*records, vec![create_write(spec.clone(), independent_jobs(4))]).await;
    assert_eq!(records.all_nodes(spec.id).await.unwrap().len(), 2);
    let next = samples::spec(execution_id(), &spec.repo, "build", 1);
    assert_eq!(commit_writes(&*records, vec![create_write(next, independent_jobs(1))]).await.run_number, 2);
}

/// The other nodes of an unplanned execution are added once, with its state; existing nodes stay unchanged.
pub async fn nodes_are_added_to_unplanned_execution_once(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let spec = spec(execution_id(), &repo(), "build", 40);
    let id = spec.id;
    let all: Vec<(u32, _)> = (0..).zip(with_job_ids(id, independent_jobs(40))).collect();
    let unplanned = ExecutionState { unplanned: true, ..state(ExecutionStatus::Pending) };
    let first = vec![all[40].clone()];
    let create = Write::Create { spec: Box::new(spec), state: unplanned, nodes: first };
    commit_writes(&*records, vec![create]).await;
    let stored = records.all_nodes(id).await.unwrap();
    assert_eq!(stored.iter().map(|node| node.key.ix).collect::<Vec<_>>(), [40]);
    assert_eq!((&stored[0].spec, stored[0].waits_for), (&all[40].1.spec, 40));
    let end = NodeKey { execution: id, ix: 40 };
    commit_writes(&*records, vec![arrive(end, true, "")]).await;
    let version = records.execution(id).await.unwrap().unwrap().version;
    let add = |if_version| Write::AddNodes {
        id,
        if_version,
        state: state(ExecutionStatus::Pending),
        nodes: all[..40].to_vec(),
    };
    assert_conflict(&*records, vec![add(version + 1)]).await;
    assert!(records.execution(id).await.unwrap().unwrap().state.unplanned);
    commit_writes(&*records, vec![add(version)]).await;
    assert_conflict(&*records, vec![add(version)]).await;
    let nodes = records.all_nodes(id).await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.key.ix).collect::<Vec<_>>(), (0..=40).collect::<Vec<_>>());
    assert_eq!((&nodes[33].spec, nodes[40].waits_for), (&all[33].1.spec, 39));
    let job = nodes[33].spec.job.unwrap();
    assert_eq!(records.job(job).await.unwrap().as_ref(), Some(&nodes[33]));
    assert!(!records.execution(id).await.unwrap().unwrap().state.unplanned);
}

/// Run numbers count from 1 for each pipeline of a repository.
pub async fn run_numbers_count_by_repository_and_pipeline(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let (one, other) = (repo(), repo());
    let mut numbers = Vec::new();
    for (repo, pipeline) in [(&one, "a"), (&one, "a"), (&one, "b"), (&other, "a"), (&one, "a")] {
        let spec = spec(execution_id(), repo, pipeline, 0);
        numbers
            .push(commit_writes(&*records, vec![create_write(spec, independent_jobs(0))]).await.run_number);
    }
    assert_eq!(numbers, [1, 2, 1, 1, 3]);
}

/// Concurrent creates through two handles get consecutive run numbers.
pub async fn concurrent_creates_get_distinct_run_numbers(subject: &StoresUnderTest) {
    let opened = [subject.open().await.records, subject.open().await.records];
    let repo = repo();
    let creates = (0..16).map(|ix| {
        let (records, spec) = (Arc::clone(&opened[ix % 2]), spec(execution_id(), &repo, "a", 1));
        async move { commit_writes(&*records, vec![create_write(spec, independent_jobs(1))]).await.run_number }
    });
    let mut numbers = join_all(creates).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
}

/// A put with a stale version conflicts, for executions and nodes.
pub async fn put_requires_read_version(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let id = create_execution(&*records, independent_jobs(1)).await;
    let key = NodeKey { execution: id, ix: 0 };
    let read = records.execution(id).await.unwrap().unwrap();
    let put = |status| Write::PutExecution { id, if_version: read.version, state: state(status) };
    commit_writes(&*records, vec![put(ExecutionStatus::Running)]).await;
    assert_conflict(&*records, vec![put(ExecutionStatus::Failed)]).await;
    let updated = records.execution(id).await.unwrap().unwrap();
    assert_eq!(updated.state.status, ExecutionStatus::Running);
    assert_ne!(updated.version, read.version);

    let read = read_node(&*records, key).await;
    let put = Write::PutNode {
        key,
        if_version: read.version,
        state: job_state(JobStatus::Queued),
        due_at: Some(START),
    };
    commit_writes(&*records, vec![put.clone()]).await;
    assert_conflict(&*records, vec![put]).await;
    let updated = read_node(&*records, key).await;
    assert_eq!((updated.state, updated.due_at), (job_state(JobStatus::Queued), Some(START)));
    assert_ne!(updated.version, read.version);
}

/// A put of a missing node or execution conflicts.
pub async fn put_of_missing_node_conflicts(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let id = create_execution(&*records, independent_jobs(1)).await;
    let running = state(ExecutionStatus::Running);
    assert_conflict(
        &*records,
        vec![Write::PutExecution { id: execution_id(), if_version: 1, state: running }],
    )
    .await;
    for key in [NodeKey { execution: id, ix: 9 }, NodeKey { execution: execution_id(), ix: 0 }] {
        assert_conflict(&*records, vec![put_node(key, 1, JobStatus::Queued)]).await;
        assert_conflict(&*records, vec![Write::SetDue { key, if_version: 1, due_at: None }]).await;
    }
}

/// `SetDue` requires the version that was read, but does not change it.
pub async fn setting_due_time_keeps_version(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let key = NodeKey { execution: create_execution(&*records, independent_jobs(1)).await, ix: 0 };
    let read = read_node(&*records, key).await;
    commit_writes(&*records, vec![Write::SetDue { key, if_version: read.version, due_at: Some(START) }])
        .await;
    let updated = read_node(&*records, key).await;
    assert_eq!((updated.version, updated.due_at), (read.version, Some(START)));
    commit_writes(&*records, vec![put_node(key, read.version, JobStatus::Queued)]).await;
    assert_conflict(&*records, vec![Write::SetDue { key, if_version: read.version, due_at: Some(START) }])
        .await;
    assert_eq!(read_node(&*records, key).await.due_at, None);
}

/// One of several concurrent writers of the same version succeeds.
pub async fn concurrent_writes_have_one_winner(subject: &StoresUnderTest) {
    let opened = [subject.open().await.records, subject.open().await.records];
    let key = NodeKey { execution: create_execution(&*opened[0], independent_jobs(1)).await, ix: 0 };
    let version = read_node(&*opened[0], key).await.version;
    let writes = (0..32).map(|ix| {
        let records = Arc::clone(&opened[ix % 2]);
        tokio::spawn(
            async move { records.commit(vec![put_node(key, version, JobStatus::Queued)]).await.unwrap() },
        )
    });
    let outcomes: Vec<_> = join_all(writes).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|commit| matches!(commit, Commit::Done(_))).count(), 1);
}

/// A conflict in the last write rolls back every kind of write before it.
pub async fn batch_is_atomic(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let id = create_execution(&*records, independent_jobs(2)).await;
    let (key, end) = (NodeKey { execution: id, ix: 0 }, NodeKey { execution: id, ix: 2 });
    let existing = artifact(key, 0, None);
    commit_writes(&*records, vec![Write::PutArtifact(Box::new(existing.clone()))]).await;
    let before = (records.execution(id).await.unwrap(), records.all_nodes(id).await.unwrap());
    let revision = records.revision(id).await.unwrap();
    let version = before.0.as_ref().unwrap().version;
    let (created, uncommitted) = (spec(execution_id(), &repo(), "a", 1), artifact(key, 1, None));
    let name = format!("key of {id}");
    assert_conflict(
        &*records,
        vec![
            create_write(created.clone(), independent_jobs(1)),
            Write::PutExecution { id, if_version: version, state: state(ExecutionStatus::Running) },
            put_node(key, before.1[0].version, JobStatus::Queued),
            arrive(end, false, "job-0"),
            put_key(&name, None, id),
            Write::PutArtifact(Box::new(uncommitted.clone())),
            Write::DeleteArtifact(existing.id),
            Write::SetDue { key: end, if_version: before.1[2].version + 1, due_at: Some(START) },
        ],
    )
    .await;
    assert_eq!((records.execution(id).await.unwrap(), records.all_nodes(id).await.unwrap()), before);
    assert_eq!(records.revision(id).await.unwrap(), revision);
    assert_eq!(records.execution(created.id).await.unwrap(), None);
    assert_eq!(records.key(&name).await.unwrap(), None);
    assert_eq!(records.artifacts(id).await.unwrap(), [existing]);
    // No run number was used.
    let again = spec(execution_id(), &created.repo, "a", 1);
    assert_eq!(commit_writes(&*records, vec![create_write(again, independent_jobs(1))]).await.run_number, 1);
}

/// Arrivals update the counters and keep the first blocker and the version; at 0 the node becomes due.
pub async fn last_arrival_makes_node_due(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let waiting = [
        job("a", JobStatus::Pending, 3, Vec::new()),
        node_without_job(NodeBody::Gate { open: false }, 3, vec![0]),
        node_without_job(NodeBody::End, 3, Vec::new()),
    ];
    let id = create_execution(&*records, waiting.to_vec()).await;
    for ix in 0..3 {
        let key = NodeKey { execution: id, ix };
        let version = read_node(&*records, key).await.version;
        let first = commit_writes(&*records, vec![arrive(key, true, "x"), arrive(key, false, "y")]).await;
        let expected = [
            ArrivalOutcome { key, waits_for: 2, failed: 0, continued: false },
            ArrivalOutcome { key, waits_for: 1, failed: 1, continued: false },
        ];
        assert_eq!(first.arrivals, expected);
        assert_eq!(read_node(&*records, key).await.due_at, None);
        let last = commit_writes(&*records, vec![arrive(key, false, "z")]).await;
        assert_eq!(last.arrivals, [ArrivalOutcome { key, waits_for: 0, failed: 2, continued: false }]);
        let updated = read_node(&*records, key).await;
        assert_eq!((updated.waits_for, updated.failed, updated.blocker.as_deref()), (0, 2, Some("y")));
        assert_eq!((updated.due_at, updated.version), (Some(START.plus_ms(5)), version));
    }
}

/// A continuation is applied only with the last arrival, if the version is unchanged and the node has not started.
pub async fn continuation_is_written_with_last_arrival(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let queued = || job_state(JobStatus::Queued);
    let waiting = [
        job("last", JobStatus::Pending, 1, Vec::new()),
        job("not-last", JobStatus::Pending, 2, Vec::new()),
        job("changed", JobStatus::Pending, 1, Vec::new()),
        job("acted", JobStatus::Canceled, 1, Vec::new()),
    ];
    let mut waiting = waiting.to_vec();
    waiting.push(node_without_job(NodeBody::End, 4, Vec::new()));
    let id = create_execution(&*records, waiting).await;
    let end = NodeKey { execution: id, ix: 4 };
    for (ix, continues) in [(0, true), (1, false), (2, false), (3, false)] {
        let key = NodeKey { execution: id, ix };
        let read = read_node(&*records, key).await;
        let if_version = if ix == 2 { read.version + 7 } else { read.version };
        let continuation = Continuation {
            if_version,
            state: queued(),
            due_at: Some(START.plus_ms(99)),
            arrivals: vec![arrive(end, true, "y")],
        };
        let Write::Arrive { key, from, now, .. } = arrive(key, false, "x") else { unreachable!() };
        let last = Write::Arrive { key, ok: false, from, now, continuation: Some(Box::new(continuation)) };
        let arrivals = commit_writes(&*records, vec![last]).await.arrivals;
        let waits_for = u32::from(ix == 1);
        let mut expected = vec![ArrivalOutcome { key, waits_for, failed: 1, continued: continues }];
        if continues {
            expected.push(ArrivalOutcome { key: end, waits_for: 3, failed: 0, continued: false });
        }
        assert_eq!(arrivals, expected, "{ix}");
        let now = read_node(&*records, key).await;
        assert_eq!((now.waits_for, now.failed, now.blocker.as_deref()), (waits_for, 1, Some("x")));
        if continues {
            assert_eq!((now.state, now.due_at), (queued(), Some(START.plus_ms(99))));
            assert_ne!(now.version, read.version);
        } else {
            assert_eq!((now.state, now.version), (read.state, read.version));
            assert_eq!(now.due_at, (ix == 2).then_some(START.plus_ms(5)), "{ix}");
        }
        assert_eq!(read_node(&*records, end).await.waits_for, 3, "{ix}");
    }
}

/// An arrival does not make a job that is not pending, or an open gate, due.
pub async fn arrival_does_not_wake_finished_node(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let acted = [
        job("a", JobStatus::Canceled, 1, Vec::new()),
        node_without_job(NodeBody::Gate { open: true }, 1, Vec::new()),
        job("b", JobStatus::Pending, 1, Vec::new()),
    ];
    let id = create_execution(&*records, acted.to_vec()).await;
    let canceled = NodeKey { execution: id, ix: 2 };
    let version = read_node(&*records, canceled).await.version;
    commit_writes(&*records, vec![put_node(canceled, version, JobStatus::Canceled)]).await;
    for ix in 0..3 {
        let key = NodeKey { execution: id, ix };
        let committed = commit_writes(&*records, vec![arrive(key, true, "x")]).await;
        assert_eq!(committed.arrivals, [ArrivalOutcome { key, waits_for: 0, failed: 0, continued: false }]);
        assert_eq!(read_node(&*records, key).await.due_at, None);
    }
}

/// Concurrent arrivals are counted exactly once each.
pub async fn concurrent_arrivals_count_exactly(subject: &StoresUnderTest) {
    let opened = [subject.open().await.records, subject.open().await.records];
    let key = NodeKey {
        execution: create_execution(&*opened[0], vec![node_without_job(NodeBody::End, 64, Vec::new())]).await,
        ix: 0,
    };
    let arrivals_sent = (0..64).map(|ix| {
        let records = Arc::clone(&opened[ix % 2]);
        tokio::spawn(async move {
            commit_writes(&*records, vec![arrive(key, ix % 4 != 0, "x")]).await.arrivals[0]
        })
    });
    let arrivals: Vec<ArrivalOutcome> =
        join_all(arrivals_sent).await.into_iter().map(Result::unwrap).collect();
    let counts: HashSet<u32> = arrivals.iter().map(|arrival| arrival.waits_for).collect();
    assert_eq!(counts, (0..64).collect());
    assert_eq!(read_node(&*opened[0], key).await.failed, 16);
}

/// An arrival at a missing node is an error, not a conflict.
pub async fn arrival_at_missing_node_fails(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let id = create_execution(&*records, independent_jobs(1)).await;
    let (key, missing) = (NodeKey { execution: id, ix: 0 }, NodeKey { execution: id, ix: 7 });
    let version = read_node(&*records, key).await.version;
    let writes = vec![put_node(key, version, JobStatus::Queued), arrive(missing, true, "x")];
    assert!(records.commit(writes).await.is_err());
    assert_eq!(read_node(&*records, key).await.version, version);
}

/// Concurrent creates with one idempotency key create one execution.
pub async fn idempotency_key_is_unique(subject: &StoresUnderTest) {
    let opened = [subject.open().await.records, subject.open().await.records];
    let (name, repo) = (format!("key of {}", execution_id()), repo());
    let creates = (0..16).map(|ix| {
        let (records, spec, name) =
            (Arc::clone(&opened[ix % 2]), spec(execution_id(), &repo, "a", 1), name.clone());
        tokio::spawn(async move {
            let id = spec.id;
            let writes = vec![create_write(spec, independent_jobs(1)), put_key(&name, None, id)];
            matches!(records.commit(writes).await.unwrap(), Commit::Done(_)).then_some(id)
        })
    });
    let created: Vec<_> = join_all(creates).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(created.len(), 1);
    let stored = opened[0].key(&name).await.unwrap().unwrap();
    assert_eq!(stored, KeyRecord { execution: created[0], request: format!("request of {}", created[0]) });
    let filter = tidemill_services::ports::ListFilter { repo: Some(repo), ..Default::default() };
    assert_eq!(opened[0].executions(&filter).await.unwrap().0.len(), 1);
}

/// Replacing a key requires its current execution.
pub async fn idempotency_key_replace_requires_current_value(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let (a, b, c) = (execution_id(), execution_id(), execution_id());
    let name = format!("key of {a}");
    assert_conflict(&*records, vec![put_key(&name, Some(a), b)]).await;
    commit_writes(&*records, vec![put_key(&name, None, a)]).await;
    assert_conflict(&*records, vec![put_key(&name, None, b)]).await;
    assert_conflict(&*records, vec![put_key(&name, Some(c), b)]).await;
    commit_writes(&*records, vec![put_key(&name, Some(a), b)]).await;
    assert_eq!(records.key(&name).await.unwrap().unwrap().execution, b);
}

/// Every write to an execution or its nodes changes its revision, and no other.
pub async fn every_write_changes_revision(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let (id, other) = (
        create_execution(&*records, independent_jobs(1)).await,
        create_execution(&*records, independent_jobs(1)).await,
    );
    let untouched = records.revision(other).await.unwrap();
    let key = NodeKey { execution: id, ix: 0 };
    let writes = [
        Write::PutExecution {
            id,
            if_version: records.execution(id).await.unwrap().unwrap().version,
            state: state(ExecutionStatus::Running),
        },
        Write::SetDue { key, if_version: read_node(&*records, key).await.version, due_at: Some(START) },
        put_node(key, read_node(&*records, key).await.version, JobStatus::Queued),
        arrive(NodeKey { execution: id, ix: 1 }, true, "x"),
    ];
    let mut revisions = HashSet::from([records.revision(id).await.unwrap()]);
    for write in writes {
        commit_writes(&*records, vec![write.clone()]).await;
        assert!(revisions.insert(records.revision(id).await.unwrap()), "{write:?}");
    }
    assert_eq!(records.revision(other).await.unwrap(), untouched);
}

/// Acknowledged writes are durable.
pub async fn acknowledged_writes_survive_reopen(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let id = create_execution(&*stores.records, independent_jobs(2)).await;
    let key = NodeKey { execution: id, ix: 1 };
    let version = read_node(&*stores.records, key).await.version;
    commit_writes(&*stores.records, vec![put_node(key, version, JobStatus::Queued)]).await;
    let before = (
        stores.records.execution(id).await.unwrap(),
        stores.records.all_nodes(id).await.unwrap(),
        stores.records.revision(id).await.unwrap(),
    );
    drop(stores);
    let records = subject.open().await.records;
    let after = (
        records.execution(id).await.unwrap(),
        records.all_nodes(id).await.unwrap(),
        records.revision(id).await.unwrap(),
    );
    assert_eq!(after, before);
}

/// Two handles, as of two processes, read each other's writes.
pub async fn second_handle_sees_writes_of_first(subject: &StoresUnderTest) {
    let (one, other) = (subject.open().await.records, subject.open().await.records);
    let id = create_execution(&*one, independent_jobs(1)).await;
    let key = NodeKey { execution: id, ix: 0 };
    for ix in 0..20 {
        let (writer, reader) = if ix % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let read = read_node(&**writer, key).await;
        let revision = reader.revision(id).await.unwrap();
        commit_writes(&**writer, vec![put_node(key, read.version, JobStatus::Queued)]).await;
        assert_ne!(read_node(&**reader, key).await.version, read.version);
        assert_ne!(reader.revision(id).await.unwrap(), revision);
    }
}

/// A watcher that reads, waits and reads again misses no write of any handle.
pub async fn changed_returns_after_commit(subject: &StoresUnderTest) {
    let (here, elsewhere) = (subject.open().await.records, subject.open().await.records);
    for writer in [Arc::clone(&here), elsewhere] {
        let id = create_execution(&*here, independent_jobs(1)).await;
        let key = NodeKey { execution: id, ix: 0 };
        let before = here.revision(id).await.unwrap();
        let watcher = {
            let here = Arc::clone(&here);
            async move {
                let mut seen = 0;
                while here.revision(id).await.unwrap() == before {
                    seen = here.wait_for_change(seen).await;
                }
            }
        };
        let write = async {
            let version = read_node(&*writer, key).await.version;
            commit_writes(&*writer, vec![put_node(key, version, JobStatus::Queued)]).await;
        };
        tokio::join!(watcher, write);
    }
}
