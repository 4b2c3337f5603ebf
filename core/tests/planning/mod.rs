//! The plan and the scheduler over random pipelines.

mod children;
mod delayed;
mod groups;
mod outputs;
mod protected;
mod rules;

use indexmap::IndexMap;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidemill_core::execution::{
    attempt::AttemptEnd,
    failure::{FailureKind, FailureReason},
    status::{ExecutionStatus, JobStatus},
    transition::JobEvent,
};
use tidemill_core::{
    ids::{ExecutionId, LeaseToken},
    pipeline::{ImageOptions, Job, Matrix, Need, Pipeline, Resources, Triggers, When},
    plan::{NodeIx, Plan, PlanError},
    records::{NewNode, Node, NodeBody, NodeKey},
    scheduler::{JobOutcome, MemoryNodes, StartConditions, apply_event, final_status, new_execution},
    time::Timestamp,
};

fn job(name: &str, stage: usize, needs: Option<&[&str]>) -> Job {
    Job {
        name: name.into(),
        stage: format!("s{stage}"),
        image: "busybox".into(),
        script: vec!["true".into()],
        needs: needs.map(|names| names.iter().map(|name| Need::of(name)).collect()),
        variables: IndexMap::new(),
        artifacts: None,
        allow_failure: false,
        retry: 0,
        retry_for: tidemill_core::execution::retry::RetryFor::default(),
        timeout_s: 60,
        working_dir: None,
        resources: Resources::default(),
        matrix: Matrix::default(),
        parallel: None,
        variant_name: None,
        image_options: ImageOptions::default(),
        pull_policy: None,
        ..Job::default()
    }
}

fn pipeline(stages: usize, jobs: Vec<Job>) -> Pipeline {
    Pipeline {
        concurrency: None,
        name: "p".into(),
        on: Triggers::default(),
        stages: (0..stages).map(|s| format!("s{s}")).collect(),
        variables: IndexMap::new(),
        timeout_s: None,
        jobs,
    }
}

fn plan(stages: usize, jobs: Vec<Job>) -> Result<Plan, PlanError> {
    Plan::new(&pipeline(stages, jobs), &IndexMap::new())
}

/// Adds a key to a job's matrix.
fn set_key(job: &mut Job, key: &str, values: Vec<String>) {
    if job.matrix.is_empty() {
        job.matrix = Matrix::of(IndexMap::new());
    }
    job.matrix.0[0].keys.insert(key.to_owned(), values);
}

/// Random pipelines without cycles: needs name jobs of the same or an earlier stage that were generated before. The order of the
/// file is then rotated, so that a need may come before or after its job.
fn pipelines() -> impl Strategy<Value = Pipeline> {
    let needs = proptest::collection::vec(any::<prop::sample::Index>(), 0..4);
    let when = prop_oneof![
        4 => Just(When::OnSuccess),
        1 => Just(When::OnFailure),
        1 => Just(When::Always),
        1 => Just(When::Manual),
    ];
    let spec = (0..4_usize, any::<bool>(), needs, 1..4_usize, any::<bool>(), when);
    (proptest::collection::vec(spec, 1..24), any::<prop::sample::Index>()).prop_map(
        |(mut specs, rotation)| {
            specs.sort_by_key(|spec| spec.0);
            let mut jobs: Vec<Job> = Vec::new();
            for (ix, (stage, implicit, needs, variants, allow_failure, when)) in specs.into_iter().enumerate()
            {
                let named: BTreeSet<String> =
                    needs.iter().filter(|_| ix > 0).map(|need| format!("j{}", need.index(ix))).collect();
                let mut job = job(&format!("j{ix}"), stage, None);
                job.needs = (!implicit).then(|| named.iter().map(|name| Need::of(name)).collect());
                job.allow_failure = allow_failure;
                job.when = when;
                if variants > 1 {
                    set_key(&mut job, "v", (0..variants).map(|v| v.to_string()).collect());
                }
                jobs.push(job);
            }
            let by = rotation.index(jobs.len());
            jobs.rotate_left(by);
            pipeline(4, jobs)
        },
    )
}

