//! Checks of environments: what is recorded of deployments, and how environments are stopped.

use super::fixture::{claim, end, job, request, run, services, start_execution, statuses, view};
use crate::conformance::{StoresUnderTest, samples};
use futures_util::future::join_all;
use tidemill_core::execution::{
    facts::{Facts, PullRequest},
    status::JobStatus::{self, Canceled, Failed, Pending, Queued, Running, Skipped, Success},
};
use tidemill_core::{
    api::{
        EnvironmentQuery, EnvironmentState, EnvironmentView, ExecuteRequest, RetryRequest,
        StopEnvironmentReply, StopEnvironmentRequest,
    },
    ids::ExecutionId,
    pipeline::EnvironmentAction,
};
use tidemill_services::{Error, InternalStart, Services};

/// A pipeline that deploys, checks what it deployed, and can stop it.
const JOBS: &str = "
    build: { stage: one }
    deploy: { stage: two, environment: { name: live, url: 'https://live.example.org', on_stop: stop, auto_stop_in: 1h } }
    check: { stage: three }
    stop: { stage: three, when: manual, allow_failure: true, environment: { name: live, action: stop } }
";

async fn environments(services: &Services, repo: &str, name: Option<&str>) -> Vec<EnvironmentView> {
    let name = name.map(str::to_owned);
    let query = EnvironmentQuery { repo: repo.to_owned(), name, ..EnvironmentQuery::default() };
    services.environments.list(query).await.unwrap().environments
}

async fn live(services: &Services, repo: &str) -> EnvironmentView {
    environments(services, repo, Some("live")).await.remove(0)
}

/// The deployments and stops of `live`, newest first.
async fn history(services: &Services, repo: &str) -> Vec<(ExecutionId, EnvironmentAction, JobStatus)> {
    let all = live(services, repo).await.deployments;
    all.into_iter().map(|one| (one.execution_id, one.action, one.status)).collect()
}

async fn stop(services: &Services, repo: &str) -> Result<StopEnvironmentReply, Error> {
    let request = StopEnvironmentRequest {
        repo: repo.to_owned(),
        name: "live".into(),
        requested_by: Some("ann".into()),
    };
    services.environments.stop(request).await
}

/// Creates a request for a pipeline with only the stages that `jobs` use.
fn small_request(repo: &str, jobs: &str) -> ExecuteRequest {
    let is_used = |stage: &&str| jobs.contains(&format!("stage: {stage}"));
    let used: Vec<&str> = ["one", "two", "three"].into_iter().filter(is_used).collect();
    let request = request(repo, "", jobs);
    let pipeline = request.pipeline.replace("[one, two, three]", &format!("[{}]", used.join(", ")));
    ExecuteRequest { pipeline, ..request }
}

/// Runs a whole pipeline that deploys to `live`.
async fn deploy(services: &Services, repo: &str) -> ExecutionId {
    let id = start_execution(services, &request(repo, "", JOBS)).await;
    for name in ["build", "deploy", "check"] {
        run(services, id, name, 0).await;
    }
    id
}

/// A deployment is recorded when its job starts and when it ends, once, and an older one never replaces a newer one.
pub async fn deployments_are_recorded_in_order(subject: &StoresUnderTest) {
    use EnvironmentAction::Start;
    let (server, other) = (&services(subject.open().await), &services(subject.open().await));
    let repo = samples::repo();
    let request = request(&repo, "", JOBS);
    let (first, second) = (start_execution(server, &request).await, start_execution(server, &request).await);
    for id in [first, second] {
        run(server, id, "build", 0).await;
    }
    assert_eq!(environments(server, &repo, None).await, [], "nothing has started");
    let mut held = Vec::new();
    for id in [first, second] {
        subject.clock.advance(1_000);
        held.push(claim(server, job(server, id, "deploy").await.id).await.unwrap());
    }
    assert_eq!(history(other, &repo).await, [(second, Start, Running), (first, Start, Running)]);
    assert_eq!(live(server, &repo).await.current, None);
    for assignment in held.iter().rev() {
        subject.clock.advance(1_000);
        end(server, assignment, 0).await;
    }
    assert_eq!(history(other, &repo).await, [(second, Start, Success), (first, Start, Success)]);
    let shown = live(other, &repo).await;
    let current = shown.current.unwrap();
    assert_eq!((current.execution_id, current.url.as_deref()), (second, Some("https://live.example.org")));
    assert_eq!((shown.state, current.branch.as_deref()), (EnvironmentState::Available, Some("main")));
    assert_eq!(shown.auto_stop_at, current.end_time.map(|at| at.plus_ms(3_600_000)));
    // A failed deployment is listed, and what is deployed stays.
    let failed = start_execution(server, &request).await;
    run(server, failed, "build", 0).await;
    subject.clock.advance(1_000);
    run(server, failed, "deploy", 1).await;
    assert_eq!(history(server, &repo).await[0], (failed, Start, Failed));
    let listed = environments(server, &repo, None).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].current.as_ref().map(|one| one.execution_id), Some(second));
    assert_eq!(listed[0].newest.as_ref().map(|one| one.execution_id), Some(failed));
    assert!(listed[0].deployments.is_empty());
    assert_eq!(environments(server, &samples::repo(), None).await, [], "other repositories have their own");
}

