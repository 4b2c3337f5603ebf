//! Jobs that start other pipelines.

use super::outputs::settle;
use super::{Run, job, pipeline, plan};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use tidemill_core::execution::facts::Facts;
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::execution::transition::JobEvent;
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::{
    ChildPipeline, Job, MAX_CHILDREN_OF_CHILD, MAX_DESCENDANTS, Rule, When, descendants_of_child,
};
use tidemill_core::plan::{Plan, PlanError};
use tidemill_core::records::{JobRecord, Node, NodeBody, NodeState, Write};
use tidemill_core::scheduler::{
    CONDITION_NOT_MET, CarriedJob, NextStep, ParentGate, StartConditions, apply_event, new_execution,
    next_step, open_parent_gate,
};

fn starting(name: &str, stage: usize, waits: bool) -> Job {
    let child = ChildPipeline { files: vec!["child.yml".to_owned()], waits, ..ChildPipeline::default() };
    let mut job = Job { image: String::new(), script: Vec::new(), ..job(name, stage, None) };
    job.surroundings.child = Some(Box::new(child));
    job
}

fn gate(run: &Run) -> &Node {
    run.nodes.nodes().iter().find(|node| node.spec.child_of.is_some()).unwrap()
}

/// Applies the end of the child.
fn end_child(run: &mut Run, status: ExecutionStatus) {
    let parent = ParentGate { gate: gate(run).key, key: "k".to_owned(), job: "go".to_owned() };
    let ready = run.nodes.apply(open_parent_gate(parent, status, run.now).into());
    run.nodes.run_from(ready, run.now);
}

/// Records the child that a job starts.
fn record_child(run: &mut Run, ix: usize) {
    let node = &run.nodes.nodes()[ix];
    let NodeBody::Job(item) = &node.state.body else { panic!("node {ix} is not a job") };
    let child = Some(ExecutionId(uuid::Uuid::from_u128(9)));
    let body = NodeBody::Job(Box::new(JobRecord { child, ..JobRecord::clone(item) }));
    let state = NodeState { body, ..node.state.clone() };
    let write = Write::PutNode { key: node.key, if_version: node.version, state, due_at: node.due_at };
    assert!(run.nodes.apply(vec![write]).is_empty());
}

/// Opens the gate of a job without a child, as the step of the gate before it does, and returns the recorded reason.
fn close_gate(run: &mut Run) -> String {
    let gate = gate(run).key;
    let before = &run.nodes.nodes()[gate.ix as usize - 1];
    let NextStep::CloseApprovals { gates, from, transition } = next_step(before, run.now) else {
        panic!("the gate stays closed: {before:?}")
    };
    assert_eq!(gates, [gate.ix]);
    let closing =
        Write::Arrive { key: gate, ok: false, from: from.clone(), now: run.now, continuation: None };
    let mut writes = vec![closing];
    writes.extend(transition.writes);
    let ready = run.nodes.apply(writes);
    run.nodes.run_from(ready, run.now);
    from
}

fn status(run: &Run, ix: usize) -> JobStatus {
    run.nodes.nodes()[ix].state.status().unwrap()
}

#[test]
fn dependents_and_end_wait_for_the_child() {
    let jobs = || vec![starting("go", 0, true), job("after", 1, None), job("aside", 0, None)];
    let plan = plan(2, jobs()).unwrap();
    let (go, aside, after) = (0, 1, 2);
    assert_eq!(plan.jobs[after].name, "after");
    for (status_of_child, expected) in
        [(ExecutionStatus::Success, JobStatus::Queued), (ExecutionStatus::Failed, JobStatus::Skipped)]
    {
        let mut run = Run::new(&plan);
        record_child(&mut run, go);
        run.end(go, false);
        run.end(aside, false);
        assert_eq!(status(&run, after), JobStatus::Pending);
        assert!(!run.has_ended());
        end_child(&mut run, status_of_child);
        assert_eq!(status(&run, after), expected);
        if expected == JobStatus::Queued {
            run.end(after, false);
        }
        assert!(run.has_ended());
    }
    // The child may end before the job that started it.
    let mut run = Run::new(&plan);
    run.end(aside, false);
    end_child(&mut run, ExecutionStatus::Success);
    assert_eq!(status(&run, after), JobStatus::Pending);
    record_child(&mut run, go);
    run.end(go, false);
    assert_eq!(status(&run, after), JobStatus::Queued);
}

