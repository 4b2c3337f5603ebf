//! Checks of jobs that start pipelines of other repositories.

use super::fixture::{claim, job, run, services, start_execution, statuses, view};
use crate::conformance::{StoresUnderTest, samples};
use serde_json::json;
use tidemill_core::access::AuditQuery;
use tidemill_core::api::{
    AttemptEnd, ExecuteRequest, ExecutionSummary, JobReport, ListQuery, RetryRequest, Trigger,
};
use tidemill_core::execution::{
    assignment::Assignment,
    discovery::{ChildReply, ChildReport, DiscoveryReply, DiscoveryReport, PipelineFile},
    facts::{CommitDetails, ComparedPaths, Facts, PullRequest},
    failure::{FailureKind, FailureReason},
    status::{
        ExecutionStatus,
        JobStatus::{Failed, Pending, Queued, Skipped, Success},
    },
};
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::MAX_CHILD_DEPTH;
use tidemill_core::repository::canonical_name;
use tidemill_services::{InternalStart, Services, SourcePolicy};

const COMMIT: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const FILE: &str = ".pipelines/deploy.yml";
const DEPLOY: &str = "name: deploy\non: { manual: { inputs: { env: { type: choice, options: [dev, prod], default: dev } } } }\n\
                      variables: { LEVEL: '0' }\njobs:\n  work: { image: \"i:${LEVEL}-${INPUT_ENV}\", script: x }\n  \
                      never: { image: i, script: x, if: 'event != \"pipeline\"' }\n";

/// Registers a repository whose pipelines jobs of `allowed` may start.
async fn register(server: &Services, url: &str, allowed: &[&str]) {
    let request =
        json!({ "url": url, "provider": "gitea", "default_branch": "main", "allow_trigger_from": allowed });
    server.repositories.put(serde_json::from_value(request).unwrap()).await.unwrap();
}

/// The path of a repository on its git server.
fn path(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// Creates a request whose job `go` starts a pipeline of the repository `name`, before a job `after`.
fn request(repo: &str, name: &str, keys: &str) -> ExecuteRequest {
    ExecuteRequest {
        pipeline: parent(name, keys),
        repo: repo.into(),
        branch: Some("main".into()),
        force: true,
        ..ExecuteRequest::default()
    }
}

fn parent(name: &str, keys: &str) -> String {
    format!(
        "name: parent\nvariables: {{ LEVEL: '1' }}\nstages: [one, two]\njobs:\n  \
         go: {{ stage: one, pipeline: {{ repository: '{name}', {keys} }} }}\n  \
         after: {{ stage: two, image: i, script: x }}\n"
    )
}

/// Ends an attempt that ran no script.
async fn end(server: &Services, assignment: &Assignment, fails: bool) {
    let failure = fails.then(|| FailureReason::new(FailureKind::ScriptFailed, "because"));
    let report = JobReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        log: None,
        phase: None,
        steps: Vec::new(),
        end: Some(AttemptEnd { failure, exit_code: None, ..AttemptEnd::default() }),
    };
    server.jobs.report(report).await.unwrap();
}

/// Does what a worker does for the job `go`.
async fn start_elsewhere(server: &Services, id: ExecutionId) -> ChildReply {
    let assignment = claim(server, job(server, id, "go").await.id).await.unwrap();
    let child = assignment.extras.child.as_ref().unwrap();
    assert!(assignment.extras.credential.is_none() && assignment.extras.secrets.is_empty());
    let report = ChildReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        path: child.pipeline.label().to_owned(),
        text: String::new(),
        includes: Vec::new(),
        paths: None,
        compared: ComparedPaths::new(),
    };
    let reply = server.pipelines.start_child(report.clone()).await.unwrap();
    let again = server.pipelines.start_child(report).await.unwrap();
    assert_eq!(again.execution, reply.execution, "a job starts one");
    end(server, &assignment, reply.execution.is_none()).await;
    reply
}

/// Starts what the job `go` starts, and returns the discovery in the other repository.
async fn discovery_of(server: &Services, id: ExecutionId) -> ExecutionId {
    let reply = start_elsewhere(server, id).await;
    reply.execution.unwrap_or_else(|| panic!("{:?}", reply.lines))
}

