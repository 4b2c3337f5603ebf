//! Plans of pipelines whose jobs have rules.

use indexmap::IndexMap;
use proptest::prelude::*;
use std::{collections::HashSet, fmt::Write as _};
use tidemill_core::execution::facts::{Facts, PullRequest};
use tidemill_core::{
    api::Trigger,
    pipeline::{DeploymentTier, EnvironmentAction, Pipeline, When, parse},
    plan::{Plan, PlanError},
};

fn pipeline(source: &str) -> Pipeline {
    parse(source).unwrap_or_else(|found| panic!("{found:?}"))
}

fn on_branch(branch: &str) -> Facts {
    Facts {
        trigger: Trigger::Push,
        branch: Some(branch.into()),
        default_branch: Some("main".into()),
        ..Facts::default()
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.jobs.iter().map(|job| job.name.as_str()).collect()
}

const PIPELINE_WITH_RULES: &str = r#"
name: ruled
stages: [build, test, docs, deploy]
variables: { LEVEL: one }
defaults: { image: busybox }
jobs:
  build: { stage: build, script: make }
  unit:
    stage: test
    script: make test
    needs: [build, { job: lint, optional: true }]
    rules: [{ changes: ["src/**"], variables: { LEVEL: two } }, { if: "env('FULL') == 'yes'", when: always }]
  lint: { stage: test, script: make lint, needs: [], if: "event == 'pull_request'" }
  after-lint: { stage: test, script: make more, needs: [{ job: lint, optional: true }] }
  site: { stage: docs, script: make site, if: branch == default_branch }
  deploy:
    stage: deploy
    script: make deploy
    when: manual
    rules:
      - { if: fork, when: never }
      - { if: branch == default_branch, allow_failure: true }
      - { exists: [Dockerfile], when: on_failure }
"#;

fn ruled() -> Pipeline {
    pipeline(PIPELINE_WITH_RULES)
}

#[test]
fn first_matching_rule_decides() {
    let facts =
        Facts { changed: Some(vec!["src/a.rs".into()]), files: Some(Vec::new()), ..on_branch("main") };
    let plan = Plan::for_facts(&ruled(), &facts).unwrap();
    assert_eq!(names(&plan), ["build", "unit", "after-lint", "site", "deploy"]);
    assert_eq!(plan.jobs[1].variables["LEVEL"], "two");
    assert_eq!((plan.jobs[4].when, plan.jobs[4].allow_failure), (When::Manual, true));
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].job, "lint");
    assert_eq!(plan.left_out[0].why, "`event == 'pull_request'` does not hold");
    let full = IndexMap::from([("FULL".to_owned(), "yes".to_owned())]);
    let plan =
        Plan::for_facts(&ruled(), &Facts { changed: Some(Vec::new()), variables: full, ..facts }).unwrap();
    let unit = plan.jobs.iter().find(|job| job.name == "unit").unwrap();
    assert_eq!((unit.when, unit.variables["LEVEL"].as_str()), (When::Always, "one"));
}

#[test]
fn excluded_needs_and_unused_stages_are_removed() {
    let facts = Facts { changed: Some(Vec::new()), files: Some(Vec::new()), ..on_branch("topic") };
    let plan = Plan::for_facts(&ruled(), &facts).unwrap();
    assert_eq!(names(&plan), ["build", "after-lint"]);
    assert_eq!(plan.stages, ["build", "test"]);
    assert!(plan.roots().eq([0, 1]), "a job whose every need is left out starts at once");
    assert_eq!(
        plan.left_out.iter().map(|left| left.job.as_str()).collect::<Vec<_>>(),
        ["unit", "lint", "site", "deploy"]
    );
    assert_eq!(plan.left_out[0].why, "none of its 2 rules holds");
}

