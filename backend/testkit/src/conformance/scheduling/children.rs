//! Checks of executions that jobs of others start.

use super::fixture::{claim, job, run, services, start_execution, statuses, view};
use crate::conformance::{StoresUnderTest, samples};
use futures_util::future::join_all;
use tidemill_core::api::{AttemptEnd, ExecuteRequest, JobReport, RetryRequest, Trigger};
use tidemill_core::execution::{
    discovery::{ChildReply, ChildReport},
    facts::{ComparedPaths, Facts, PullRequest},
    failure::{FailureKind, FailureReason},
    status::{
        ExecutionStatus,
        JobStatus::{Canceled, Failed, Pending, Queued, Running, Skipped, Success},
    },
};
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::MAX_CHILD_DEPTH;
use tidemill_core::records::NodeKey;
use tidemill_core::scheduler::{ParentGate, open_parent_gate};
use tidemill_core::trace::context::{TRACEPARENT_VARIABLE, TraceContext, job_context};
use tidemill_services::{Error, InternalStart, Services};

const CHILD: &str = "name: child\njobs:\n  work: { image: i, script: x, stage: test }\n";

/// Creates a request whose job `go` starts a pipeline with the keys `pipeline`, before a job `after`.
fn request(repo: &str, job: &str, pipeline: &str) -> ExecuteRequest {
    let text = format!(
        "name: parent\nvariables: {{ LEVEL: '1' }}\nstages: [one, two]\njobs:\n  go: {{ stage: one, {job}pipeline: {{ file: child.yml, {pipeline} }} }}\n  \
         after: {{ stage: two, image: i, script: x }}\n"
    );
    ExecuteRequest {
        pipeline: text,
        repo: repo.into(),
        branch: Some("main".into()),
        force: true,
        ..ExecuteRequest::default()
    }
}

/// Claims the job `name` of an execution, as a worker does, and reports the pipeline that it starts.
async fn report_child(
    server: &Services,
    id: ExecutionId,
    name: &str,
    text: &str,
) -> (ChildReport, ChildReply) {
    let assignment = claim(server, job(server, id, name).await.id).await.unwrap();
    assert_eq!(assignment.extras.child.as_ref().unwrap().pipeline.files, ["child.yml"]);
    assert!(assignment.extras.secrets.is_empty());
    let report = ChildReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        path: "child.yml".into(),
        text: text.into(),
        includes: Vec::new(),
        paths: None,
        compared: ComparedPaths::new(),
    };
    let reply = server.pipelines.start_child(report.clone()).await.unwrap();
    (report, reply)
}

/// Ends the job that reported a pipeline.
async fn end(server: &Services, report: &ChildReport) {
    let end = Some(AttemptEnd { failure: None, exit_code: None, ..AttemptEnd::default() });
    let (job_id, lease) = (report.job_id, report.lease);
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
    server.jobs.report(report).await.unwrap();
}

/// Starts the child of the job `go`, which then ends.
async fn start_child(server: &Services, id: ExecutionId, text: &str) -> ExecutionId {
    let (report, reply) = report_child(server, id, "go", text).await;
    let child = reply.execution.unwrap_or_else(|| panic!("{:?}", reply.lines));
    end(server, &report).await;
    child
}

