//! Checks of protected environments: who must approve a job before it acts on one.

use super::fixture::{claim, job, request, run, services, start_execution, statuses, view};
use crate::conformance::{StoresUnderTest, samples};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use tidemill_core::access::{
    protection::{MAX_PROTECTIONS, ProtectEnvironmentRequest, UnprotectEnvironmentRequest},
    roles::Person,
};
use tidemill_core::api::{Approval, ApproveReply, ExecuteRequest, RetryRequest};
use tidemill_core::execution::{
    failure::FailureKind,
    status::{
        ExecutionStatus,
        JobStatus::{Failed, Pending, Queued, Skipped, Success},
    },
};
use tidemill_core::ids::JobId;
use tidemill_services::{Caller, Error, InternalStart, Services};

const JOBS: &str = "
    build: { stage: one }
    deploy: { stage: two, environment: production }
    check: { stage: three }
";

fn person(name: &str, group: &str) -> Caller {
    let id = format!("oidc:#{name}");
    Caller::person(Person {
        name: name.to_owned(),
        names: BTreeSet::from([id.clone(), format!("oidc:{name}")]),
        id,
        groups: BTreeSet::from([group.to_owned()]),
    })
}

async fn protect(services: &Services, repo: &str, environment: &str, approvals: u32, by: &[&str]) {
    let request = ProtectEnvironmentRequest {
        repo: repo.to_owned(),
        environment: environment.to_owned(),
        approvals,
        by: by.iter().map(|one| (*one).to_owned()).collect(),
        exclude_starter: true,
    };
    services.protections.set(request, &Caller::internal("admin")).await.unwrap();
}

async fn approve(services: &Services, job: JobId, caller: &Caller) -> Result<ApproveReply, Error> {
    services.approvals.approve_job_as(job, caller).await
}

fn reply(approved: bool, missing: u32) -> ApproveReply {
    ApproveReply { approved, missing }
}

/// A job of a protected environment runs once enough different people whom the rule selects have approved it, none of them who
/// started it. Everyone sees who approved and what is missing.
pub async fn protected_environment_requires_approvals_of_different_people(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let server = &servers[0];
    let repo = samples::repo();
    protect(server, &repo, "production", 2, &["group:oidc:ops"]).await;
    let (ann, bob, cas, eve) = (
        person("ann", "oidc:ops"),
        person("bob", "oidc:ops"),
        person("cas", "oidc:ops"),
        person("eve", "oidc:dev"),
    );
    let request = ExecuteRequest { started_by: ann.starter_id(), ..request(&repo, "", JOBS) };
    let id = start_execution(server, &request).await;
    let deploy = job(server, id, "deploy").await;
    assert_eq!((deploy.status, deploy.approval), (Pending, Some(Approval::Awaited)));
    let progress = deploy.approvals.unwrap();
    assert!(progress.given.is_empty());
    assert_eq!((progress.required[0].approvals, progress.required[0].missing), (2, 2));
    for nobody in [&eve, &ann, &Caller::internal("bot")] {
        let rejected = approve(server, deploy.id, nobody).await;
        assert!(matches!(rejected, Err(Error::Forbidden(_))), "{rejected:?}");
    }
    let rejected = server.approvals.approve_job(deploy.id).await;
    assert!(matches!(rejected, Err(Error::Conflict(_))), "nobody in particular: {rejected:?}");
    let before = server.pipelines.view(id, None, 0).await.unwrap().revision;
    let replies = join_all((0..8).map(|n| approve(&servers[n % 2], deploy.id, &bob))).await;
    let replies: Vec<ApproveReply> = replies.into_iter().map(Result::unwrap).collect();
    assert_eq!(replies.iter().filter(|one| **one == reply(true, 1)).count(), 1, "{replies:?}");
    assert_eq!(replies.iter().filter(|one| **one == reply(false, 1)).count(), 7, "{replies:?}");
    let changed = servers[1].pipelines.view(id, Some(before), 0).await.unwrap();
    let shown = changed.view.unwrap().jobs.remove(1);
    assert_eq!(shown.approval, Some(Approval::Awaited));
    let progress = shown.approvals.unwrap();
    assert_eq!(progress.given.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["bob"]);
    assert_eq!(progress.required[0].missing, 1);
    run(server, id, "build", 0).await;
    assert!(claim(server, deploy.id).await.is_none(), "one approval is missing");
    assert_eq!(approve(&servers[1], deploy.id, &cas).await.unwrap(), reply(true, 0));
    let deploy = job(server, id, "deploy").await;
    assert_eq!((deploy.status, deploy.approval), (Queued, Some(Approval::Given)));
    let progress = deploy.approvals.unwrap();
    assert_eq!(progress.given.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["bob", "cas"]);
    assert_eq!(approve(server, deploy.id, &cas).await.unwrap(), reply(false, 0), "it is approved already");
    run(server, id, "deploy", 0).await;
    run(server, id, "check", 0).await;
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);

    // A failed need skips the job, approved or not.
    let id = start_execution(server, &request).await;
    approve(server, job(server, id, "deploy").await.id, &bob).await.unwrap();
    run(server, id, "build", 1).await;
    assert_eq!(statuses(server, id).await, [Failed, Skipped, Skipped]);
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);
}

