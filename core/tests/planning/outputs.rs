//! Conditions on outputs of jobs, which are decided when their job is due.

use super::{Run, job, pipeline, set_key};
use indexmap::IndexMap;
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::facts::Facts;
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::execution::status::JobStatus;
use tidemill_core::pipeline::{Job, Rule, RuleOutcome};
use tidemill_core::plan::{Plan, PlanError};
use tidemill_core::records::{Node, NodeBody};
use tidemill_core::scheduler::{NextStep, child_gates, decide, next_step, nodes_to_decide};

fn rule(condition: &str) -> Rule {
    Rule { condition: Some(condition.into()), ..Rule::default() }
}

fn build() -> Job {
    let mut build = job("build", 0, None);
    build.surroundings.outputs = vec!["a.env".into()];
    build
}

fn deploy(rules: Vec<Rule>) -> Job {
    Job { rules, ..job("deploy", 1, Some(&["build"])) }
}

fn planned(jobs: Vec<Job>, branch: &str) -> Result<Plan, PlanError> {
    let facts = Facts { branch: Some(branch.into()), ..Facts::default() };
    Plan::for_facts(&pipeline(2, jobs), &facts)
}

fn outputs(pairs: &[(&str, &str)]) -> AttemptEnd {
    let outputs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    AttemptEnd { exit_code: Some(0), outputs, ..AttemptEnd::default() }
}

/// Takes the steps of all nodes that outputs decide.
pub(super) fn settle(run: &mut Run, plan: &Plan) {
    for ix in 0..run.nodes.nodes().len() {
        let node = run.nodes.nodes()[ix].clone();
        let NextStep::Decide { job } = next_step(&node, run.now) else { continue };
        let planned = &plan.jobs[job as usize];
        let at = |ixs: Vec<u32>| -> Vec<Node> {
            ixs.into_iter().map(|ix| run.nodes.nodes()[ix as usize].clone()).collect()
        };
        let mut read = at(nodes_to_decide(planned));
        read.extend(at(child_gates(&read)));
        let (step, again) = (decide(&node, planned, &read, run.now), decide(&node, planned, &read, run.now));
        let (NextStep::Apply(step), NextStep::Apply(again)) = (step, again) else { panic!("no transition") };
        assert_eq!(format!("{step:?}"), format!("{again:?}"), "a repeated decision is the same");
        let ready = run.nodes.apply(step.writes);
        run.nodes.run_from(ready, run.now);
    }
}

fn state_of(run: &Run, ix: usize) -> (JobStatus, Option<(FailureKind, String)>) {
    let NodeBody::Job(item) = &run.nodes.nodes()[ix].state.body else { panic!("{ix} is not a job") };
    (item.job.status, item.job.failure.clone().map(|reason| (reason.kind, reason.message)))
}

#[test]
fn facts_decide_what_they_can_when_planning() {
    let open = "branch == 'main' && needs.build.outputs.GO == 'yes'";
    let jobs = || vec![build(), deploy(vec![rule(open)])];
    let other = planned(jobs(), "topic").unwrap();
    assert_eq!((other.jobs.len(), other.left_out.len()), (1, 1));
    assert!(other.left_out[0].why.contains("does not hold"), "{}", other.left_out[0].why);
    let main = planned(jobs(), "main").unwrap();
    let condition = main.jobs[1].condition.as_ref().unwrap();
    assert_eq!(condition.describe(), format!("if {open}"));
    assert_eq!(condition.provider_indices().collect::<Vec<_>>(), [0]);
    assert!(!condition.otherwise && main.jobs[0].condition.is_none());

    // A rule that always holds decides what open ones leave.
    let never = Rule { then: Some(RuleOutcome::Never), ..rule("needs.build.outputs.SKIP == 'yes'") };
    let unless = planned(vec![build(), deploy(vec![never, rule("branch == 'main'")])], "main").unwrap();
    assert!(unless.jobs[1].condition.as_ref().is_some_and(|condition| condition.otherwise));
    // If every outcome is the same, outputs decide nothing.
    let both = planned(vec![build(), deploy(vec![rule(open), Rule::default()])], "main").unwrap();
    assert_eq!((both.jobs.len(), &both.jobs[1].condition), (2, &None));
}