/// Reports files for a discovery, and ends it.
async fn discover(server: &Services, id: ExecutionId, files: &[(&str, &str)]) -> DiscoveryReply {
    let assignment = claim(server, job(server, id, "discover").await.id).await.unwrap();
    let discovery = assignment.extras.discovery.as_ref().unwrap();
    assert!(discovery.starts_child && assignment.extras.child.is_none());
    report_files(server, &assignment, files).await
}

/// Reports files for the attempt of a discovery, and ends it.
async fn report_files(server: &Services, assignment: &Assignment, files: &[(&str, &str)]) -> DiscoveryReply {
    let report = discovery_report(assignment, files);
    let reply = server.discoveries.process_report(report.clone()).await.unwrap();
    let again = server.discoveries.process_report(report).await.unwrap();
    assert_eq!(again.failed, reply.failed);
    end(server, assignment, reply.failed).await;
    reply
}

fn discovery_report(assignment: &Assignment, files: &[(&str, &str)]) -> DiscoveryReport {
    let file = |(path, text): &(&str, &str)| PipelineFile {
        path: (*path).into(),
        text: (*text).into(),
        includes: Vec::new(),
    };
    DiscoveryReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        commit: COMMIT.into(),
        details: CommitDetails::default(),
        files: files.iter().map(file).collect(),
        changed: None,
        compared: ComparedPaths::new(),
        paths: None,
        skipped: false,
        incomplete: false,
    }
}

/// Returns the execution that the job of a discovery started.
async fn found(server: &Services, discovery: ExecutionId) -> ExecutionId {
    job(server, discovery, "discover").await.child.unwrap().execution_id
}

async fn status(server: &Services, id: ExecutionId) -> ExecutionStatus {
    view(server, id).await.execution.status
}

async fn count(server: &Services, repo: &str) -> usize {
    let query = ListQuery { repo: Some(repo.to_owned()), ..ListQuery::default() };
    server.pipelines.list(query).await.unwrap().executions.len()
}

/// Returns the execution of a repository that was created last.
async fn newest(server: &Services, repo: &str) -> ExecutionSummary {
    let query = ListQuery { repo: Some(repo.to_owned()), ..ListQuery::default() };
    server.pipelines.list(query).await.unwrap().executions.into_iter().next().unwrap()
}

/// The parent waits for the pipeline of the other repository, which has that repository's facts and the parent's variables.
pub async fn job_starts_pipeline_of_another_repository(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &other, &[&repo]).await;
    for (name, exit_code) in [(path(&other).to_owned(), 0), (canonical_name(&other), 1)] {
        let keys = format!("branch: next, file: {FILE}, inputs: {{ env: prod }}");
        let id = start_execution(server, &request(&repo, &name, &keys)).await;
        let discovery = discovery_of(server, id).await;
        let of_discovery = view(server, discovery).await.execution;
        assert_eq!((of_discovery.repo, of_discovery.branch.as_deref()), (other.clone(), Some("next")));
        assert_eq!(of_discovery.parent.unwrap().execution_id, id);
        let files = [(FILE, DEPLOY), (".pipelines/x.yml", "name: x\non: { push: }\njobs: {}\n")];
        let reply = discover(server, discovery, &files).await;
        assert!(!reply.failed, "{:?}", reply.lines);
        let child = found(server, discovery).await;
        assert_eq!(statuses(server, id).await, [Success, Pending], "the child has not ended");
        assert_eq!(status(server, discovery).await, ExecutionStatus::Running);
        let shown = view(server, child).await;
        let of_child = shown.execution;
        assert_eq!((of_child.repo, of_child.trigger), (other.clone(), Trigger::Pipeline));
        assert_eq!((of_child.branch.as_deref(), of_child.commit.as_deref()), (Some("next"), Some(COMMIT)));
        assert_eq!(of_child.parent.unwrap().execution_id, discovery);
        assert_eq!(shown.jobs.len(), 1, "conditions see how it was started");
        assert_eq!(shown.jobs[0].docker_image, "i:1-prod");
        run(server, child, "work", exit_code).await;
        if exit_code == 0 {
            assert_eq!(status(server, discovery).await, ExecutionStatus::Success);
            assert_eq!(statuses(server, id).await, [Success, Queued]);
            run(server, id, "after", 0).await;
            assert_eq!(status(server, id).await, ExecutionStatus::Success);
        } else {
            assert_eq!(status(server, discovery).await, ExecutionStatus::Failed);
            assert_eq!(statuses(server, id).await, [Success, Skipped]);
            assert_eq!(status(server, id).await, ExecutionStatus::Failed);
        }
    }
    // Without `wait`, the outcome changes nothing.
    let keys = format!("file: {FILE}, wait: false");
    let id = start_execution(server, &request(&repo, path(&other), &keys)).await;
    let discovery = discovery_of(server, id).await;
    run(server, id, "after", 0).await;
    assert_eq!(status(server, id).await, ExecutionStatus::Success);
    assert!(discover(server, discovery, &[]).await.failed);
    assert_eq!(status(server, discovery).await, ExecutionStatus::Failed);
    let query = AuditQuery { repo: Some(other.clone()), ..AuditQuery::default() };
    let entries = server.audit.list(query).await.unwrap().entries;
    let triggers: Vec<_> = entries.iter().filter(|entry| entry.action == "execution.trigger").collect();
    assert_eq!(triggers.len(), 3, "{entries:#?}");
    let last = triggers.iter().find(|entry| entry.target == discovery.to_string()).unwrap();
    assert_eq!(last.who, format!("a job of {}", canonical_name(&repo)));
}