#[test]
fn unknown_paths_make_conditions_true() {
    let plan = Plan::for_facts(&ruled(), &on_branch("topic")).unwrap();
    assert_eq!(names(&plan), ["build", "unit", "after-lint", "deploy"]);
    assert_eq!(plan.jobs[3].when, When::OnFailure);
    let request = PullRequest { from_fork: true, ..PullRequest::default() };
    let facts = Facts { trigger: Trigger::PullRequest, pull_request: Some(request), ..on_branch("main") };
    let plan = Plan::for_facts(&ruled(), &facts).unwrap();
    assert_eq!(names(&plan), ["build", "lint", "unit", "after-lint", "site"]);
    assert_eq!(plan.left_out[0].why, "rule 1 excludes the job: if fork");
}

#[test]
fn empty_plan_error_names_conditions() {
    let pipeline = pipeline("name: a\njobs:\n  a: { image: x, script: x, if: fork }\n");
    let error = Plan::for_facts(&pipeline, &Facts::default()).unwrap_err();
    assert!(matches!(error, PlanError::AllExcluded(_)));
    assert!(error.to_string().contains("conditions"), "{error}");
}

#[test]
fn failing_condition_names_job() {
    let pipeline = pipeline(
        "name: a\njobs:\n  a: { image: x, script: x, if: \"branch.matches(env('P'))\", variables: { P: '[' } }\n",
    );
    let error = Plan::for_facts(&pipeline, &Facts::default()).unwrap_err().to_string();
    assert!(
        error.contains("`a`")
            && error.contains("branch.matches(env('P'))")
            && error.contains("not a pattern"),
        "{error}"
    );
}

#[test]
fn references_are_expanded_where_allowed() {
    let pipeline = pipeline(
        r#"
name: refs
variables: { V: "17" }
jobs:
  a:
    image: app:${branch}
    script: echo ${V}
    matrix: { os: [alpine, debian] }
    services: [{ image: "postgres:${V}-${os}", variables: { A: "${V}" } }]
    cache: { key: "${pipeline}-${job}-${tag}", fallback_keys: ["${branch}"], paths: [x] }
    environment: { name: "review/${branch}", url: "https://${branch}.example.org/${W}" }
    rules: [{ if: "true", variables: { W: w } }]
"#,
    );
    let plan = Plan::for_facts(&pipeline, &on_branch("topic")).unwrap();
    let job = &plan.jobs[0];
    assert_eq!(job.image, "app:topic");
    assert_eq!(job.script, ["echo ${V}"]);
    let around = &job.surroundings;
    assert_eq!(around.services[0].image, "postgres:17-alpine");
    assert_eq!(around.services[0].variables["A"], "${V}", "only the image is expanded");
    assert_eq!(around.services[0].alias, ["postgres"]);
    assert_eq!(around.caches[0].key, "refs-a [os=alpine]-");
    assert_eq!(around.caches[0].fallback_keys, ["topic"]);
    let environment = around.environment.as_ref().unwrap();
    assert_eq!(environment.name, "review/topic");
    assert_eq!(environment.url.as_deref(), Some("https://topic.example.org/w"));
}

#[test]
fn environment_says_what_the_job_does_with_it() {
    let pipeline = pipeline(
        r#"
name: environments
jobs:
  deploy:
    image: i
    script: x
    environment: { name: "review/${branch}", on_stop: stop, auto_stop_in: 1d, tier: testing }
  stop:
    image: app:${CI_ENVIRONMENT_ACTION}-${CI_ENVIRONMENT_TIER}
    script: x
    if: 'env("CI_ENVIRONMENT_ACTION") == "stop"'
    when: manual
    environment: { name: "review/${branch}", action: stop }
"#,
    );
    let plan = Plan::for_facts(&pipeline, &on_branch("topic")).unwrap();
    let of = |ix: usize| plan.jobs[ix].surroundings.environment.clone().unwrap();
    let (deploy, stop) = (of(0), of(1));
    assert_eq!((deploy.name.as_str(), stop.name.as_str()), ("review/topic", "review/topic"));
    assert_eq!((deploy.on_stop.as_deref(), deploy.auto_stop_in_s), (Some("stop"), Some(86_400)));
    assert_eq!((deploy.action, stop.action), (EnvironmentAction::Start, EnvironmentAction::Stop));
    assert_eq!((deploy.tier, stop.tier), (Some(DeploymentTier::Testing), None));
    assert_eq!(plan.jobs[1].image, "app:stop-development");
}