/// A rule holds from the moment in which it is set: a job that lacks its approvals is not given to a worker, whenever the rule
/// was set, and however the job was approved.
pub async fn rule_of_environment_holds_at_once(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    let deploy_only =
        "deploy: { stage: one, environment: production }\n b: { stage: two }\n c: { stage: three }";
    let (bob, cas) = (person("bob", "oidc:ops"), person("cas", "oidc:ops"));

    // The execution is older than the rule.
    let id = start_execution(server, &request(&repo, "", deploy_only)).await;
    protect(server, &repo, "prod*", 1, &[]).await;
    assert!(claim(server, job(server, id, "deploy").await.id).await.is_none());
    let failed = job(server, id, "deploy").await;
    let reason = failed.failure_reason.unwrap();
    assert_eq!((failed.status, reason.kind), (Failed, FailureKind::NotAllowed));
    assert!(reason.message.contains("prod* needs 1 more approval"), "{}", reason.message);

    // The approval is older than the rule. A retry needs approvals again, and `approve` is none.
    let retried = server.pipelines.retry(id, RetryRequest::default(), None).await.unwrap().execution_id;
    let deploy = job(server, retried, "deploy").await.id;
    assert_eq!(approve(server, deploy, &bob).await.unwrap(), reply(true, 0));
    protect(server, &repo, "prod*", 2, &[]).await;
    assert!(claim(server, deploy).await.is_none());
    assert_eq!(job(server, retried, "deploy").await.status, Failed);

    // Both rules of an environment hold; without any, one approval of any person is enough.
    protect(server, &repo, "production", 1, &["user:oidc:cas"]).await;
    let id = start_execution(server, &request(&repo, "", deploy_only)).await;
    let deploy = job(server, id, "deploy").await.id;
    assert_eq!(approve(server, deploy, &bob).await.unwrap(), reply(true, 1));
    for environment in ["prod*", "production"] {
        let request = UnprotectEnvironmentRequest { repo: repo.clone(), environment: environment.to_owned() };
        assert!(server.protections.remove(&request).await.unwrap());
        assert!(!server.protections.remove(&request).await.unwrap());
    }
    assert_eq!(approve(server, deploy, &cas).await.unwrap(), reply(true, 0));
    run(server, id, "deploy", 0).await;

    // Other environments and repositories are not concerned.
    protect(server, &repo, "production", 1, &[]).await;
    let other = start_execution(server, &request(&samples::repo(), "", deploy_only)).await;
    run(server, other, "deploy", 0).await;
    let staging = deploy_only.replace("production", "staging");
    let id = start_execution(server, &request(&repo, "", &staging)).await;
    run(server, id, "deploy", 0).await;
}