/// The sweep records the end of a deployment whose worker was lost, or whose job was canceled.
pub async fn sweep_records_end_of_lost_deployment(subject: &StoresUnderTest) {
    let server = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, environment: live }";
    let id = start_execution(&server, &small_request(&repo, jobs)).await;
    claim(&server, job(&server, id, "deploy").await.id).await.unwrap();
    server.pipelines.cancel(id).await.unwrap();
    subject.clock.advance(120_000);
    // The lease has expired, and nobody reports.
    server.sweep.run().await.unwrap();
    assert_eq!(statuses(&server, id).await, [Canceled]);
    assert_eq!(history(&server, &repo).await, [(id, EnvironmentAction::Start, Running)]);
    server.environments.run().await.unwrap();
    assert_eq!(history(&server, &repo).await, [(id, EnvironmentAction::Start, Canceled)]);
    assert_eq!(server.environments.run().await.unwrap(), 0);
}

/// An environment is stopped by the job of its last deployment: by that job alone, and once.
pub async fn environment_is_stopped_by_its_job(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let server = &servers[0];
    let repo = samples::repo();
    assert!(matches!(stop(server, &repo).await, Err(Error::NotFound(_))));
    let id = deploy(server, &repo).await;
    assert_eq!(statuses(server, id).await, [Success, Success, Success, Skipped]);
    let replies = join_all((0..6).map(|n| stop(&servers[n % 2], &repo))).await;
    let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
    assert_eq!(replies.iter().filter(|reply| reply.changed).count(), 1, "{replies:?}");
    let stopping = replies[0].execution.clone().unwrap().execution_id;
    assert!(replies.iter().all(|reply| reply.execution.as_ref().unwrap().execution_id == stopping));
    assert!(replies.iter().all(|reply| !reply.stopped && reply.job_name.as_deref() == Some("stop")));
    let shown = view(server, stopping).await;
    assert_eq!(shown.execution.requested_by.as_deref(), Some("ann"));
    let jobs: Vec<_> = shown.jobs.iter().map(|job| (job.job_name.as_str(), job.status)).collect();
    assert_eq!(
        jobs,
        [("build", Success), ("deploy", Success), ("stop", Queued)],
        "the others are carried over"
    );
    assert_eq!(live(server, &repo).await.auto_stop_at, None);
    subject.clock.advance(1_000);
    run(server, stopping, "stop", 0).await;
    assert_eq!(history(server, &repo).await[0], (stopping, EnvironmentAction::Stop, Success));
    let stopped = live(server, &repo).await;
    assert_eq!(stopped.state, EnvironmentState::Stopped);
    let again = stop(server, &repo).await.unwrap();
    assert!(!again.changed && again.stopped);
    // A new deployment makes it available again.
    subject.clock.advance(1_000);
    deploy(server, &repo).await;
    assert_eq!(live(server, &repo).await.state, EnvironmentState::Available);
}

