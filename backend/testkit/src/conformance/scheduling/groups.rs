//! Checks of concurrency groups whose executions run in order.

use super::fixture::{request, run, services, start_execution, statuses, view};
use crate::conformance::StoresUnderTest;
use crate::conformance::samples;
use futures_util::future::join_all;
use tidemill_core::execution::status::ExecutionStatus;
use tidemill_core::execution::status::JobStatus::{Canceled, Pending, Queued};

/// Executions of a group without `cancel_superseded` run one after another, in the order of their creation. A canceled
/// one does not let a later one run early.
pub async fn executions_of_group_run_in_order(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let request = request(
        &samples::repo(),
        "concurrency: { group: deploy }",
        "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n",
    );
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(start_execution(&services, &request).await);
    }
    assert_eq!(statuses(&services, ids[0]).await, [Queued, Pending, Pending]);
    for (before, id) in ids.iter().zip(&ids[1..]) {
        let shown = view(&services, *id).await;
        assert_eq!((shown.waits_for, shown.jobs[0].status), (Some(*before), Pending));
    }
    // The second is canceled while it waits; the third still waits for the first.
    services.pipelines.cancel(ids[1]).await.unwrap();
    assert_eq!(view(&services, ids[1]).await.execution.status, ExecutionStatus::Canceled);
    assert_eq!(statuses(&services, ids[2]).await, [Pending; 3]);
    services.pipelines.cancel(ids[3]).await.unwrap();
    let last = start_execution(&services, &request).await;
    assert_eq!(statuses(&services, last).await, [Pending; 3]);
    for name in ["a", "b", "c"] {
        run(&services, ids[0], name, 0).await;
    }
    assert_eq!(statuses(&services, ids[2]).await, [Queued, Pending, Pending]);
    assert_eq!(statuses(&services, last).await, [Pending; 3]);
    run(&services, ids[2], "a", 1).await;
    assert_eq!(view(&services, ids[2]).await.execution.status, ExecutionStatus::Failed);
    assert_eq!(statuses(&services, last).await, [Queued, Pending, Pending], "it starts after a failure, too");
    services.pipelines.cancel(last).await.unwrap();
    assert_eq!(
        statuses(&services, start_execution(&services, &request).await).await[0],
        Queued,
        "no execution of the group is live"
    );
}

/// Executions that are created concurrently run one after another.
pub async fn concurrent_executions_of_group_run_in_order(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let request = request(
        &samples::repo(),
        "concurrency: { group: deploy }",
        "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n",
    );
    let ids = join_all((0..6).map(|n| start_execution(&servers[n % 2], &request))).await;
    let mut remaining = ids.len();
    while remaining > 0 {
        let mut started = Vec::new();
        for id in &ids {
            if statuses(&servers[0], *id).await[0] == Queued {
                started.push(*id);
            }
        }
        let [only] = started.as_slice() else { panic!("{} run at the same time", started.len()) };
        if remaining % 2 == 0 {
            servers[remaining % 2].pipelines.cancel(*only).await.unwrap();
        } else {
            run(&servers[remaining % 2], *only, "a", 1).await;
        }
        remaining -= 1;
    }
}

/// An execution that supersedes others does not wait; later executions wait for it.
pub async fn execution_after_superseding_one_waits(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (repo, jobs) = (samples::repo(), "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n");
    let ordered = request(&repo, "concurrency: { group: deploy }", jobs);
    let superseding = request(&repo, "concurrency: { group: deploy, cancel_superseded: true }", jobs);
    let (first, second) =
        (start_execution(&services, &ordered).await, start_execution(&services, &ordered).await);
    let third = start_execution(&services, &superseding).await;
    assert_eq!(statuses(&services, second).await, [Canceled; 3]);
    assert_eq!(statuses(&services, third).await[0], Queued, "it does not wait");
    let last = start_execution(&services, &ordered).await;
    assert_eq!(statuses(&services, last).await, [Pending; 3]);
    run(&services, first, "a", 1).await;
    assert_eq!(statuses(&services, last).await, [Pending; 3], "its predecessor still runs");
    run(&services, third, "a", 1).await;
    assert_eq!(statuses(&services, last).await[0], Queued);
}

/// After waiting executions are canceled, in any order, the next one waits for the running one.
pub async fn canceled_group_members_keep_order(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let jobs = "a: { stage: one }\n b: { stage: two }\n c: { stage: three }\n";
    for order in [[1, 2], [2, 1]] {
        let request = request(&samples::repo(), "concurrency: { group: deploy }", jobs);
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(start_execution(&services, &request).await);
        }
        for ix in order {
            services.pipelines.cancel(ids[ix]).await.unwrap();
            assert_eq!(view(&services, ids[ix]).await.execution.status, ExecutionStatus::Canceled);
        }
        assert_eq!(statuses(&services, ids[3]).await, [Pending; 3]);
        run(&services, ids[0], "a", 1).await;
        assert_eq!(statuses(&services, ids[3]).await[0], Queued);
    }
}