/// The jobs after one that waits for its child start when the child has ended, and the outcome of the child is that of the
/// parent.
pub async fn parent_waits_for_child_and_takes_its_outcome(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    for exit_code in [0, 1] {
        let id = start_execution(server, &request(&repo, "", "wait: true")).await;
        let child = start_child(server, id, CHILD).await;
        assert_eq!(statuses(server, id).await, [Success, Pending], "the child has not ended");
        let shown = job(server, id, "go").await.child.unwrap();
        assert_eq!(
            (shown.execution_id, shown.status, shown.awaited),
            (child, ExecutionStatus::Pending, true)
        );
        let of_child = view(server, child).await.execution;
        let parent = of_child.parent.unwrap();
        assert_eq!((parent.execution_id, parent.job_name.as_str()), (id, "go"));
        assert_eq!((of_child.trigger, of_child.branch.as_deref()), (Trigger::ParentPipeline, Some("main")));
        run(server, child, "work", exit_code).await;
        if exit_code == 0 {
            assert_eq!(statuses(server, id).await, [Success, Queued]);
            run(server, id, "after", 0).await;
            assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);
        } else {
            assert_eq!(statuses(server, id).await, [Success, Skipped]);
            let reason = job(server, id, "after").await.failure_reason.unwrap().message;
            assert_eq!(reason, "skipped: `go` did not succeed");
            assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);
        }
    }
    // A failure of the child is tolerated like one of the job.
    let id = start_execution(server, &request(&repo, "allow_failure: true, ", "wait: true")).await;
    let child = start_child(server, id, CHILD).await;
    run(server, child, "work", 1).await;
    run(server, id, "after", 0).await;
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);
    // Without `wait`, the child ends by itself.
    let id = start_execution(server, &request(&repo, "", "wait: false")).await;
    let child = start_child(server, id, CHILD).await;
    run(server, id, "after", 0).await;
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);
    run(server, child, "work", 1).await;
    assert_eq!(view(server, child).await.execution.status, ExecutionStatus::Failed);
}

/// A child is in the trace of the job that started it, and its jobs have spans of that trace; with a trace of the caller, all are in
/// that one.
pub async fn child_joins_trace_of_its_job(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for trace in [None, Some(caller)] {
        let request = request(&repo, "", "wait: true");
        let started = server.pipelines.execute(request, None, trace.map(str::to_owned)).await.unwrap();
        let id = started.execution_id;
        let child = start_child(server, id, CHILD).await;
        let assignment = claim(server, job(server, child, "work").await.id).await.unwrap();
        let of_job = TraceContext::parse(&assignment.variables[TRACEPARENT_VARIABLE]).unwrap();
        let of_go = job_context(id, trace, 0);
        assert_eq!(of_job.trace_id, of_go.trace_id);
        assert_eq!(assignment.trace.as_deref(), Some(of_job.to_string().as_str()));
        super::fixture::end(server, &assignment, 0).await;
        let spans = server.pipelines.spans(child).await.unwrap();
        assert_eq!((spans[0].name.as_str(), spans[0].parent), ("child", Some(of_go.parent)));
        assert!(spans.iter().any(|span| span.id == of_job.parent && span.name == "attempt 1"));
        run(server, id, "after", 0).await;
        let of_parent = server.pipelines.spans(id).await.unwrap();
        assert!(of_parent.iter().any(|span| Some(span.id) == spans[0].parent && span.name == "go"));
        assert_eq!(of_parent[0].parent, trace.map(|_| TraceContext::parse(caller).unwrap().parent));
    }
}

/// A job starts one child, however often and in whichever attempt it is reported; without a child the job fails, and its gate
/// opens.
pub async fn job_starts_one_child_or_fails(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let server = &servers[0];
    let repo = samples::repo();
    let id = start_execution(server, &request(&repo, "", "wait: true")).await;
    let (report, first) = report_child(server, id, "go", CHILD).await;
    let again = (0..6).map(|n| servers[n % 2].pipelines.start_child(report.clone()));
    for reply in join_all(again).await {
        assert_eq!(reply.unwrap().execution, first.execution);
    }
    let other = ChildReport { text: CHILD.replace("child", "other"), ..report.clone() };
    assert_eq!(server.pipelines.start_child(other).await.unwrap().execution, first.execution);
    end(server, &report).await;
    let late = server.pipelines.start_child(report).await;
    assert!(matches!(late, Err(Error::LeaseLost(_))), "{late:?}");

    for allowed in ["", "allow_failure: true, "] {
        let id = start_execution(server, &request(&repo, allowed, "wait: true")).await;
        let (report, reply) = report_child(server, id, "go", "name: child\njobs: {}\n").await;
        assert_eq!((reply.execution, reply.lines.len()), (None, 1), "{:?}", reply.lines);
        assert!(reply.lines[0].starts_with("child.yml: "), "{:?}", reply.lines);
        let failure = FailureReason::new(FailureKind::ScriptFailed, "because");
        let end = Some(AttemptEnd { failure: Some(failure), exit_code: None, ..AttemptEnd::default() });
        let (job_id, lease) = (report.job_id, report.lease);
        let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
        server.jobs.report(report).await.unwrap();
        if allowed.is_empty() {
            assert_eq!(statuses(server, id).await, [Failed, Skipped]);
            assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);
        } else {
            assert_eq!(statuses(server, id).await, [Failed, Queued]);
            run(server, id, "after", 0).await;
            assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Success);
        }
    }
}