/// A stop in an execution that has not ended approves its manual job; while a deployment runs, there is no stop.
pub async fn stop_approves_job_of_live_execution(subject: &StoresUnderTest) {
    let server = services(subject.open().await);
    let repo = samples::repo();
    let id = start_execution(&server, &request(&repo, "", JOBS)).await;
    run(&server, id, "build", 0).await;
    let assignment = claim(&server, job(&server, id, "deploy").await.id).await.unwrap();
    assert!(matches!(stop(&server, &repo).await, Err(Error::Conflict(_))), "it is deploying");
    end(&server, &assignment, 0).await;
    let reply = stop(&server, &repo).await.unwrap();
    assert_eq!((reply.changed, reply.execution.unwrap().execution_id), (true, id));
    assert_eq!(statuses(&server, id).await, [Success, Success, Queued, Queued]);
    assert!(!stop(&server, &repo).await.unwrap().changed);
    subject.clock.advance(1_000);
    run(&server, id, "stop", 1).await;
    assert_eq!(live(&server, &repo).await.state, EnvironmentState::Available, "the job failed");
    assert!(matches!(stop(&server, &repo).await, Err(Error::Conflict(_))), "its execution has not ended");
    run(&server, id, "check", 0).await;
    let again = stop(&server, &repo).await.unwrap().execution.unwrap().execution_id;
    assert_ne!(again, id);
    run(&server, again, "stop", 0).await;
    assert_eq!(live(&server, &repo).await.state, EnvironmentState::Stopped);
}

/// An environment is stopped when its time has come, once; a new deployment starts the time again.
pub async fn environment_is_stopped_when_its_time_has_come(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let server = &servers[0];
    let repo = samples::repo();
    deploy(server, &repo).await;
    subject.clock.advance(1_800_000);
    let newest = deploy(server, &repo).await;
    subject.clock.advance(2_700_000);
    for server in &servers {
        assert_eq!(server.environments.run().await.unwrap(), 0, "the new deployment started the time again");
    }
    assert!(live(server, &repo).await.auto_stop_at.is_some());
    subject.clock.advance(1_800_000);
    let runs = join_all((0..4).map(|n| servers[n % 2].environments.run())).await;
    assert_eq!(runs.into_iter().map(Result::unwrap).sum::<usize>(), 1);
    let waiting = stop(server, &repo).await.unwrap();
    let stopping = waiting.execution.unwrap();
    assert!(!waiting.changed && stopping.execution_id != newest);
    let by = view(server, stopping.execution_id).await.execution;
    assert_eq!((by.requested_by.as_deref(), by.retry_of), (Some("auto stop"), Some(newest)));
    run(server, stopping.execution_id, "stop", 0).await;
    assert_eq!(live(server, &repo).await.state, EnvironmentState::Stopped);
    // Without a job, it is only marked, and a job that uses it moves the time.
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, environment: { name: live, auto_stop_in: 1h } }\n \
                use: { stage: two, environment: { name: live, action: access, auto_stop_in: 3h } }";
    let id = start_execution(server, &small_request(&repo, jobs)).await;
    run(server, id, "deploy", 0).await;
    run(server, id, "use", 0).await;
    assert_eq!(history(server, &repo).await.len(), 1);
    subject.clock.advance(2 * 3_600_000);
    server.environments.run().await.unwrap();
    assert_eq!(live(server, &repo).await.state, EnvironmentState::Available);
    subject.clock.advance(2 * 3_600_000);
    server.environments.run().await.unwrap();
    assert_eq!(live(server, &repo).await.state, EnvironmentState::Stopped);
}

/// What can never be stopped by itself is tried once, and says why.
pub async fn auto_stop_without_its_job_is_tried_once(subject: &StoresUnderTest) {
    let server = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, environment: { name: live, on_stop: stop, auto_stop_in: 1h } }\n \
                stop: { stage: two, if: 'branch == \"other\"', environment: { name: live, action: stop } }";
    let id = start_execution(&server, &small_request(&repo, jobs)).await;
    run(&server, id, "deploy", 0).await;
    assert!(matches!(stop(&server, &repo).await, Err(Error::Invalid(_))));
    subject.clock.advance(2 * 3_600_000);
    for _ in 0..2 {
        assert_eq!(server.environments.run().await.unwrap(), 0);
        let shown = live(&server, &repo).await;
        let failure = shown.stop_failure.unwrap();
        assert!(failure.contains("no job `stop` that stops environment `live`"), "{failure}");
        assert_eq!((shown.state, shown.auto_stop_at), (EnvironmentState::Available, None));
    }
}