/// The jobs that each job waits for, computed from the file, without gates.
fn direct_needs(pipeline: &Pipeline, plan: &Plan) -> Vec<Vec<usize>> {
    let stage = |name: &str| pipeline.stages.iter().position(|s| s == name).unwrap();
    let declared: HashMap<&str, &Job> = pipeline.jobs.iter().map(|j| (j.name.as_str(), j)).collect();
    let waits = |job: usize, other: usize| {
        let (job, other) = (&plan.jobs[job], &plan.jobs[other]);
        match &declared[job.base_name.as_str()].needs {
            Some(needs) => needs.iter().any(|need| need.job == other.base_name),
            None => stage(&other.stage) < stage(&job.stage) && !other.is_optional(),
        }
    };
    let all = 0..plan.jobs.len();
    all.clone().map(|job| all.clone().filter(|other| waits(job, *other)).collect()).collect()
}

/// An execution in memory whose manual jobs are all approved.
struct Run {
    nodes: MemoryNodes,
    now: Timestamp,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let (execution, now) = (ExecutionId(uuid::Uuid::nil()), Timestamp(0));
        let approved: Vec<String> = plan.jobs.iter().map(|job| job.name.clone()).collect();
        let conditions = StartConditions { approved: &approved, ..StartConditions::default() };
        let new = new_execution(plan, execution, &BTreeMap::new(), conditions, now);
        let node = |(ix, new): (u32, NewNode)| Node {
            key: NodeKey { execution, ix },
            spec: new.spec,
            state: new.state,
            version: 1,
            waits_for: new.waits_for,
            failed: new.failed,
            blocker: None,
            due_at: new.due_at,
        };
        Self { nodes: MemoryNodes::new((0..).zip(new.nodes).map(node).collect()), now }
    }

    fn jobs(&self) -> impl Iterator<Item = (&Node, JobStatus)> {
        self.nodes.nodes().iter().filter_map(|node| Some((node, node.state.status()?)))
    }

    fn queued(&self) -> Vec<usize> {
        let queued = self.jobs().filter(|(_, status)| *status == JobStatus::Queued);
        queued.map(|(node, _)| node.key.ix as usize).collect()
    }

    fn outcomes(&self) -> Vec<JobOutcome> {
        let outcome = |(node, status): (&Node, _)| JobOutcome { status, tolerated: node.is_tolerated() };
        self.jobs().map(outcome).collect()
    }

    /// Runs a queued job, and applies all transitions that follow from its end.
    fn end(&mut self, job: usize, fails: bool) {
        let failure = fails.then(|| FailureReason::new(FailureKind::ScriptFailed, "it failed"));
        let end = AttemptEnd { failure, exit_code: Some(i32::from(fails)), ..AttemptEnd::default() };
        self.end_with(job, end);
    }

    fn end_with(&mut self, job: usize, end: AttemptEnd) {
        let token = LeaseToken(uuid::Uuid::from_u128(1));
        for event in [
            JobEvent::Claim { token, worker: "w".into(), ttl_ms: 1_000, slot_price: 0 },
            JobEvent::End { token, end, steps: Vec::new() },
        ] {
            let node = &self.nodes.nodes()[job];
            let NodeBody::Job(item) = &node.state.body else { panic!("node {job} is not a job") };
            let transition = apply_event(node, item, event, self.now).unwrap();
            assert!(!transition.more);
            let ready = self.nodes.apply(transition.writes);
            self.nodes.run_from(ready, self.now);
        }
    }

    fn has_ended(&self) -> bool {
        self.nodes.nodes().last().is_some_and(|end| end.state.body == NodeBody::End && end.waits_for == 0)
    }
}