#[test]
fn variable_overrides_reference_name() {
    let pipeline =
        pipeline("name: a\nvariables: { tag: v1 }\njobs:\n  a: { image: \"x:${tag}\", script: x }\n");
    assert_eq!(Plan::for_facts(&pipeline, &on_branch("b")).unwrap().jobs[0].image, "x:v1");
}

#[test]
fn job_option_texts_count_toward_size() {
    let long = "x".repeat(30_000);
    for around in [
        format!("after_script: [{long}]"),
        format!("services: [{{ image: x, variables: {{ A: {long} }} }}]"),
        format!("cache: {{ paths: [{long}] }}"),
        format!("rules: [{{ if: fork, variables: {{ A: {long} }} }}]"),
        "environment: { name: x, url: \"https://${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}${A}\" }\n    \
         variables: { A: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA }"
            .replace("AAAAAAAAAA", &"A".repeat(2_000)),
    ] {
        let values = (0..256).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let mut jobs = String::new();
        for n in 0..39 {
            writeln!(jobs, "  j{n}:\n    image: x\n    script: x\n    matrix: {{ K: [{values}] }}\n    <<: *shared").unwrap();
        }
        let found = parse(&format!("name: a\n.shared: &shared\n    {around}\njobs:\n{jobs}")).unwrap_err();
        // A long glob is an error of its own.
        assert!(found.iter().any(|one| one.code == "plan-too-large"), "{}: {found:?}", &around[..20]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Jobs of random stages and needs, each left out by a coin of its own.
    #[test]
    fn excluded_jobs_leave_no_trace_in_plan(
        specs in prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..14),
    ) {
        let mut specs = specs;
        specs.sort_by_key(|spec| spec.0);
        let write = |only_left: bool| {
            let mut text = String::new();
            for (ix, (stage, out, named, needs)) in specs.iter().enumerate() {
                if only_left && *out {
                    continue;
                }
                let needs: HashSet<usize> = needs.iter().filter(|_| ix > 0).map(|need| need.index(ix)).collect();
                let mut needs: Vec<usize> = needs.into_iter().filter(|need| !only_left || !specs[*need].1).collect();
                needs.sort_unstable();
                let needs: Vec<String> = needs
                    .iter()
                    .map(|need| if only_left { format!("j{need}") } else { format!("{{ job: j{need}, optional: true }}") })
                    .collect();
                let needs = if *named { format!(", needs: [{}]", needs.join(", ")) } else { String::new() };
                let rule = if only_left { "" } else if *out { ", if: fork" } else { ", if: \"!fork\"" };
                writeln!(text, "  j{ix}: {{ stage: s{stage}, image: x, script: x{needs}{rule} }}").unwrap();
            }
            let used: Vec<String> = (0..3)
                .filter(|stage| specs.iter().any(|spec| spec.0 == *stage && !(only_left && spec.1)))
                .map(|stage| format!("s{stage}"))
                .collect();
            format!("name: p\nstages: [{}]\njobs:\n{text}", used.join(", "))
        };
        let ruled = Plan::for_facts(&pipeline(&write(false)), &Facts::default());
        if specs.iter().all(|spec| spec.1) {
            prop_assert!(matches!(ruled, Err(PlanError::AllExcluded(_))));
        } else {
            let mut ruled = ruled.unwrap();
            prop_assert_eq!(ruled.left_out.len(), specs.iter().filter(|spec| spec.1).count());
            ruled.left_out.clear();
            prop_assert_eq!(ruled, Plan::for_facts(&pipeline(&write(true)), &Facts::default()).unwrap());
        }
    }
}
