//! Rules, conditions and references in a plan.

use indexmap::IndexMap;
use tidemill_core::execution::facts::{Facts, JobSelection};
use tidemill_core::pipeline::{Cache, Environment, Job, Matrix, Need, Rule, RuleOutcome, Service, When};
use tidemill_core::plan::{ExcludedJob, Plan, PlanError, compared_refs};

use super::{job, pipeline, variants};

fn rule(condition: &str) -> Rule {
    Rule { condition: Some(condition.to_owned()), ..Rule::default() }
}

fn ruled(name: &str, stage: usize, needs: Option<&[&str]>, rules: Vec<Rule>) -> Job {
    Job { rules, ..job(name, stage, needs) }
}

fn on_branch(branch: &str) -> Facts {
    Facts { branch: Some(branch.to_owned()), ..Facts::default() }
}

#[test]
fn first_matching_rule_sets_participation() {
    let manual = Rule {
        then: Some(RuleOutcome::When(When::Manual)),
        allow_failure: Some(true),
        variables: [("CHANNEL".to_owned(), "beta".to_owned())].into_iter().collect(),
        ..rule("branch == \"next\"")
    };
    let never = Rule { then: Some(RuleOutcome::Never), ..rule("branch == \"main\"") };
    let rules = vec![
        manual,
        never,
        rule("branch != \"old\""),
        Rule { changes: vec!["src/**".into()], ..Rule::default() },
    ];
    let pipeline = pipeline(1, vec![job("always", 0, None), ruled("ruled", 0, None, rules)]);
    let of = |facts: &Facts| Plan::for_facts(&pipeline, facts).unwrap();

    let next = of(&on_branch("next"));
    assert_eq!((next.jobs[1].when, next.jobs[1].allow_failure), (When::Manual, true));
    assert_eq!(next.jobs[1].variables["CHANNEL"], "beta");
    let main = of(&on_branch("main"));
    assert_eq!(
        (main.jobs.len(), main.left_out[0].why.as_str()),
        (1, "rule 2 excludes the job: if branch == \"main\"")
    );
    let other = of(&on_branch("other"));
    assert_eq!((other.jobs[1].when, other.jobs[1].allow_failure), (When::OnSuccess, false));
    assert!(!other.jobs[1].variables.contains_key("CHANNEL"));
    let changed = |path: &str| Facts { changed: Some(vec![path.to_owned()]), ..on_branch("old") };
    assert_eq!(of(&changed("src/a.rs")).jobs.len(), 2);
    let unchanged = of(&changed("docs/a.md"));
    assert_eq!((unchanged.jobs.len(), unchanged.left_out[0].why.as_str()), (1, "none of its 4 rules holds"));
    assert_eq!(of(&on_branch("old")).jobs.len(), 2, "unknown changes match");
}

#[test]
fn optional_needs_on_excluded_jobs_are_removed_and_others_are_errors() {
    let mut b = job("b", 1, Some(&["a"]));
    let a = || ruled("a", 0, None, vec![rule("branch == \"main\"")]);
    let error = Plan::for_facts(&pipeline(2, vec![a(), b.clone()]), &on_branch("x")).unwrap_err();
    let PlanError::NeedExcluded { job: dependent, need, why } = &error else { panic!("{error}") };
    assert_eq!((dependent.as_str(), need.as_str()), ("b", "a"));
    assert!(why.contains("does not hold") && error.to_string().contains("optional: true"), "{error}");
    b.needs = Some(vec![Need { optional: true, ..Need::of("a") }]);
    let jobs = vec![a(), b, job("c", 2, None)];
    let plan = Plan::for_facts(&pipeline(3, jobs.clone()), &on_branch("x")).unwrap();
    assert_eq!(plan.stages, ["s1", "s2"]);
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!((names.as_slice(), plan.jobs[0].waits_for, plan.jobs[1].waits_for), (&["b", "c"][..], 0, 1));
    assert_eq!(
        plan.left_out,
        [ExcludedJob { job: "a".into(), why: "`branch == \"main\"` does not hold".into() }]
    );
    let whole = Plan::for_facts(&pipeline(3, jobs), &on_branch("main")).unwrap();
    assert_eq!((whole.jobs.len(), whole.jobs[1].waits_for), (3, 1));
    let none =
        Plan::for_facts(&pipeline(1, vec![ruled("a", 0, None, vec![rule("fork")])]), &Facts::default());
    assert!(none.unwrap_err().to_string().contains("`a`: `fork` does not hold"));
}

