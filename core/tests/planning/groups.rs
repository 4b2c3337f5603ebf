//! Jobs in concurrency groups.

use super::{Run, job, pipeline};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use tidemill_core::execution::facts::Facts;
use tidemill_core::execution::status::JobStatus;
use tidemill_core::execution::transition::JobEvent;
use tidemill_core::pipeline::{Environment, Job, JobConcurrency, JobOptions, MAX_JOB_GROUP_BYTES, When};
use tidemill_core::plan::{Plan, PlanError};
use tidemill_core::records::{Node, NodeBody, Write};
use tidemill_core::scheduler::{NextStep, apply_event, next_step, precompute, with_place};
use tidemill_core::time::Timestamp;

fn group(name: &str) -> JobOptions {
    let concurrency = Some(JobConcurrency { group: name.to_owned(), limit: 1 });
    JobOptions { concurrency, ..JobOptions::default() }
}

fn limited(name: &str, stage: usize, needs: Option<&[&str]>) -> Job {
    Job { surroundings: group("g"), ..job(name, stage, needs) }
}

fn plan_of(job: Job, variables: &[(&str, &str)]) -> Result<Plan, PlanError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let facts = Facts { branch: Some("main".to_owned()), ..Facts::with_variables(variables.collect()) };
    Plan::for_facts(&pipeline(1, vec![job]), &facts)
}

#[test]
fn group_name_has_its_references_substituted() {
    let environment = Some(Environment { name: "review/${branch}".to_owned(), ..Environment::default() });
    let options = |name: &str| JobOptions { environment: environment.clone(), ..group(name) };
    for (name, expected) in [
        ("deploy", Some("deploy")),
        ("${TARGET}-${branch}", Some("prod-main")),
        ("${CI_ENVIRONMENT_NAME}", Some("review/main")),
        // As in GitLab, a name of unset variables names no group.
        ("${tag}", None),
        (" ${tag}", None),
    ] {
        let plan = plan_of(Job { surroundings: options(name), ..job("a", 0, None) }, &[("TARGET", "prod")]);
        let planned = plan.unwrap().jobs.remove(0).surroundings.concurrency;
        assert_eq!(planned.map(|one| one.group).as_deref(), expected, "{name}");
    }
    for value in ["x".repeat(MAX_JOB_GROUP_BYTES + 1), "a\nb".to_owned()] {
        let plan = plan_of(Job { surroundings: group("${X}"), ..job("a", 0, None) }, &[("X", &value)]);
        assert_eq!(plan, Err(PlanError::BadGroup("a".to_owned())));
    }
}

#[test]
fn job_requests_its_place_when_nothing_else_is_missing() {
    let jobs = vec![job("first", 0, None), limited("own", 0, None), limited("later", 1, Some(&["first"]))];
    let plan = Plan::new(&pipeline(2, jobs), &IndexMap::new()).unwrap();
    let mut run = Run::new(&plan);
    assert_eq!(run.queued(), [0]);
    let [own, later] = [1, 2].map(|ix: usize| run.nodes.nodes()[ix].clone());
    assert_eq!((own.due_at, later.due_at), (Some(Timestamp(0)), None));
    assert!(matches!(next_step(&own, Timestamp(0)), NextStep::RequestPlace));
    assert!(matches!(next_step(&later, Timestamp(0)), NextStep::Idle));
    assert!(with_place(&later, Timestamp(0)).is_none());
    let queued = with_place(&own, Timestamp(5)).unwrap();
    assert_eq!((queued.send_after, queued.releases), (Some(0), None));
    let [Write::PutNode { state, .. }] = queued.writes.as_slice() else { panic!("{:?}", queued.writes) };
    assert_eq!(state.status(), Some(JobStatus::Queued));
    run.end(0, false);
    assert!(matches!(next_step(&run.nodes.nodes()[2], Timestamp(0)), NextStep::RequestPlace));
}

#[test]
fn job_that_may_have_a_place_releases_it_at_its_end() {
    let plan = |when| {
        let last = Job { when, ..limited("last", 1, Some(&["first"])) };
        Plan::new(&pipeline(2, vec![limited("first", 0, None), last]), &IndexMap::new()).unwrap()
    };
    let run = Run::new(&plan(When::OnSuccess));
    let released = |ix: usize| {
        let node = &run.nodes.nodes()[ix];
        let NodeBody::Job(item) = &node.state.body else { panic!("not a job") };
        apply_event(node, item, JobEvent::Cancel, Timestamp(0)).unwrap().releases.map(|one| one.group)
    };
    assert_eq!(released(0).as_deref(), Some("g"), "it waits for a place");
    assert_eq!(released(1), None, "it waits for its need");
    // A job that is skipped requests no place.
    let mut skipped = Run::new(&plan(When::OnFailure)).nodes.nodes()[1].clone();
    skipped.waits_for = 0;
    let NextStep::Apply(transition) = next_step(&skipped, Timestamp(0)) else { panic!("it is not skipped") };
    assert_eq!(transition.releases, None);
}

#[test]
fn job_in_a_group_is_not_queued_in_the_batch_of_its_need() {
    let jobs = vec![job("first", 0, Some(&[])), limited("last", 0, Some(&["first"]))];
    let run = Run::new(&Plan::new(&pipeline(1, jobs), &IndexMap::new()).unwrap());
    let nodes: BTreeMap<u32, Node> =
        run.nodes.nodes().iter().map(|node| (node.key.ix, node.clone())).collect();
    let NodeBody::Job(first) = &nodes[&0].state.body else { panic!("not a job") };
    let mut writes = apply_event(&nodes[&0], first, JobEvent::Cancel, Timestamp(0)).unwrap().writes;
    for write in &mut writes {
        if let Write::Arrive { ok, .. } = write {
            *ok = true;
        }
    }
    precompute(&mut writes, &nodes, &mut 50, Timestamp(0));
    let is_continued =
        |write: &Write| matches!(write, Write::Arrive { key, continuation: Some(_), .. } if key.ix == 1);
    assert!(!writes.iter().any(is_continued));
}