/// A child that starts itself ends at the maximum depth.
pub async fn depth_of_children_is_bounded(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let request = request(&samples::repo(), "", "wait: true");
    let mut id = start_execution(server, &request).await;
    for _ in 0..MAX_CHILD_DEPTH {
        id = start_child(server, id, &request.pipeline).await;
    }
    let (_, reply) = report_child(server, id, "go", &request.pipeline).await;
    assert_eq!(reply.execution, None);
    assert!(reply.lines[0].contains("at most 3 levels"), "{:?}", reply.lines);
}

/// The worker of a job knows that a job made the file of its execution, or of one above it.
pub async fn worker_knows_of_file_that_a_job_made(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let plain = request(&samples::repo(), "", "wait: true");
    let made = "name: parent\nstages: [one, two]\njobs:\n  make: { stage: one, image: i, script: x, artifacts: { paths: [child.yml] } }\n  \
                go: { stage: two, pipeline: { file: child.yml, artifact_of: make } }\n";
    for (text, is_of_artifact) in [(plain.pipeline.as_str(), false), (made, true)] {
        let id = start_execution(server, &ExecuteRequest { pipeline: text.into(), ..plain.clone() }).await;
        if is_of_artifact {
            run(server, id, "make", 0).await;
        }
        let child = start_child(server, id, &plain.pipeline).await;
        let below = start_child(server, child, &plain.pipeline).await;
        let go = claim(server, job(server, below, "go").await.id).await.unwrap();
        assert_eq!(go.extras.child.unwrap().is_of_artifact, is_of_artifact);
    }
}

/// The executions below one are bounded in all: those that there may be are divided among its jobs that start one.
pub async fn descendants_of_an_execution_are_bounded(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let mut request = request(&samples::repo(), "parallel: 100, ", "wait: true");
    // A request may store ten times its size.
    request.pipeline = format!("# {}\n{}", "x".repeat(10_000), request.pipeline);
    let id = start_execution(server, &request).await;
    let child = |jobs: usize| {
        let keys = "stage: test, pipeline: { file: child.yml }";
        format!("name: child\njobs:\n  go: {{ parallel: {jobs}, {keys} }}\n# {}\n", "x".repeat(2_000))
    };
    let (_, reply) = report_child(server, id, "go 1/100", &child(10)).await;
    assert_eq!(reply.execution, None);
    assert!(reply.lines[0].contains("10 of its jobs start a pipeline, and 9 may"), "{:?}", reply.lines);
    let (_, reply) = report_child(server, id, "go 2/100", &child(9)).await;
    let below = reply.execution.unwrap_or_else(|| panic!("{:?}", reply.lines));
    // None is left below these.
    let (_, reply) = report_child(server, below, "go 1/9", &child(2)).await;
    assert!(reply.lines[0].contains("2 of its jobs start a pipeline, and 0 may"), "{:?}", reply.lines);
    let (_, reply) = report_child(server, below, "go 2/9", CHILD).await;
    let last = reply.execution.unwrap_or_else(|| panic!("{:?}", reply.lines));
    // A cancel reaches more children than are canceled at the same time.
    let mut children = vec![below, last];
    for number in 3..=20 {
        let (_, reply) = report_child(server, id, &format!("go {number}/100"), CHILD).await;
        children.extend(reply.execution);
    }
    assert_eq!(children.len(), 20);
    assert!(server.pipelines.cancel(id).await.unwrap().canceled);
    for child in children {
        assert!(view(server, child).await.execution.cancel_requested);
    }
}