#[test]
fn artifacts_come_from_dependencies_by_default() {
    let named = |names: &[&str]| Job {
        dependencies: Some(names.iter().map(|name| Need::of(name)).collect()),
        ..job("consumer", 1, None)
    };
    let producers =
        || [ruled("a", 0, None, vec![rule("branch == \"main\"")]), variants(job("b", 0, None), 2)];
    let sources = |consumer: Job, branch: &str| {
        let jobs = producers().into_iter().chain([consumer]).collect();
        let plan = Plan::for_facts(&pipeline(2, jobs), &on_branch(branch)).unwrap();
        let last = u32::try_from(plan.jobs.len() - 1).unwrap();
        plan.artifact_sources(last)
    };
    assert_eq!(sources(job("consumer", 1, None), "main"), [0, 1, 2]);
    assert_eq!(sources(named(&["b"]), "main"), [1, 2]);
    assert_eq!(sources(named(&["a"]), "main"), [0]);
    assert!(sources(named(&["a"]), "x").is_empty(), "the job is excluded");
    assert!(sources(named(&[]), "main").is_empty());
}

#[test]
fn conditions_see_job_variables() {
    let mut job = ruled(
        "a",
        0,
        None,
        vec![rule("env(\"A\") == \"override\" && env(\"B\") == \"job\" && env(\"C\") == \"pipeline\"")],
    );
    job.variables.insert("A".into(), "job".into());
    job.variables.insert("B".into(), "job".into());
    let mut pipeline = pipeline(1, vec![job]);
    for name in ["A", "B", "C"] {
        pipeline.variables.insert(name.into(), "pipeline".into());
    }
    let overrides = [("A".to_owned(), "override".to_owned())].into_iter().collect();
    assert_eq!(Plan::for_facts(&pipeline, &Facts::with_variables(overrides)).unwrap().jobs.len(), 1);
    assert!(matches!(Plan::for_facts(&pipeline, &Facts::default()), Err(PlanError::AllExcluded(_))));
    pipeline.jobs[0].rules = vec![rule("branch.matches(env(\"A\") + \"(\")")];
    let error = Plan::for_facts(&pipeline, &Facts::default()).unwrap_err().to_string();
    assert!(error.contains("of job `a` cannot be evaluated"), "{error}");
}

#[test]
fn references_in_job_options_are_expanded() {
    let mut job = job("a", 0, None);
    let service: Service = serde_json::from_value(serde_json::json!({
        "image": "postgres:${PG}", "alias": ["db"], "ready_within_s": 60
    }))
    .unwrap();
    let cache: Cache = serde_json::from_value(serde_json::json!({
        "key": "${branch}-${job}-${PG}", "fallback_keys": ["${pipeline}"], "paths": ["x"]
    }))
    .unwrap();
    job.surroundings.services = vec![service];
    job.surroundings.caches = vec![cache];
    job.surroundings.environment = Some(Environment {
        name: "review/${branch}".into(),
        url: Some("https://${branch}.example.org".into()),
        ..Environment::default()
    });
    super::set_key(&mut job, "PG", vec!["16".into(), "17".into()]);
    let plan = Plan::for_facts(&pipeline(1, vec![job]), &on_branch("x")).unwrap();
    let options = &plan.jobs[1].surroundings;
    assert_eq!(options.services[0].image, "postgres:17");
    assert_eq!(
        (options.caches[0].key.as_str(), options.caches[0].fallback_keys[0].as_str()),
        ("x-a [PG=17]-17", "p")
    );
    let environment = options.environment.as_ref().unwrap();
    assert_eq!(
        (environment.name.as_str(), environment.url.as_deref()),
        ("review/x", Some("https://x.example.org"))
    );
}