proptest! {
    #[test]
    fn order_respects_needs(pipeline in pipelines()) {
        let plan = Plan::new(&pipeline, &IndexMap::new()).unwrap();
        for (ix, needs) in direct_needs(&pipeline, &plan).iter().enumerate() {
            prop_assert!(needs.iter().all(|need| *need < ix));
            let ix = u32::try_from(ix).unwrap();
            let sources: Vec<usize> = plan.artifact_sources(ix).iter().map(|ix| *ix as usize).collect();
            prop_assert_eq!(sources.into_iter().collect::<BTreeSet<_>>(), needs.iter().copied().collect());
        }
    }

    #[test]
    fn edge_counts_match_on_both_ends(pipeline in pipelines()) {
        let plan = Plan::new(&pipeline, &IndexMap::new()).unwrap();
        let mut arriving: HashMap<NodeIx, u32> = HashMap::new();
        let all = plan.jobs.iter().map(|j| &j.releases).chain(plan.gates.iter().map(|g| &g.releases));
        for node in all.flatten() {
            *arriving.entry(*node).or_default() += 1;
        }
        let jobs = plan.jobs.iter().enumerate().map(|(ix, j)| (NodeIx::Job(u32::try_from(ix).unwrap()), j.waits_for));
        let gates = plan.gates.iter().enumerate().map(|(ix, g)| (NodeIx::Gate(u32::try_from(ix).unwrap()), g.waits_for));
        for (node, waits_for) in jobs.chain(gates) {
            prop_assert_eq!(arriving.get(&node).copied().unwrap_or(0), waits_for);
        }
    }

    /// Runs all jobs in a random order with random outcomes.
    #[test]
    fn every_job_ends_and_none_starts_before_its_needs_hold(
        pipeline in pipelines(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_u8), 100),
    ) {
        let plan = Plan::new(&pipeline, &IndexMap::new()).unwrap();
        let needs = direct_needs(&pipeline, &plan);
        let mut run = Run::new(&plan);
        let mut statuses = vec![JobStatus::Pending; plan.jobs.len()];
        for (pick, outcome) in picks {
            let outcomes = run.outcomes();
            for (ix, job) in outcomes.iter().enumerate() {
                let before = std::mem::replace(&mut statuses[ix], job.status);
                if before == job.status {
                    continue;
                }
                prop_assert!(!before.is_terminal(), "a terminal status changed");
                let all_ended = needs[ix].iter().all(|need| outcomes[*need].status.is_terminal());
                let all_ok = needs[ix].iter().all(|need| outcomes[*need].is_ok());
                let may_run = match plan.jobs[ix].when {
                    When::OnSuccess | When::Manual => all_ok,
                    When::OnFailure => !all_ok,
                    When::Always => true,
                };
                match job.status {
                    JobStatus::Queued => prop_assert!(all_ended && may_run),
                    JobStatus::Skipped => prop_assert!(all_ended && !may_run),
                    _ => prop_assert_eq!(before, JobStatus::Queued),
                }
            }
            let queued = run.queued();
            if queued.is_empty() {
                prop_assert!(run.has_ended(), "no job is queued, and the execution has not ended: {statuses:?}");
                let bad = outcomes.iter().any(|job| job.status == JobStatus::Failed && !job.tolerated);
                let status = final_status(&outcomes, false);
                prop_assert_eq!(status == ExecutionStatus::Failed, bad);
                prop_assert_eq!(status == ExecutionStatus::Success, !bad);
                return Ok(());
            }
            run.end(queued[pick.index(queued.len())], outcome == 0);
        }
        prop_assert!(false, "the execution never ended: {statuses:?}");
    }
}

#[test]
fn label_is_checked_with_its_values() {
    let mut labelled = job("a", 0, None);
    labelled.runs_on = BTreeMap::from([("arch".to_owned(), "${ARCH}".to_owned())]);
    let plan = |value: &str| {
        let overrides = IndexMap::from([("ARCH".to_owned(), value.to_owned())]);
        Plan::new(&pipeline(1, vec![labelled.clone()]), &overrides)
    };
    assert_eq!(plan("arm64").unwrap().jobs[0].runs_on["arch"], "arm64");
    for value in ["a,b=c".to_owned(), String::new(), "x".repeat(5000)] {
        let error = plan(&value).unwrap_err();
        let PlanError::BadLabel { job, label, .. } = &error else { panic!("{error}") };
        assert!(job == "a" && label == "arch" && error.to_string().len() < 500, "{error}");
    }
}

#[test]
fn job_without_an_image_asks_for_a_process() {
    let mut labelled = job("a", 0, None);
    labelled.image = "${KIND}".to_owned();
    labelled.runs_on = BTreeMap::from([("arch".to_owned(), "arm64".to_owned())]);
    let labels = |image: &str| {
        let overrides = IndexMap::from([("KIND".to_owned(), image.to_owned())]);
        let plan = Plan::new(&pipeline(1, vec![labelled.clone()]), &overrides).unwrap();
        tidemill_core::pipeline::labels::queue_name(&plan.jobs[0].runs_on)
    };
    assert_eq!(labels("none"), "arch=arm64,executor=process");
    assert_eq!(labels("none:1"), "arch=arm64");
}

#[test]
fn cycle_is_reported_in_full() {
    let jobs = vec![
        job("a", 0, Some(&["c"])),
        job("b", 0, Some(&["a"])),
        job("c", 0, Some(&["b"])),
        job("d", 0, Some(&["a"])),
    ];
    let Err(PlanError::Cycle(names)) = plan(1, jobs) else { panic!("no cycle is reported") };
    assert_eq!(names.len(), 4);
    assert_eq!(names.first(), names.last());
    for name in ["a", "b", "c"] {
        assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
    }
}