/// The pipeline of the other repository has its own variables, and of the first one only those that a user or the file names.
pub async fn variables_of_a_repository_stay_there(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &other, &[&repo]).await;
    for (of, name, value) in [
        (&repo, "LEVEL", "ours"),
        (&repo, "OURS", "ours"),
        (&repo, "SHARED", "ours"),
        (&repo, "NAMED", "ours"),
        (&other, "SHARED", "theirs"),
    ] {
        let variable = json!({ "masked": false, "protected": false, "file": false, "forks": false });
        let set = json!({ "repo": of, "name": name, "value": value, "variable": variable });
        server.secrets.set(serde_json::from_value(set).unwrap(), "ann").await.unwrap();
    }
    let keys = format!(
        "file: {FILE}, forward: [job, run], inputs: {{ env: prod }}, variables: {{ GIVEN: 'by ${{OURS}}' }}"
    );
    let variables = [("NAMED".to_owned(), "by-user".to_owned())].into_iter().collect();
    let id =
        start_execution(server, &ExecuteRequest { variables, ..request(&repo, path(&other), &keys) }).await;
    let discovery = discovery_of(server, id).await;
    discover(server, discovery, &[(FILE, DEPLOY)]).await;
    let child = found(server, discovery).await;
    let work = claim(server, job(server, child, "work").await.id).await.unwrap();
    let given = |name: &str| work.variables.get(name).map(String::as_str);
    assert_eq!((given("SHARED"), given("OURS")), (Some("theirs"), None));
    assert_eq!((given("NAMED"), given("GIVEN")), (Some("by-user"), Some("by ours")));
    assert_eq!(work.preparation.image, "i:0-prod");
}

/// A repository that allows nothing, one that allows another repository, and an unknown one give the same error.
pub async fn refused_repository_looks_like_an_unknown_one(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    let [denying, other, reset, unknown] = [(); 4].map(|()| samples::repo());
    register(server, &denying, &[]).await;
    register(server, &other, &[&samples::repo()]).await;
    register(server, &reset, &[&repo]).await;
    register(server, &reset, &[]).await;
    let mut lines = Vec::new();
    for target in [&denying, &other, &reset, &unknown] {
        let id = start_execution(server, &request(&repo, path(target), "wait: true")).await;
        let reply = start_elsewhere(server, id).await;
        assert_eq!((reply.execution, reply.lines.len()), (None, 1));
        assert_eq!(statuses(server, id).await, [Failed, Skipped]);
        assert_eq!(count(server, target).await, 0);
        lines.push(reply.lines[0].replace(path(target), "NAME"));
    }
    assert!(lines[0].contains("--allow-trigger-from"), "{lines:?}");
    assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
    // A repository does not allow itself either.
    let id = start_execution(server, &request(&denying, path(&denying), "wait: true")).await;
    assert_eq!(start_elsewhere(server, id).await.execution, None);
    // `tidemill run` without a server has none.
    let local = services(subject.open().await).with_source_policy(SourcePolicy::unrestricted());
    let id = start_execution(&local, &request(&repo, path(&unknown), "wait: true")).await;
    assert!(start_elsewhere(&local, id).await.lines[0].contains("start it on a server"));
    // What is no branch is not given to git.
    let id = start_execution(server, &request(&repo, path(&reset), "branch: 'main:refs/heads/x'")).await;
    assert!(start_elsewhere(server, id).await.lines[0].contains("is not the name of a branch"));
}

