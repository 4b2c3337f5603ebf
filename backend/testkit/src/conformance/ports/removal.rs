//! Checks of removals from the records and the logs.

use crate::conformance::{
    StoresUnderTest,
    samples::{
        START, artifact, commit_writes, create_execution, execution_id, independent_jobs, job_id, repo,
    },
};
use tidemill_services::ports::{Commit, DeadLetter, KeyRecord, ListFilter, NodeKey, Write};

/// A removed execution is gone with its nodes and artifacts, and others are not.
pub async fn removed_execution_is_gone(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let removed = create_execution(&*records, independent_jobs(3)).await;
    let kept = create_execution(&*records, independent_jobs(3)).await;
    for execution in [removed, kept] {
        let key = NodeKey { execution, ix: 1 };
        let put = Write::PutArtifact(Box::new(artifact(key, 0, None)));
        let letter = Write::PutDeadLetter(DeadLetter { at: START, execution, ix: 1 });
        commit_writes(&*records, vec![put, letter]).await;
    }
    let job = records.all_nodes(removed).await.unwrap()[1].spec.job.unwrap();
    let repo_of = records.execution(removed).await.unwrap().unwrap().spec.repo;
    records.remove_execution(removed).await.unwrap();
    assert!(records.execution(removed).await.unwrap().is_none());
    assert!(records.execution_state(removed).await.unwrap().is_none());
    assert!(records.revision(removed).await.unwrap().is_none());
    assert!(records.all_nodes(removed).await.unwrap().is_empty());
    assert!(records.job(job).await.unwrap().is_none());
    assert!(records.artifacts(removed).await.unwrap().is_empty());
    assert!(records.artifacts_of(job).await.unwrap().is_empty());
    let filter = ListFilter { repo: Some(repo_of), ..ListFilter::default() };
    let (page, _) = records.executions(&filter).await.unwrap();
    assert!(page.iter().all(|execution| execution.spec.id != removed));
    assert_eq!(records.all_nodes(kept).await.unwrap().len(), 4);
    assert_eq!(records.artifacts(kept).await.unwrap().len(), 1);
    // A store may keep the dead letter, which then refers to nothing.
    let letter = DeadLetter { at: START, execution: removed, ix: 1 };
    commit_writes(&*records, vec![Write::DeleteDeadLetter(letter)]).await;
    // A removal that is repeated after a lost reply succeeds.
    records.remove_execution(removed).await.unwrap();
    records.remove_execution(execution_id()).await.unwrap();
}

/// The key of a removed execution can stand for a new one.
pub async fn key_of_removed_execution_can_be_replaced(subject: &StoresUnderTest) {
    let records = subject.open().await.records;
    let removed = create_execution(&*records, independent_jobs(1)).await;
    let key = format!("own:{}", repo());
    let put = |if_execution, execution| Write::PutKey {
        key: key.clone(),
        if_execution,
        record: KeyRecord { execution, request: "r".into() },
    };
    commit_writes(&*records, vec![put(None, removed)]).await;
    records.remove_execution(removed).await.unwrap();
    let found = records.key(&key).await.unwrap().map(|record| record.execution);
    assert!(found.is_none_or(|found| found == removed));
    let next = create_execution(&*records, independent_jobs(1)).await;
    let committed = records.commit(vec![put(found, next)]).await.unwrap();
    assert!(matches!(committed, Commit::Done(_)));
    assert_eq!(records.key(&key).await.unwrap().map(|record| record.execution), Some(next));
}

/// A removed log is empty, and those of other attempts stay; a long one is removed as a whole.
pub async fn removed_log_is_empty(subject: &StoresUnderTest) {
    let logs = subject.open().await.logs;
    let job = job_id();
    let bytes = vec![b'x'; 100_000];
    for attempt in [1, 2] {
        logs.append(job, attempt, 0, &bytes).await.unwrap();
        logs.append(job, attempt, 100_000, &bytes).await.unwrap();
        logs.finish(job, attempt).await.unwrap();
    }
    logs.remove(job, 1).await.unwrap();
    assert_eq!(logs.read(job, 1, 0, 1_000_000).await.unwrap().1, 0);
    assert_eq!(logs.read(job, 2, 0, 1_000_000).await.unwrap().1, 200_000);
    logs.remove(job, 1).await.unwrap();
    logs.remove(job_id(), 1).await.unwrap();
}