/// A job that was asked for by a retry waits for its approvals, although it is optional; so does one of a held execution; and a
/// job that runs on failure is not given to a worker.
pub async fn protected_job_waits_in_retries_and_held_executions(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    protect(server, &repo, "production", 1, &[]).await;
    let bob = person("bob", "oidc:ops");
    let optional = "
        a: { stage: one }
        deploy: { stage: two, when: manual, allow_failure: true, environment: production }
        c: { stage: three }
    ";
    let id = start_execution(server, &request(&repo, "", optional)).await;
    run(server, id, "a", 0).await;
    run(server, id, "c", 0).await;
    assert_eq!(statuses(server, id).await, [Success, Skipped, Success], "nobody approved it in time");
    let approving = RetryRequest { approve: vec!["deploy".into()], ..RetryRequest::default() };
    let retried = server.pipelines.retry(id, approving, None).await.unwrap().execution_id;
    let deploy = job(server, retried, "deploy").await;
    assert_eq!((deploy.status, deploy.approval), (Pending, Some(Approval::Awaited)));
    assert!(claim(server, deploy.id).await.is_none());
    assert_eq!(approve(server, deploy.id, &bob).await.unwrap(), reply(true, 0));
    run(server, retried, "deploy", 0).await;
    assert_eq!(view(server, retried).await.execution.status, ExecutionStatus::Success);

    let start = InternalStart { hold: true, ..InternalStart::default() };
    let held =
        server.pipelines.start(request(&repo, "", JOBS), start, None, None).await.unwrap().execution_id;
    // The rule is removed and set again between the start and the approval of the whole.
    let unprotect = UnprotectEnvironmentRequest { repo: repo.clone(), environment: "production".into() };
    assert!(server.protections.remove(&unprotect).await.unwrap());
    server.approvals.approve_execution(held).await.unwrap();
    protect(server, &repo, "production", 1, &[]).await;
    run(server, held, "build", 0).await;
    let deploy = job(server, held, "deploy").await;
    assert_eq!((deploy.status, deploy.approval), (Pending, Some(Approval::Awaited)));
    approve(server, deploy.id, &bob).await.unwrap();
    run(server, held, "deploy", 0).await;
    run(server, held, "check", 0).await;
    assert_eq!(view(server, held).await.execution.status, ExecutionStatus::Success);

    let on_failure = "
        a: { stage: one }
        undo: { stage: two, when: on_failure, environment: production }
        always: { stage: three, when: always, environment: production }
    ";
    let id = start_execution(server, &request(&repo, "", on_failure)).await;
    run(server, id, "a", 1).await;
    assert!(claim(server, job(server, id, "undo").await.id).await.is_none());
    assert_eq!(job(server, id, "undo").await.failure_reason.unwrap().kind, FailureKind::NotAllowed);
    let always = job(server, id, "always").await;
    assert_eq!((always.status, always.approval), (Pending, Some(Approval::Awaited)));
    approve(server, always.id, &bob).await.unwrap();
    run(server, id, "always", 0).await;
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);
}

/// Rules are listed in order, replaced by their environment, kept apart by repository, and bounded.
pub async fn protections_are_listed_and_bounded(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    for (environment, approvals) in [("production", 1), ("demo", 3), ("production", 2)] {
        protect(server, &repo, environment, approvals, &["role:maintainer", "token:release"]).await;
    }
    protect(server, &samples::repo(), "other", 1, &[]).await;
    let listed = server.protections.list(&repo).await.unwrap().protections;
    let shown: Vec<_> = listed.iter().map(|rule| (rule.environment.as_str(), rule.approvals)).collect();
    assert_eq!(shown, [("demo", 3), ("production", 2)]);
    assert_eq!((listed[0].set_by.as_str(), listed[0].exclude_starter), ("admin", true));
    for number in 2..MAX_PROTECTIONS {
        protect(server, &repo, &format!("review/{number}"), 1, &[]).await;
    }
    let further = |environment: &str, approvals| ProtectEnvironmentRequest {
        repo: repo.clone(),
        environment: environment.to_owned(),
        approvals,
        ..ProtectEnvironmentRequest::default()
    };
    let caller = Caller::internal("admin");
    let set = async |request| server.protections.set(request, &caller).await;
    assert!(matches!(set(further("one-more", 1)).await, Err(Error::Conflict(_))));
    assert!(set(further("demo", 1)).await.is_ok(), "an existing one is changed");
    assert!(matches!(set(further("demo", 0)).await, Err(Error::Invalid(_))));
    let long = ProtectEnvironmentRequest { repo: "r".repeat(500), ..further("demo", 1) };
    assert!(matches!(set(long).await, Err(Error::Invalid(_))));
}