#[test]
fn gate_of_a_job_without_child_is_closed_and_tolerates_what_the_job_tolerates() {
    // A job that succeeded without a child counts as one whose child failed.
    for (allow_failure, fails) in [(false, true), (true, true), (false, false), (true, false)] {
        let go = Job { allow_failure, ..starting("go", 0, true) };
        let mut run = Run::new(&plan(2, vec![go, job("after", 1, None)]).unwrap());
        run.end(0, fails);
        assert_eq!(close_gate(&mut run), "go");
        let expected = if allow_failure { JobStatus::Queued } else { JobStatus::Skipped };
        assert_eq!(status(&run, 1), expected, "{allow_failure} {fails}");
    }
}

#[test]
fn dependents_of_a_tolerated_job_that_did_not_run_are_skipped() {
    let tolerated = || Job { allow_failure: true, ..starting("go", 1, true) };
    // Skipped, because a need failed.
    let go = Job { needs: job("go", 1, Some(&["first"])).needs, ..tolerated() };
    let jobs = vec![job("first", 0, None), go, job("after", 2, Some(&["go"]))];
    let mut run = Run::new(&plan(3, jobs).unwrap());
    run.end(0, true);
    assert_eq!(status(&run, 1), JobStatus::Skipped);
    close_gate(&mut run);
    assert_eq!(status(&run, 2), JobStatus::Skipped);
    let NodeBody::Job(item) = &run.nodes.nodes()[2].state.body else { panic!("not a job") };
    let reason = item.job.failure.as_ref().unwrap();
    assert_eq!(reason.message, "skipped: `go` did not succeed");
    assert!(run.has_ended());

    // Canceled.
    let go = Job { stage: "s0".into(), ..tolerated() };
    let mut run = Run::new(&plan(2, vec![go, job("after", 1, None)]).unwrap());
    let node = run.nodes.nodes()[0].clone();
    let NodeBody::Job(item) = &node.state.body else { panic!("not a job") };
    let canceled = apply_event(&node, item, JobEvent::Cancel, run.now).unwrap();
    let ready = run.nodes.apply(canceled.writes);
    run.nodes.run_from(ready, run.now);
    close_gate(&mut run);
    assert_eq!((status(&run, 0), status(&run, 1)), (JobStatus::Canceled, JobStatus::Skipped));

    // Left out by a condition on outputs.
    let mut first = job("first", 0, None);
    first.surroundings.outputs = vec!["a.env".into()];
    let condition = Some("needs.first.outputs.GO == 'yes'".into());
    let rules = vec![Rule { condition, ..Rule::default() }];
    let go = Job { needs: job("go", 1, Some(&["first"])).needs, rules, ..tolerated() };
    let jobs = vec![first, go, job("after", 2, Some(&["go"]))];
    let plan = Plan::for_facts(&pipeline(3, jobs), &Facts::default()).unwrap();
    let mut run = Run::new(&plan);
    run.end(0, false);
    settle(&mut run, &plan);
    assert_eq!(status(&run, 1), JobStatus::Skipped);
    assert_eq!(close_gate(&mut run), CONDITION_NOT_MET);
    settle(&mut run, &plan);
    assert_eq!(status(&run, 2), JobStatus::Skipped);
    assert!(run.has_ended());
}