#[test]
fn due_job_is_queued_or_skipped_by_outputs() {
    let never = Rule { then: Some(RuleOutcome::Never), ..rule("needs.build.outputs.SKIP == 'yes'") };
    let last = job("last", 1, Some(&["deploy"]));
    let plan = planned(
        vec![build(), deploy(vec![never, rule("needs.build.outputs.GO.startsWith('y')")]), last],
        "main",
    )
    .unwrap();
    for (set, expected) in [
        (&[("GO", "yes")][..], None),
        (&[("GO", "yes"), ("SKIP", "yes")], Some("skipped: `needs.build.outputs.SKIP == 'yes'` holds")),
        (&[], Some("skipped: none of its 2 conditions on outputs holds")),
    ] {
        let mut run = Run::new(&plan);
        run.end_with(0, outputs(set));
        assert_eq!(state_of(&run, 1).0, JobStatus::Pending, "its step reads the outputs");
        settle(&mut run, &plan);
        let reason = expected.map(|text| (FailureKind::ConditionNotMet, text.to_owned()));
        let status = if expected.is_some() { JobStatus::Skipped } else { JobStatus::Queued };
        assert_eq!(state_of(&run, 1), (status, reason));
        if expected.is_some() {
            let message = "skipped: `deploy` was skipped by a condition".to_owned();
            assert_eq!(
                state_of(&run, 2),
                (JobStatus::Skipped, Some((FailureKind::ConditionNotMet, message)))
            );
            assert!(run.has_ended() && run.outcomes().iter().all(|outcome| outcome.is_ok()));
        }
    }
}

#[test]
fn variants_of_matrix_decide_and_provide() {
    let mut providers = build();
    set_key(&mut providers, "os", vec!["a".into(), "b".into()]);
    let mut users = deploy(vec![rule("needs.build.outputs.FOR == env('os') || env('os') == 'c'")]);
    set_key(&mut users, "os", vec!["a".into(), "b".into(), "c".into()]);
    let plan = planned(vec![providers, users], "main").unwrap();
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names[2..], ["deploy [os=a]", "deploy [os=b]", "deploy [os=c]"]);
    assert_eq!(plan.jobs[4].condition, None, "facts decide about this one");
    let mut run = Run::new(&plan);
    // Of several variants, the last that set the output wins, in whatever order they end.
    run.end_with(1, outputs(&[("FOR", "b")]));
    run.end_with(0, outputs(&[("FOR", "a")]));
    settle(&mut run, &plan);
    let statuses: Vec<JobStatus> = (2..5).map(|ix| state_of(&run, ix).0).collect();
    assert_eq!(statuses, [JobStatus::Skipped, JobStatus::Queued, JobStatus::Queued]);
}

#[test]
fn start_in_follows_the_decision() {
    let late = Job { start_in_s: Some(60), ..deploy(vec![rule("needs.build.outputs.GO == 'yes'")]) };
    let plan = planned(vec![build(), late], "main").unwrap();
    let mut run = Run::new(&plan);
    run.end_with(0, outputs(&[("GO", "yes")]));
    settle(&mut run, &plan);
    let NodeBody::Job(item) = &run.nodes.nodes()[1].state.body else { panic!("not a job") };
    assert!(item.job.status == JobStatus::Queued && item.job.not_before.is_some());
}

#[test]
fn output_of_job_that_takes_no_part_is_empty() {
    let mut user = deploy(vec![rule("needs.build.outputs.GO == ''")]);
    user.needs.iter_mut().flatten().for_each(|need| need.optional = true);
    let absent = Job { rules: vec![rule("branch == 'never'")], ..build() };
    let plan = planned(vec![absent, user], "main").unwrap();
    assert_eq!(plan.jobs.len(), 1);
    assert_eq!(Run::new(&plan).queued(), [0]);
}

#[test]
fn open_conditions_are_bounded() {
    let mut user = deploy(vec![rule("needs.build.outputs.GO == env('BIG')")]);
    user.variables = IndexMap::from([("BIG".to_owned(), "x".repeat(5_000))]);
    let error = planned(vec![build(), user], "main").unwrap_err().to_string();
    assert!(error.contains("bytes; 4096 is the limit"), "{error}");
}