#[test]
fn recorded_facts_keep_only_paths_that_decide() {
    let globs = |changes: &[&str], exists: &[&str]| Rule {
        changes: changes.iter().map(|glob| (*glob).to_owned()).collect(),
        exists: exists.iter().map(|glob| (*glob).to_owned()).collect(),
        ..rule("true")
    };
    let jobs = vec![
        ruled("docs", 0, None, vec![globs(&["docs/**"], &[])]),
        ruled("code", 0, None, vec![globs(&["src/**"], &["Cargo.toml"])]),
        ruled("never", 0, None, vec![globs(&["none/**"], &[])]),
        ruled("condition", 0, None, vec![rule("exists(\"src/7\") && !changed(\"*.md\")")]),
        job("always", 0, None),
    ];
    let pipeline = pipeline(1, jobs);
    let mut paths: Vec<String> = (0..5_000).map(|n| format!("src/{n}")).collect();
    paths.extend(["Cargo.toml".to_owned(), "docs/a".to_owned(), "docs/b".to_owned()]);
    let facts = Facts { changed: Some(paths.clone()), files: Some(paths), ..on_branch("main") };
    let (plan, decisive) = Plan::with_decisive_facts(&pipeline, &facts).unwrap();
    assert_eq!(decisive.changed.as_deref(), Some(&["src/0".to_owned(), "docs/a".to_owned()][..]));
    assert_eq!(decisive.files.as_deref(), Some(&["src/7".to_owned(), "Cargo.toml".to_owned()][..]));
    let again = Plan::for_facts(&pipeline, &decisive).unwrap();
    assert_eq!((&again, again.digest()), (&plan, plan.digest()));
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["docs", "code", "condition", "always"]);

    let unknown = Facts { changed: None, files: None, ..facts };
    let (all, decisive) = Plan::with_decisive_facts(&pipeline, &unknown).unwrap();
    assert_eq!((decisive.changed, decisive.files), (None, None));
    assert_ne!(all.digest(), plan.digest(), "the plan has other jobs");
    let none = Facts { changed: Some(Vec::new()), files: Some(Vec::new()), ..unknown };
    assert_eq!(Plan::for_facts(&pipeline, &none).unwrap().jobs.len(), 1);
}

#[test]
fn changes_since_a_ref_are_those_of_the_facts() {
    let jobs = vec![
        ruled("docs", 0, None, vec![rule("changed_since(\"main\", \"docs/**\")")]),
        ruled("code", 0, None, vec![rule("changed_since(\"refs/heads/\" + default_branch, \"src/**\")")]),
        ruled("unknown", 0, None, vec![rule("changed_since(\"other\", \"src/**\")")]),
        job("always", 0, None),
    ];
    let pipeline = pipeline(1, jobs);
    let facts = Facts { default_branch: Some("main".to_owned()), ..on_branch("topic") };
    let refs: Vec<String> = compared_refs(&pipeline, &facts).into_iter().collect();
    assert_eq!(refs, ["main", "other", "refs/heads/main"]);
    let paths: Vec<String> = (0..10).map(|n| format!("src/{n}")).collect();
    let compared = ["main", "refs/heads/main"].map(|name| (name.to_owned(), Some(paths.clone())));
    let facts = Facts { compared: compared.into(), ..facts };
    let (plan, decisive) = Plan::with_decisive_facts(&pipeline, &facts).unwrap();
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["code", "unknown", "always"]);
    assert_eq!(decisive.compared["refs/heads/main"].as_deref(), Some(&["src/0".to_owned()][..]));
    assert_eq!(decisive.compared["main"].as_deref(), Some(&[][..]));
    assert_eq!(Plan::for_facts(&pipeline, &decisive).unwrap().digest(), plan.digest());
    let gone = Facts { compared: [("other".to_owned(), None)].into(), ..facts };
    let error = Plan::for_facts(&pipeline, &gone).unwrap_err().to_string();
    assert!(error.contains("`other`") && error.contains("unknown"), "{error}");
}