#[test]
fn on_failure_job_runs_after_a_failed_child_although_another_need_is_left_out() {
    let mut first = job("first", 0, None);
    first.surroundings.outputs = vec!["a.env".into()];
    let condition = Some("needs.first.outputs.GO == 'yes'".into());
    let rules = vec![Rule { condition, ..Rule::default() }];
    let aside = Job { rules, ..job("aside", 1, Some(&["first"])) };
    let fix = Job { when: When::OnFailure, ..job("fix", 2, Some(&["go", "aside"])) };
    let jobs = vec![starting("go", 0, true), first, aside, fix];
    let plan = Plan::for_facts(&pipeline(3, jobs), &Facts::default()).unwrap();
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["go", "first", "aside", "fix"]);
    for (status_of_child, expected) in
        [(ExecutionStatus::Failed, JobStatus::Queued), (ExecutionStatus::Success, JobStatus::Skipped)]
    {
        let mut run = Run::new(&plan);
        record_child(&mut run, 0);
        run.end(0, false);
        run.end(1, false);
        settle(&mut run, &plan);
        assert_eq!(status(&run, 2), JobStatus::Skipped);
        end_child(&mut run, status_of_child);
        settle(&mut run, &plan);
        assert_eq!(status(&run, 3), expected);
    }
}

#[test]
fn child_of_a_carried_job_has_ended() {
    let plan = plan(2, vec![starting("go", 0, true), job("after", 1, None)]).unwrap();
    let mut run = Run::new(&plan);
    run.end(0, false);
    let NodeBody::Job(item) = &run.nodes.nodes()[0].state.body else { panic!() };
    let id = ExecutionId(uuid::Uuid::from_u128(7));
    let from = tidemill_core::ids::JobId::of(id, 0);
    let carried = CarriedJob { from, attempt: 1, log_bytes: 0, state: item.job.clone(), child: Some(id) };
    let carried = BTreeMap::from([("go".to_owned(), carried)]);
    let new = new_execution(&plan, id, &carried, StartConditions::default(), run.now);
    assert_eq!(new.nodes[1].state.status(), Some(JobStatus::Queued));
}

#[test]
fn job_that_does_not_wait_has_no_gates() {
    let run = Run::new(&plan(2, vec![starting("go", 0, false), job("after", 1, None)]).unwrap());
    assert!(run.nodes.nodes().iter().all(|node| node.spec.child_of.is_none()));
}

#[test]
fn number_of_children_is_bounded_and_lower_in_a_child() {
    let many =
        |count: usize| pipeline(1, (0..count).map(|at| starting(&format!("go{at}"), 0, true)).collect());
    let of_child = Facts { parent: Some(ExecutionId(uuid::Uuid::nil())), ..Facts::default() };
    assert!(Plan::for_facts(&many(MAX_CHILDREN_OF_CHILD), &of_child).is_ok());
    let children = MAX_CHILDREN_OF_CHILD + 1;
    assert!(Plan::new(&many(children), &IndexMap::new()).is_ok());
    assert_eq!(
        Plan::for_facts(&many(children), &of_child).unwrap_err(),
        PlanError::TooManyChildren { children, limit: MAX_CHILDREN_OF_CHILD }
    );
}

#[test]
fn changed_paths_are_kept_for_the_conditions_of_children() {
    let changed = Some(vec!["docs/a.md".to_owned()]);
    let facts = Facts { changed: changed.clone(), ..Facts::default() };
    let kept = |jobs| Plan::with_decisive_facts(&pipeline(1, jobs), &facts).unwrap().1;
    let with_child = kept(vec![starting("go", 0, true)]);
    assert_eq!((with_child.changed, with_child.has_all_changes), (changed, true));
    let without = kept(vec![job("a", 0, None)]);
    assert!(!without.has_all_changes && without.changed != facts.changed);
}

#[test]
fn executions_below_one_are_divided_among_its_jobs_that_start_one() {
    for (allowed, starting, share) in
        [(MAX_DESCENDANTS, 100, 9), (MAX_DESCENDANTS, 1, 999), (9, 9, 0), (99, 10, 8), (3, 10, 0), (0, 0, 0)]
    {
        let below = descendants_of_child(allowed, starting);
        assert_eq!(below, share, "{allowed} {starting}");
        assert!(starting > allowed || starting + starting * below <= allowed);
    }
}