/// A pull request of a fork starts nothing in another repository, and one of the repository itself does.
pub async fn fork_starts_nothing_in_another_repository(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &other, &[&repo]).await;
    for from_fork in [true, false] {
        let pull_request = PullRequest { from_fork, target_branch: "main".into(), ..PullRequest::default() };
        let facts = Facts {
            trigger: Trigger::PullRequest,
            branch: Some("topic".into()),
            pull_request: Some(pull_request),
            ..Facts::default()
        };
        let start = InternalStart { facts, ..InternalStart::default() };
        let request = request(&repo, path(&other), "wait: true");
        let id = server.pipelines.start(request, start, None, None).await.unwrap().execution_id;
        let reply = start_elsewhere(server, id).await;
        assert_eq!(reply.execution.is_none(), from_fork, "{:?}", reply.lines);
        assert_eq!(count(server, &other).await, usize::from(!from_fork));
    }
}

/// Repositories that start each other end at the maximum depth.
pub async fn cycle_of_repositories_ends_at_maximum_depth(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &repo, &[&other]).await;
    register(server, &other, &[&repo]).await;
    let mut id = start_execution(server, &request(&repo, path(&other), "wait: true")).await;
    for level in 0..MAX_CHILD_DEPTH {
        let discovery = discovery_of(server, id).await;
        let next = if level % 2 == 0 { &repo } else { &other };
        let text = parent(path(next), "wait: true").replace("stages", "on: { push: }\nstages");
        let reply = discover(server, discovery, &[(FILE, &text)]).await;
        assert!(!reply.failed, "{:?}", reply.lines);
        id = found(server, discovery).await;
    }
    let reply = start_elsewhere(server, id).await;
    assert_eq!(reply.execution, None);
    assert!(reply.lines[0].contains("at most 3 levels"), "{:?}", reply.lines);
}

/// Repositories that start each other end, too, if a pipeline follows each that a job starts: it has no parent.
pub async fn cycle_of_followed_repositories_ends(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &repo, &[&other]).await;
    register(server, &other, &[&repo]).await;
    let built = "name: built\non: { push: }\njobs: { work: { image: i, script: x } }\n";
    let ours = parent(path(&other), "wait: true").replace("stages", "on: { push: }\nstages");
    let after =
        parent(path(&repo), "wait: true").replace("stages", "on: { pipeline: { name: built } }\nstages");
    let theirs = [(FILE, built), (".pipelines/after.yml", after.as_str())];
    let mut id = start_execution(server, &request(&repo, path(&other), "wait: true")).await;
    for followed in 0_u32.. {
        let discovery = discovery_of(server, id).await;
        let reply = discover(server, discovery, &theirs).await;
        assert!(!reply.failed, "{:?}", reply.lines);
        run(server, found(server, discovery).await, "work", 0).await;
        server.follow_ups.run().await.unwrap();
        let following = newest(server, &other).await;
        if reply.lines.iter().any(|line| line.starts_with("nothing follows built")) {
            assert_eq!((followed, following.pipeline_name.as_str()), (5, "built"));
            break;
        }
        assert_eq!((following.pipeline_name.as_str(), following.parent.is_none()), ("discover", true));
        let assignment = claim(server, job(server, following.id, "discover").await.id).await.unwrap();
        let reply = report_files(server, &assignment, &theirs).await;
        assert!(!reply.failed, "{:?}", reply.lines);
        let discovery = discovery_of(server, newest(server, &other).await.id).await;
        discover(server, discovery, &[(FILE, &ours)]).await;
        id = found(server, discovery).await;
    }
}