/// A viewer who knows a revision of an execution learns of each change of the statuses of its children.
pub async fn status_of_child_changes_revision_of_parent(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    for keys in ["wait: true", "wait: false"] {
        let id = start_execution(server, &request(&samples::repo(), "", keys)).await;
        let child = start_child(server, id, CHILD).await;
        let mut known = server.pipelines.view(id, None, 0).await.unwrap().revision;
        let assignment = claim(server, job(server, child, "work").await.id).await.unwrap();
        for expected in [ExecutionStatus::Running, ExecutionStatus::Success] {
            let changed = server.pipelines.view(id, Some(known), 0).await.unwrap();
            let jobs = changed.view.unwrap_or_else(|| panic!("{keys}: {expected} is not seen")).jobs;
            assert_eq!(jobs[0].child.as_ref().unwrap().status, expected, "{keys}");
            known = changed.revision;
            let same = server.pipelines.view(id, Some(known), 0).await.unwrap();
            assert!(same.view.is_none() && same.revision == known, "{keys}");
            if expected == ExecutionStatus::Running {
                super::fixture::end(server, &assignment, 0).await;
            }
        }
    }
}

/// A child gets the variables of its job, and those that the job names for it.
pub async fn child_gets_variables_of_its_job(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let repo = samples::repo();
    let text = "name: child\njobs:\n  work: { image: \"i:${LEVEL}\", script: x, stage: test }\n  \
                never: { image: i, script: x, stage: test, if: 'event != \"parent_pipeline\"' }\n"
        .replace("jobs:", "variables: { LEVEL: '0', OF: '' }\njobs:");
    for (forward, level) in [("[job]", "1"), ("[]", "0"), ("[run]", "0")] {
        let keys = format!("wait: true, forward: {forward}, variables: {{ OF: 'id ${{CI_PIPELINE_ID}}' }}");
        let id = start_execution(server, &request(&repo, "", &keys)).await;
        let child = start_child(server, id, &text).await;
        let jobs = view(server, child).await.jobs;
        assert_eq!(jobs.len(), 1, "the conditions of the child see how it was started");
        let assignment = claim(server, jobs[0].id).await.unwrap();
        assert_eq!(assignment.preparation.image, format!("i:{level}"));
        assert_eq!(assignment.variables["OF"], format!("id {id}"));
    }
    // The worker needs them for the conditions of a GitLab file, beside the event.
    let keys = "gitlab: true, variables: { OF: 'id ${CI_PIPELINE_ID}' }";
    let id = start_execution(server, &request(&repo, "", keys)).await;
    let assignment = claim(server, job(server, id, "go").await.id).await.unwrap();
    let child = assignment.extras.child.unwrap();
    assert_eq!(
        (child.external.values["LEVEL"].as_str(), &child.external.values["OF"]),
        ("1", &format!("id {id}"))
    );
    let event = child.event.unwrap();
    assert_eq!((event.trigger, event.branch.as_deref()), (Trigger::ParentPipeline, Some("main")));
}

/// A child is of the same commit and pull request as its parent, so that a fork's child has no more rights than the fork.
pub async fn child_has_rights_of_its_parent(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    for from_fork in [false, true] {
        let pull_request = PullRequest { from_fork, target_branch: "main".into(), ..PullRequest::default() };
        let facts = Facts {
            trigger: Trigger::PullRequest,
            branch: Some("topic".into()),
            default_branch: Some("topic".into()),
            pull_request: Some(pull_request),
            ..Facts::default()
        };
        let start = InternalStart { facts, ..InternalStart::default() };
        let request = request(&samples::repo(), "", "wait: true");
        let id = server.pipelines.start(request, start, None, None).await.unwrap().execution_id;
        let child = start_child(server, id, CHILD).await;
        let assignment = claim(server, job(server, child, "work").await.id).await.unwrap();
        assert_eq!(assignment.preparation.origin.is_fork, from_fork);
        assert_eq!(assignment.extras.may_keep_caches, !from_fork);
        assert_eq!(assignment.variables["CI_COMMIT_REF_PROTECTED"], "false");
        assert_eq!(assignment.variables["CI_PIPELINE_SOURCE"], "parent_pipeline");
    }
}