#[test]
fn needs_of_the_matching_rule_replace_those_of_the_job() {
    let needs = |names: &[&str]| Some(names.iter().map(|name| Need::of(name)).collect());
    let rules = vec![
        Rule { needs: needs(&["a"]), ..rule("branch == \"one\"") },
        Rule { needs: needs(&[]), ..rule("branch == \"none\"") },
        Rule { dependencies: needs(&["b"]), ..rule("branch == \"less\"") },
        Rule::default(),
    ];
    let last = Job { dependencies: needs(&["a"]), ..ruled("last", 1, Some(&["a", "b"]), rules) };
    let jobs = vec![job("a", 0, None), job("b", 0, None), last, job("after", 2, None)];
    let pipeline = pipeline(3, jobs);
    let of = |branch: &str| {
        let plan = Plan::for_facts(&pipeline, &on_branch(branch)).unwrap();
        let last = &plan.jobs[2];
        (last.needs.clone(), last.waits_for, plan.artifact_sources(2))
    };
    assert_eq!(of("one"), (vec!["a".to_owned()], 1, vec![0]));
    assert_eq!(of("less"), (vec!["a".to_owned(), "b".to_owned()], 2, vec![1]));
    assert_eq!(of("other"), (vec!["a".to_owned(), "b".to_owned()], 2, vec![0]));
    let plan = Plan::for_facts(&pipeline, &on_branch("none")).unwrap();
    let last = plan.jobs.iter().find(|job| job.name == "last").unwrap();
    assert_eq!((last.needs.len(), last.waits_for, last.after_stages), (0, 0, None));
}

#[test]
fn variants_of_a_matrix_have_the_needs_of_their_rules() {
    let needs = |name: &str| Some(vec![Need::of(name)]);
    let rules = vec![
        Rule { needs: needs("a"), ..rule("env(\"os\") == \"x\"") },
        Rule {
            needs: Some(vec![Need { optional: true, ..Need::of("gone") }]),
            ..rule("env(\"os\") == \"y\"")
        },
        Rule::default(),
    ];
    let mut matrix = ruled("m", 1, Some(&["b"]), rules);
    super::set_key(&mut matrix, "os", vec!["x".into(), "y".into(), "z".into()]);
    let gone = ruled("gone", 0, None, vec![rule("branch == \"none\"")]);
    let jobs = vec![job("a", 0, None), job("b", 0, None), gone, matrix];
    let plan = Plan::for_facts(&pipeline(2, jobs.clone()), &on_branch("main")).unwrap();
    let of = |os: &str| {
        let found = plan.jobs.iter().find(|job| job.base_name == "m" && job.variables["os"] == os).unwrap();
        (found.needs.join(","), found.waits_for)
    };
    assert_eq!((of("x"), of("y"), of("z")), (("a".into(), 1), (String::new(), 0), ("b".into(), 1)));
    // Only what a requested variant needs comes along.
    let jobs_of = JobSelection { only: vec!["m".into()], ..JobSelection::default() };
    let facts = Facts { jobs: jobs_of, ..on_branch("main") };
    assert_eq!(Plan::for_facts(&pipeline(2, jobs), &facts).unwrap().jobs.len(), 5);
}

#[test]
fn cycle_through_needs_of_rules_is_an_error_of_the_plan() {
    let rules =
        vec![Rule { needs: Some(vec![Need::of("b")]), ..rule("branch == \"main\"") }, Rule::default()];
    let pipeline = pipeline(1, vec![ruled("a", 0, Some(&[]), rules), job("b", 0, Some(&["a"]))]);
    let cycle = Plan::for_facts(&pipeline, &on_branch("main")).unwrap_err();
    let PlanError::Cycle(names) = &cycle else { panic!("{cycle}") };
    assert_eq!(names.len(), 3);
    assert_eq!(Plan::for_facts(&pipeline, &on_branch("x")).unwrap().jobs.len(), 2);
}

#[test]
fn values_of_a_matrix_win_over_overrides() {
    let mut varied = job("a", 0, None);
    varied.image = "${OS}:${TAG}".to_owned();
    varied.matrix =
        Matrix::of(IndexMap::from([("OS".to_owned(), vec!["debian".to_owned(), "alpine".to_owned()])]));
    let mut with_rule = varied.clone();
    with_rule.rules = vec![rule("env(\"OS\") == \"alpine\" && env(\"TAG\") == \"2\"")];
    let overrides = [("OS", "other"), ("TAG", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let plan = |job: &Job| {
        Plan::new(&pipeline(1, vec![job.clone()]), &IndexMap::from(overrides.clone())).unwrap().jobs
    };
    let jobs = plan(&varied);
    let images: Vec<&str> = jobs.iter().map(|job| job.image.as_str()).collect();
    assert_eq!(images, ["debian:2", "alpine:2"]);
    assert_eq!((jobs[1].variables["OS"].as_str(), jobs[1].variables["TAG"].as_str()), ("alpine", "2"));
    let names: Vec<String> = plan(&with_rule).into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["a [OS=alpine]"], "conditions see the same");
}