/// A cancel of the parent cancels what runs in the other repository, and a retry starts what did not succeed there again.
pub async fn cancel_and_retry_reach_other_repository(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &other, &[&repo]).await;
    let request = request(&repo, path(&other), &format!("file: {FILE}"));
    let id = start_execution(server, &request).await;
    let discovery = discovery_of(server, id).await;
    discover(server, discovery, &[(FILE, DEPLOY)]).await;
    let child = found(server, discovery).await;
    assert!(server.pipelines.cancel(id).await.unwrap().canceled);
    for id in [id, discovery, child] {
        assert_eq!(status(server, id).await, ExecutionStatus::Canceled);
    }
    let retried = server.pipelines.retry(id, RetryRequest::default(), None).await.unwrap().execution_id;
    let second = discovery_of(server, retried).await;
    discover(server, second, &[(FILE, DEPLOY)]).await;
    let child = found(server, second).await;
    run(server, child, "work", 1).await;
    assert_eq!(status(server, retried).await, ExecutionStatus::Failed);
    // A retry of the discovery alone starts its pipeline again, and changes nothing for the parent.
    let alone = server.pipelines.retry(second, RetryRequest::default(), None).await.unwrap().execution_id;
    discover(server, alone, &[(FILE, DEPLOY)]).await;
    let again = found(server, alone).await;
    assert_ne!(again, child);
    run(server, again, "work", 0).await;
    assert_eq!(status(server, alone).await, ExecutionStatus::Success);
    assert_eq!(status(server, retried).await, ExecutionStatus::Failed);
}

/// The report of another attempt, for which the branch has moved, finds the pipeline that the first one started.
pub async fn discovery_of_moved_branch_keeps_its_child(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &other, &[&repo]).await;
    let id = start_execution(server, &request(&repo, path(&other), &format!("file: {FILE}"))).await;
    let discovery = discovery_of(server, id).await;
    let assignment = claim(server, job(server, discovery, "discover").await.id).await.unwrap();
    let first = discovery_report(&assignment, &[(FILE, DEPLOY)]);
    let changed = DEPLOY.replace("LEVEL: '0'", "LEVEL: '2'");
    let moved = DiscoveryReport {
        commit: "c".repeat(40),
        ..discovery_report(&assignment, &[(FILE, &changed), (".pipelines/x.yml", "broken")])
    };
    assert!(!server.discoveries.process_report(first).await.unwrap().failed);
    let child = found(server, discovery).await;
    let reply = server.discoveries.process_report(moved).await.unwrap();
    assert!(!reply.failed && reply.lines[0].starts_with("started before: deploy 1"), "{:?}", reply.lines);
    assert_eq!((found(server, discovery).await, count(server, &other).await), (child, 2));
}

/// Without `file`, the only pipeline that a push starts is started; otherwise nothing is.
pub async fn pipeline_without_file_is_that_of_a_push(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let (repo, other) = (samples::repo(), samples::repo());
    register(server, &other, &[&repo]).await;
    let file = |name: &str, on: &str| {
        format!("name: {name}\non: {{ {on} }}\njobs: {{ a: {{ image: i, script: x }} }}\n")
    };
    let on_main = file("one", "push: { branches: [main] }");
    let (on_next, manual) = (file("two", "push: { branches: [next] }"), file("three", "manual:"));
    let follows = file("four", "pipeline: { name: one }");
    let always = file("five", "push:");
    let broken = "name: six\njobs: {}\n".to_owned();
    for (files, starts) in [
        (vec![&on_main, &on_next, &manual, &follows], Some("one")),
        (vec![&always], Some("five")),
        (vec![&broken, &always], Some("five")),
        (vec![&broken, &manual], None),
        (vec![&on_main, &always], None),
        (vec![&on_next, &manual], None),
        (vec![], None),
    ] {
        let id = start_execution(server, &request(&repo, path(&other), "wait: true")).await;
        let discovery = discovery_of(server, id).await;
        let names: Vec<String> = (0..files.len()).map(|at| format!(".pipelines/{at}.yml")).collect();
        let files: Vec<(&str, &str)> =
            names.iter().zip(&files).map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let reply = discover(server, discovery, &files).await;
        assert_eq!(reply.failed, starts.is_none(), "{:?}", reply.lines);
        let is_reported = reply.lines.iter().any(|line| line.starts_with(".pipelines/0.yml:"));
        assert!(is_reported || files.iter().all(|(_, text)| *text != broken), "{:?}", reply.lines);
        match starts {
            Some(name) => {
                let child = found(server, discovery).await;
                assert_eq!(view(server, child).await.execution.pipeline_name, name);
            }
            None => assert_eq!(statuses(server, id).await, [Success, Skipped]),
        }
    }
}