/// A cancel of the parent cancels its children and theirs, whether or not a job waits for them.
pub async fn cancel_of_parent_cancels_children(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    for keys in ["wait: true", "wait: false"] {
        let request = request(&samples::repo(), "", keys);
        let id = start_execution(server, &request).await;
        let child = start_child(server, id, &request.pipeline).await;
        let grandchild = start_child(server, child, CHILD).await;
        assert!(server.pipelines.cancel(id).await.unwrap().canceled);
        for id in [id, child, grandchild] {
            assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Canceled, "{keys}");
        }
        assert_eq!(statuses(server, grandchild).await, [Canceled]);
        // A canceled job starts nothing.
        let id = start_execution(server, &request).await;
        let assignment = claim(server, job(server, id, "go").await.id).await.unwrap();
        server.pipelines.cancel(id).await.unwrap();
        let report = ChildReport {
            job_id: assignment.preparation.job_id,
            lease: assignment.lease.token,
            path: "child.yml".into(),
            text: CHILD.into(),
            includes: Vec::new(),
            paths: None,
            compared: ComparedPaths::new(),
        };
        assert_eq!(server.pipelines.start_child(report).await.unwrap().execution, None);
        assert_eq!(job(server, id, "go").await.status, Running);
    }
}

/// A cancel of a job cancels the child that it started.
pub async fn cancel_of_job_cancels_its_child(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let id = start_execution(server, &request(&samples::repo(), "", "wait: true")).await;
    let (report, reply) = report_child(server, id, "go", CHILD).await;
    let child = reply.execution.unwrap();
    assert!(server.jobs.cancel(report.job_id).await.unwrap().canceled);
    assert_eq!(view(server, child).await.execution.status, ExecutionStatus::Canceled);
}

/// A retry runs the child of a job again that did not succeed, and carries over one that did.
pub async fn retry_starts_unsuccessful_child_again(subject: &StoresUnderTest) {
    let server = &services(subject.open().await);
    let request = request(&samples::repo(), "", "wait: true");
    let id = start_execution(server, &request).await;
    let child = start_child(server, id, CHILD).await;
    run(server, child, "work", 1).await;
    let retried = server.pipelines.retry(id, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(statuses(server, retried).await, [Queued, Pending]);
    let second = start_child(server, retried, CHILD).await;
    assert_ne!(second, child);
    run(server, second, "work", 0).await;
    run(server, retried, "after", 1).await;
    let third = server.pipelines.retry(retried, RetryRequest::default(), None).await.unwrap().execution_id;
    assert_eq!(statuses(server, third).await, [Success, Queued], "the child succeeded");
    assert_eq!(job(server, third, "go").await.child.unwrap().execution_id, second);
    run(server, third, "after", 0).await;
    assert_eq!(view(server, third).await.execution.status, ExecutionStatus::Success);
    // A retry of the child by itself has no effect on the parent.
    let alone = server.pipelines.retry(child, RetryRequest::default(), None).await.unwrap().execution_id;
    run(server, alone, "work", 0).await;
    assert_eq!(view(server, alone).await.execution.status, ExecutionStatus::Success);
    assert_eq!(view(server, id).await.execution.status, ExecutionStatus::Failed);
}

/// If a server dies after the end of a child is recorded, the sweep continues the parent.
pub async fn sweep_continues_parent_of_ended_child(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let server = &services(stores.clone());
    let id = start_execution(server, &request(&samples::repo(), "", "wait: true")).await;
    start_child(server, id, CHILD).await;
    let nodes = stores.records.all_nodes(id).await.unwrap();
    let gate = nodes.iter().find(|node| node.spec.child_of.is_some()).unwrap().key;
    let NodeKey { execution, ix } = gate;
    let parent = ParentGate { gate, key: format!("approve:{execution}:{ix}"), job: "go".into() };
    let writes = open_parent_gate(parent, ExecutionStatus::Success, stores.clock.now());
    stores.records.commit(writes.into()).await.unwrap();
    assert_eq!(statuses(server, id).await, [Success, Pending]);
    server.sweep.run().await.unwrap();
    assert_eq!(statuses(server, id).await, [Success, Queued]);
}