/// A roll back runs a deployment again, alone: what it needs is carried over, or left out if it did not succeed.
pub async fn deployment_runs_again_alone(subject: &StoresUnderTest) {
    let server = services(subject.open().await);
    let repo = samples::repo();
    let old = deploy(&server, &repo).await;
    subject.clock.advance(1_000);
    deploy(&server, &repo).await;
    let target = live(&server, &repo).await.rollback_target().cloned().unwrap();
    assert_eq!((target.execution_id, target.job_name.as_str()), (old, "deploy"));
    let alone = |name: &str| RetryRequest { jobs: vec![name.into()], alone: true, ..RetryRequest::default() };
    let again = server.pipelines.retry(old, alone("deploy"), None).await.unwrap().execution_id;
    assert_eq!(statuses(&server, again).await, [Success, Queued]);
    subject.clock.advance(1_000);
    run(&server, again, "deploy", 0).await;
    assert_eq!(live(&server, &repo).await.current.unwrap().execution_id, again);
    // The deployment that ran alone is stopped by the job of its file.
    let stopping = stop(&server, &repo).await.unwrap().execution.unwrap().execution_id;
    subject.clock.advance(1_000);
    run(&server, stopping, "stop", 0).await;
    assert_eq!(live(&server, &repo).await.state, EnvironmentState::Stopped);
    // A failed need is not run again.
    let failed = start_execution(&server, &request(&repo, "", JOBS)).await;
    run(&server, failed, "build", 1).await;
    let again = server.pipelines.retry(failed, alone("stop"), None).await.unwrap().execution_id;
    let shown = view(&server, again).await;
    let jobs: Vec<_> = shown.jobs.iter().map(|job| (job.job_name.as_str(), job.status)).collect();
    assert_eq!(jobs, [("stop", Queued)]);
    for request in
        [RetryRequest { alone: true, ..RetryRequest::default() }, RetryRequest { all: true, ..alone("stop") }]
    {
        assert!(matches!(server.pipelines.retry(failed, request, None).await, Err(Error::Invalid(_))));
    }
}

/// Jobs of forks do nothing to the environments of the repository.
pub async fn fork_changes_no_environment(subject: &StoresUnderTest) {
    let server = services(subject.open().await);
    let repo = samples::repo();
    let jobs = "deploy: { stage: one, environment: live }\n \
                stop: { stage: two, environment: { name: live, action: stop } }";
    let own = start_execution(&server, &small_request(&repo, jobs)).await;
    run(&server, own, "deploy", 0).await;
    let before = live(&server, &repo).await;
    let pull_request = Some(PullRequest { from_fork: true, ..PullRequest::default() });
    let start =
        InternalStart { facts: Facts { pull_request, ..Facts::default() }, ..InternalStart::default() };
    let fork = server.pipelines.start(small_request(&repo, jobs), start, None, None).await.unwrap();
    let fork = fork.execution_id;
    assert_eq!(statuses(&server, fork).await, [Queued, Pending]);
    subject.clock.advance(1_000);
    run(&server, fork, "deploy", 0).await;
    run(&server, fork, "stop", 0).await;
    assert_eq!(live(&server, &repo).await, before);
}

/// Environments are listed by name, in pages.
pub async fn environments_are_listed_in_pages(subject: &StoresUnderTest) {
    let server = services(subject.open().await);
    let repo = samples::repo();
    let jobs: Vec<String> = ["c", "a", "b/x"]
        .iter()
        .enumerate()
        .map(|(ix, name)| format!("j{ix}: {{ stage: one, environment: {name} }}"))
        .collect();
    let id = start_execution(&server, &small_request(&repo, &jobs.join("\n"))).await;
    for ix in 0..3 {
        run(&server, id, &format!("j{ix}"), 0).await;
    }
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let query = EnvironmentQuery { repo: repo.clone(), name: None, limit: Some(2), cursor };
        let page = server.environments.list(query).await.unwrap();
        assert!(page.environments.len() <= 2);
        names.extend(page.environments.into_iter().map(|one| one.name));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a", "b/x", "c"]);
    let query = EnvironmentQuery { repo, limit: Some(0), ..EnvironmentQuery::default() };
    assert!(matches!(server.environments.list(query).await, Err(Error::Invalid(_))));
}