#[test]
fn need_on_later_stage_is_rejected() {
    let result = plan(2, vec![job("early", 0, Some(&["late"])), job("late", 1, None)]);
    assert_eq!(result, Err(PlanError::NeedInLaterStage { job: "early".into(), need: "late".into() }));
}

#[test]
fn large_stage_that_waits_for_large_stage_has_linear_edges() {
    let count = 2_000;
    let jobs = (0..count).flat_map(|ix| [job(&format!("a{ix}"), 0, None), job(&format!("b{ix}"), 1, None)]);
    let plan = plan(2, jobs.collect()).unwrap();
    let edges: usize = plan.jobs.iter().map(|j| j.releases.len()).sum::<usize>()
        + plan.gates.iter().map(|g| g.releases.len()).sum::<usize>();
    assert_eq!(edges, 2 * count);
}

#[test]
fn matrix_expands_into_every_combination_with_values_in_name_and_image() {
    let mut unit = job("unit", 0, None);
    unit.image = "rust:${version}-${os}".into();
    set_key(&mut unit, "version", vec!["1.90".into(), "1.95".into()]);
    set_key(&mut unit, "os", vec!["slim".into()]);
    let plan = plan(1, vec![unit]).unwrap();
    let variants: Vec<_> = plan.jobs.iter().map(|j| (j.name.as_str(), j.image.as_str())).collect();
    let expected = [
        ("unit [version=1.90, os=slim]", "rust:1.90-slim"),
        ("unit [version=1.95, os=slim]", "rust:1.95-slim"),
    ];
    assert_eq!(variants, expected);
}

#[test]
fn ten_thousand_chained_jobs_are_skipped_without_deep_recursion() {
    let names: Vec<String> = (0..10_000).map(|ix| format!("j{ix}")).collect();
    let chained = |ix: usize| match ix.checked_sub(1) {
        Some(before) => job(&names[ix], 0, Some(&[&names[before]])),
        None => job(&names[ix], 0, Some(&[])),
    };
    let plan = plan(1, (0..10_000).map(chained).collect()).unwrap();
    let mut run = Run::new(&plan);
    assert_eq!(run.queued(), [0]);
    run.end(0, true);
    assert!(run.has_ended());
    let skipped = run.jobs().filter(|(_, status)| *status == JobStatus::Skipped).count();
    assert_eq!((skipped, final_status(&run.outcomes(), false)), (9_999, ExecutionStatus::Failed));
}

fn variants(mut job: Job, count: usize) -> Job {
    set_key(&mut job, "k", (0..count).map(|value| value.to_string()).collect());
    job
}

#[test]
fn quadratic_needs_are_rejected() {
    let jobs = vec![variants(job("a", 0, None), 5000), variants(job("b", 1, Some(&["a"])), 4999)];
    assert!(matches!(plan(2, jobs), Err(PlanError::TooLarge(bytes)) if bytes > 1 << 30));
    let jobs = vec![variants(job("a", 0, None), 100), variants(job("b", 1, Some(&["a"])), 100)];
    assert_eq!(plan(2, jobs).unwrap().jobs.len(), 200);
}

#[test]
fn long_variables_and_scripts_count_for_every_variant() {
    let long = "x".repeat(32 << 10);
    let mut scripted = variants(job("a", 0, None), 9000);
    scripted.script = vec![long.clone()];
    assert!(matches!(plan(1, vec![scripted]), Err(PlanError::TooLarge(_))));
    let many = pipeline(1, vec![variants(job("a", 0, None), 9000)]);
    let overrides = IndexMap::from([("v".to_owned(), long)]);
    assert!(matches!(Plan::new(&many, &overrides), Err(PlanError::TooLarge(_))));
    assert_eq!(Plan::new(&many, &IndexMap::new()).unwrap().jobs.len(), 9000);
    let mut image = variants(job("a", 0, None), 9000);
    image.image = "${v}".repeat(100);
    let mut many = pipeline(1, vec![image]);
    many.variables.insert("v".into(), "x".repeat(100));
    assert!(matches!(Plan::new(&many, &IndexMap::new()), Err(PlanError::TooLarge(_))));
}

#[test]
fn overflowing_matrix_is_rejected() {
    let mut wide = job("a", 0, None);
    for key in 0..70 {
        set_key(&mut wide, &format!("k{key}"), vec!["0".into(), "1".into()]);
    }
    assert_eq!(plan(1, vec![wide]).unwrap_err(), PlanError::TooManyJobs(usize::MAX));
}
