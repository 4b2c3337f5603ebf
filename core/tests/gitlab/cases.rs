//! Cases about GitLab files whose outcome the translation or the plan shows.

use tidemill_core::execution::facts::Facts;
use tidemill_core::pipeline::{DeploymentTier, Environment, EnvironmentAction, PipelineErrors, When, parse};
use tidemill_core::plan::{Plan, PlanError};
use tidemill_core::text::diagnostics::{Diagnostic, Severity};

use super::{diagnostics, on_push, on_tag, pipeline, translate_fixture};

fn plan(text: &str, facts: &Facts) -> Plan {
    Plan::for_facts(&pipeline(text), facts).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The names of the planned jobs, and what each waits for.
fn needs(plan: &Plan) -> Vec<(String, Vec<String>)> {
    plan.jobs.iter().map(|job| (job.name.clone(), job.needs.clone())).collect()
}

fn found(text: &str) -> Vec<Diagnostic> {
    match translate_fixture(".gitlab-ci.yml", text) {
        Ok(translated) => translated.parsed.warnings,
        Err(PipelineErrors { diagnostics, .. }) => diagnostics,
    }
}

/// The text at the location of a finding.
fn text_at(text: &str, diagnostic: &Diagnostic) -> String {
    let location = diagnostic.location.unwrap_or_else(|| panic!("{diagnostic}: no location"));
    let line = text.lines().nth(location.line - 1).unwrap_or_default();
    line.chars().skip(location.column - 1).take(location.length).collect()
}

#[test]
fn case_gitlab_01_variables_of_a_job_win_over_those_of_workflow() {
    let text = "default: {image: x}\nvariables: {TARGET: test, OTHER: test}\nworkflow:\n  rules:\n    - if: $CI_COMMIT_BRANCH\n      \
                variables: {TARGET: production, OTHER: production, NEW: n}\n\
                own: {variables: {TARGET: sandbox}, script: x}\n\
                ruled: {variables: {TARGET: sandbox}, script: x, rules: [{if: $CI_COMMIT_BRANCH, variables: {TARGET: rule}}]}\n\
                matrix: {parallel: {matrix: [{TARGET: cell}]}, script: x}\nshared: {script: x}\n";
    let plan = plan(text, &on_push("main"));
    let targets: Vec<(&str, &str)> =
        plan.jobs.iter().map(|job| (job.base_name.as_str(), job.variables["TARGET"].as_str())).collect();
    assert_eq!(
        targets,
        [("own", "sandbox"), ("ruled", "rule"), ("matrix", "cell"), ("shared", "production")]
    );
    assert!(
        plan.jobs.iter().all(|job| job.variables["OTHER"] == "production" && job.variables["NEW"] == "n")
    );
}

#[test]
fn case_gitlab_03_rules_see_the_variables_of_a_matrix() {
    let text = "default: {image: x}\njob:\n  parallel: {matrix: [{DB: [postgres, mysql, oracle]}]}\n  rules:\n    - if: $DB == \"postgres\"\n    \
                - if: $DB == \"oracle\"\n      when: never\n    - if: $CI_COMMIT_BRANCH\n      when: manual\n      allow_failure: true\n  script: x\n";
    let plan = plan(text, &on_push("main"));
    let jobs: Vec<_> = plan.jobs.iter().map(|job| (job.name.as_str(), job.when, job.allow_failure)).collect();
    assert_eq!(jobs, [("job: [postgres]", When::OnSuccess, false), ("job: [mysql]", When::Manual, true)]);
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].job, "job: [oracle]");
}

#[test]
fn case_gitlab_04_need_of_a_job_that_a_rule_left_out_is_an_error() {
    let text = "default: {image: x}\nstages: [test, deploy]\ntest: {stage: test, rules: [{if: $CI_COMMIT_TAG}], script: x}\n\
                job: {stage: deploy, needs: [test], script: x}\n";
    let error = Plan::for_facts(&pipeline(text), &on_push("main")).unwrap_err();
    assert!(
        matches!(&error, PlanError::NeedExcluded { job, need, .. } if job == "job" && need == "test"),
        "{error}"
    );
    assert_eq!(needs(&plan(text, &on_tag("v1"))).len(), 2);
    let optional = text.replace("needs: [test]", "needs: [{job: test, optional: true}]");
    assert_eq!(needs(&plan(&optional, &on_push("main"))), [("job".to_owned(), vec![])]);
}

#[test]
fn case_gitlab_09_variants_are_numbered_and_named_as_in_gitlab() {
    let text = "default: {image: x}\njob:\n  parallel: {matrix: [{SIDE: [left, right]}, {SIDE: top, N: [1, 2]}]}\n  script: x\nn: {parallel: 2, script: x}\n";
    let plan = plan(text, &on_push("main"));
    let nodes: Vec<(&str, &str, &str)> = plan
        .jobs
        .iter()
        .map(|job| {
            (
                job.name.as_str(),
                job.variables["CI_NODE_INDEX"].as_str(),
                job.variables["CI_NODE_TOTAL"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        nodes,
        [
            ("job: [left]", "1", "4"),
            ("job: [right]", "2", "4"),
            ("job: [top, 1]", "3", "4"),
            ("job: [top, 2]", "4", "4"),
            ("n 1/2", "1", "2"),
            ("n 2/2", "2", "2"),
        ]
    );
}

#[test]
fn case_gitlab_12_name_of_a_variable_within_another_is_a_warning_at_its_place() {
    let text =
        "default: {image: x}\njob:\n  variables: {URL: \"${URL_${ENV}}\", FINE: \"${A}${B}\"}\n  script: x\n";
    let found = found(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].message.contains("`${URL_${ENV}}`"), "{}", found[0]);
    assert_eq!(text_at(text, &found[0]), "\"${URL_${ENV}}\"");
}

#[test]
fn case_gitlab_17_last_of_two_equal_keys_counts_with_a_warning() {
    let text = "default: {image: x}\njob:\n  script: [echo first]\n  stage: test\n  script: [echo second]\n";
    assert_eq!(pipeline(text).jobs[0].script, ["echo second"]);
    let found = found(text);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Warning), "{found:?}");
    assert_eq!(found[0].location.map(|at| (at.line, at.column)), Some((5, 3)));
    let native = parse("name: a\njobs:\n  j: {image: x, script: x, script: y}\n").unwrap_err();
    assert_eq!(native[0].code, "duplicate-key");
    // As Ruby reads it, a merge key lays its values over those before it.
    let text = "default: {image: x}\n.a: &a {script: [a], stage: test}\nj: {script: [j], <<: *a}\nk: {<<: *a, script: [k]}\n";
    let scripts: Vec<Vec<String>> = pipeline(text).jobs.into_iter().map(|job| job.script).collect();
    assert_eq!(scripts, [["a"], ["k"]]);
    assert!(
        diagnostics(text)[0].contains("`script` is replaced by the merge key"),
        "{:?}",
        diagnostics(text)
    );
}

#[test]
fn case_gitlab_18_absolute_paths_of_a_cache_are_left_out_with_a_warning() {
    let text = "default: {image: x}\njob:\n  script: [echo]\n  cache:\n    paths:\n      - .cache/\n      - ~/.cache/pip/\n      - /var/cache/apk\n      \
                - $HOME/.m2\n      - $CI_PROJECT_DIR/kept\n      - ../up\n  artifacts: {paths: [out, /tmp/x]}\n";
    let found = found(text);
    let places: Vec<String> = found.iter().map(|one| text_at(text, one)).collect();
    assert_eq!(places, ["~/.cache/pip/", "/var/cache/apk", "$HOME/.m2", "../up", "/tmp/x"], "{found:?}");
    assert!(found.iter().all(|one| one.severity == Severity::Warning));
    let job = &pipeline(text).jobs[0];
    assert_eq!(job.surroundings.caches[0].paths, [".cache/", "kept"]);
    assert_eq!(job.artifacts.as_ref().unwrap().paths, ["out"]);
}

#[test]
fn case_gitlab_20_one_job_of_a_matrix_can_be_needed() {
    let of = |needs: &str| {
        let text = format!(
            "default: {{image: x}}\nstages: [build, test]\n\
             build: {{stage: build, parallel: {{matrix: [{{OS: [deb, rpm], ARCH: [a, b]}}]}}, script: x}}\n\
             n: {{stage: build, parallel: 3, script: x}}\njob: {{stage: test, {needs}, script: x}}\n"
        );
        let plan = plan(&text, &on_push("main"));
        let job = plan.jobs.last().unwrap();
        let dependencies = job
            .dependencies
            .clone()
            .map(|from| from.into_iter().map(|ix| plan.jobs[ix as usize].name.clone()).collect::<Vec<_>>());
        (job.needs.clone(), dependencies)
    };
    let one = vec!["build: [deb, a]".to_owned()];
    assert_eq!(of("needs: [\"build: [deb, a]\"]"), (one.clone(), None));
    assert_eq!(
        of("needs: [\"build: [deb, a]\"], dependencies: [\"build: [deb, a]\"]"),
        (one.clone(), Some(one.clone()))
    );
    assert_eq!(of("needs: [build], dependencies: [\"build: [deb, a]\"]").1, Some(one));
    let deb = "needs: [{job: build, parallel: {matrix: [{OS: deb}]}}]";
    assert_eq!(of(deb).0, ["build: [deb, a]", "build: [deb, b]"]);
    assert_eq!(of("needs: [\"n 2/3\"]").0, ["n 2/3"]);
    assert_eq!(of("needs: [\"build: [deb, a]\", \"build: [rpm, a]\", n]").0.len(), 5);
    let text = "default: {image: x}\nstages: [b, t]\nbuild: {stage: b, parallel: {matrix: [{OS: [deb]}]}, script: x}\nj: {stage: t, needs: [\"build: [rpm]\"], script: x}\n";
    let found = found(text);
    assert!(
        found.len() == 1 && found[0].message.contains("the matrix of `build` has no variant"),
        "{found:?}"
    );
}

#[test]
fn case_gitlab_21_job_has_more_than_a_hundred_rules() {
    let rules: Vec<String> = (0..150).map(|n| format!("    - if: $CI_COMMIT_BRANCH == \"b{n}\"\n")).collect();
    let rules = rules.concat();
    let text = format!("default: {{image: x}}\njob:\n  script: [echo]\n  rules:\n{rules}");
    assert_eq!(plan(&text, &on_push("b149")).jobs.len(), 1);
    let workflow: Vec<String> = (0..20)
        .map(|n| format!("    - {{if: $CI_COMMIT_BRANCH == \"b{n}\", variables: {{A: \"{n}\"}}}}\n"))
        .collect();
    let workflow = workflow.concat();
    let text = format!("{text}workflow:\n  rules:\n{}", workflow.replace("b19", "b149"));
    let text = text.replacen(&rules, &rules.split_inclusive('\n').skip(100).collect::<String>(), 1);
    assert_eq!(plan(&text, &on_push("b149")).jobs[0].variables["A"], "19");
}

#[test]
fn case_gitlab_22_values_of_rules_refer_to_variables() {
    let text = "default: {image: x}\nvariables: {APP: app}\njob:\n  parallel: {matrix: [{OS: [a, b]}]}\n  \
                rules: [{if: $CI, variables: {FULL: \"$CI_COMMIT_REF_NAME-x\", NAME: \"$APP-$OS\", COST: \"5$\"}}]\n  script: [x]\n";
    let plan = plan(text, &on_push("main"));
    let values: Vec<(&str, &str, &str)> = plan
        .jobs
        .iter()
        .map(|job| {
            (job.variables["FULL"].as_str(), job.variables["NAME"].as_str(), job.variables["COST"].as_str())
        })
        .collect();
    assert_eq!(values, [("main-x", "app-a", "5$"), ("main-x", "app-b", "5$")]);
}

#[test]
fn case_gitlab_23_empty_glob_matches_nothing() {
    let text = "default: {image: x}\na: {script: [x], rules: [{exists: [\"\"]}, {when: always}]}\nb: {script: [x], rules: [{exists: [\"\"]}]}\n";
    let plan = plan(text, &on_push("main"));
    assert_eq!((plan.jobs.len(), plan.jobs[0].when), (1, When::Always));
}

#[test]
fn case_gitlab_24_empty_needs_with_dependencies_get_nothing() {
    let text = "default: {image: x}\nstages: [build, test]\nbuild: {stage: build, script: x, artifacts: {paths: [f]}}\n\
                job: {stage: test, needs: [], dependencies: [build], script: x}\n";
    let plan = plan(text, &on_push("main"));
    let job = plan.jobs.iter().position(|job| job.name == "job").unwrap();
    assert_eq!(plan.artifact_sources(u32::try_from(job).unwrap()), [0_u32; 0]);
}

#[test]
fn case_gitlab_28_what_gitlab_refuses_is_refused_at_its_place() {
    let mut wrong: Vec<String> = Vec::new();
    for (job, place) in [
        ("rules: [{if: '${CI} == \"true\"'}]", "$"),
        ("rules: []", "[]"),
        ("rules: [{}]", "{}"),
        ("rules: {if: $CI}", "{if: $CI}"),
        ("rules: [{changes: x}]", "x"),
        ("rules: [{exists: x}]", "x"),
        ("rules: [{if: $CI, allow_failure: maybe}]", "maybe"),
        ("rules: [{if: $CI, when: delayed}]", "delayed"),
        ("rules: [{if: $CI}], only: [main]", "only"),
        ("cache: {key: \"..\", paths: [x]}", "\"..\""),
        ("cache: {key: a/b, paths: [x]}", "a/b"),
        ("cache: {key: a%2Fb, paths: [x]}", "a%2Fb"),
        ("cache: {paths: x}", "x"),
        ("cache: x", "x"),
        ("cache: {paths: [x], policy: [pull]}", "[pull]"),
        ("cache: {paths: [x], when: never}", "never"),
        ("script: [[[[[[[[[[[deep]]]]]]]]]]]", "[deep]"),
        ("script: 5", "5"),
        ("script: [yes]", "yes"),
        ("script: [{a: b}]", "{a: b}"),
        ("interruptible: maybe", "maybe"),
        ("interruptible: 'true'", "'true'"),
        ("tags: docker", "docker"),
        ("services: \"bb:1\"", "\"bb:1\""),
        ("services: [{alias: a}]", "{alias: a}"),
        ("image: [a]", "[a]"),
        ("image: {entrypoint: ['']}", "{entrypoint: ['']}"),
        ("image: {name: a, entrypoint: x}", "x"),
        ("artifacts: {paths: x}", "x"),
        ("artifacts: [x]", "[x]"),
        ("artifacts: {paths: [x], when: sometimes}", "sometimes"),
        ("artifacts: {paths: [x], untracked: maybe}", "maybe"),
        ("artifacts: {paths: [x], expire_in: soon}", "soon"),
        ("artifacts: {paths: [x], expose_as: a/b}", "a/b"),
        ("artifacts: {paths: ['*'], expose_as: a}", "'*'"),
        ("artifacts: {expose_as: a}", "expose_as"),
        ("artifacts: {paths: [x], public: true, access: all}", "access"),
        ("artifacts: {paths: [x], reports: [a]}", "[a]"),
        ("environment: {name: x, on_stop: nope}", "nope"),
        ("environment: {name: x, on_stop: other}", "other"),
        ("environment: {url: https://x}", "{url: https://x}"),
        ("environment: {name: x, action: restart}", "restart"),
        ("environment: a?b", "a?b"),
        ("environment: {name: x, deployment_tier: home}", "home"),
        ("allow_failure: maybe", "maybe"),
        ("allow_failure: {exit_codes: x}", "x"),
        ("retry: 3", "3"),
        ("retry: {max: 1, when: never_seen}", "never_seen"),
        ("timeout: 3600", "3600"),
        ("timeout: soon", "soon"),
        ("start_in: 1 day", "start_in"),
        ("when: delayed", "delayed"),
        ("when: delayed, start_in: 2 weeks", "2 weeks"),
        ("needs: other", "other"),
        ("needs: [other, other]", "other"),
        ("dependencies: other", "other"),
        ("only: main", "main"),
        ("only: {refs: main}", "main"),
        ("parallel: 0", "0"),
        ("parallel: 201", "201"),
        ("parallel: two", "two"),
        ("parallel: {matrix: {A: b}}", "{A: b}"),
        ("stage: 1", "1"),
        ("variables: [A]", "[A]"),
        ("variables: {A: [b]}", "[b]"),
        ("variables: {A: 2024-01-31}", "2024-01-31"),
        ("inherit: true", "true"),
        ("coverage: 50", "50"),
        ("resource_group: [a]", "[a]"),
        ("extends: {a: b}", "{a: b}"),
    ] {
        let own = if job.starts_with("script") { "" } else { "script: [echo], " };
        let text = format!(
            "stages: [before, test]\ndefault: {{image: x}}\nother: {{stage: before, script: [echo]}}\njob: {{{own}{job}}}\n"
        );
        let errors: Vec<Diagnostic> =
            found(&text).into_iter().filter(|one| one.severity == Severity::Error).collect();
        if errors.len() != 1 || text_at(&text, &errors[0]) != place {
            wrong.push(format!("{job}: {errors:?}"));
        }
    }
    for (top, place) in [
        ("stages: test", "test"),
        ("variables: [a]", "[a]"),
        ("default: [a]", "[a]"),
        ("workflow: [a]", "[a]"),
        ("workflow: {rules: []}", "[]"),
        ("workflow: {rules: [{when: manual}]}", "manual"),
        ("default: {image: x}\nimage: y", "image"),
        ("default: {interruptible: maybe}", "maybe"),
        ("before_script: {a: b}", "{a: b}"),
        ("services: x", "x"),
    ] {
        let text = format!("{top}\njob: {{script: [echo]}}\n");
        let errors: Vec<Diagnostic> =
            found(&text).into_iter().filter(|one| one.severity == Severity::Error).collect();
        if errors.len() != 1 || text_at(&text, &errors[0]) != place {
            wrong.push(format!("{top}: {errors:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn case_gitlab_30_tags_are_labels_whatever_their_characters() {
    let text = "default: {image: x}\na: {tags: [\"arch:arm64\", \"big memory\", \"os=linux\"], script: x}\n\
                b: {parallel: {matrix: [{RUNNER: [\"x:1\", y]}]}, tags: [$RUNNER], script: x}\n";
    let plan = plan(text, &on_push("main"));
    let labels: Vec<String> = plan
        .jobs
        .iter()
        .map(|job| {
            job.runs_on.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        })
        .collect();
    assert_eq!(labels, ["arch:arm64=true,big memory=true,os=linux", "x:1=true", "y=true"]);
    let unknown = "default: {image: x}\na: {tags: [$NOBODY_SETS_IT], script: x}\n";
    assert!(found(unknown).iter().any(|one| one.severity == Severity::Error), "a tag is never dropped");
}

#[test]
fn case_gitlab_33_names_of_stages_and_jobs_are_those_of_the_file() {
    let text = "default: {image: x}\nstages: [\"lint & test\", déploiement]\n\"ünit (1) 🦀\": {stage: \"lint & test\", script: x}\n\
                first: {stage: .pre, script: x}\n\"a?b\": {stage: déploiement, needs: [\"ünit (1) 🦀\"], script: x}\n\"a-b\": {script: x, stage: .post}\n";
    assert_eq!(found(text), []);
    let plan = plan(text, &on_push("main"));
    let jobs: Vec<(&str, &str)> =
        plan.jobs.iter().map(|job| (job.stage.as_str(), job.name.as_str())).collect();
    assert_eq!(
        jobs,
        [(".pre", "first"), ("lint & test", "ünit (1) 🦀"), ("déploiement", "a?b"), (".post", "a-b")]
    );
}

#[test]
fn yaml_is_read_as_gitlab_reads_it() {
    let text = "default: {image: x}\nvariables: {A: yes, B: 012, C: 1.10, D: 0x1F, E: '012', F: 1_000, G: y, H: 08}\nj: {script: [x], interruptible: off, allow_failure: On}\n";
    let pipeline = pipeline(text);
    let values: Vec<&str> = pipeline.variables.values().map(String::as_str).collect();
    assert_eq!(values, ["true", "10", "1.1", "31", "012", "1000", "y", "08"]);
    assert!(pipeline.jobs[0].allow_failure);
    let native = parse("name: a\nvariables: {A: yes, B: 012}\njobs: {j: {image: x, script: x}}\n").unwrap();
    assert_eq!(native.variables.values().map(String::as_str).collect::<Vec<_>>(), ["yes", "012"]);
}

#[test]
fn what_the_native_checks_find_has_the_place_of_the_value() {
    for (job, place) in [
        ("image: 'Not An Image'", "'Not An Image'"),
        ("image: {name: UPPER/case}", "UPPER/case"),
        ("services: [good, {name: 'b d'}]", "'b d'"),
        ("services: [{name: a, alias: localhost}]", "localhost"),
        ("artifacts: {paths: [good, 'a[']}", "'a['"),
        ("rules: [{changes: [good, 'a[']}]", "'a['"),
        ("cache: [{paths: [a]}, {paths: [b, 'c[']}]", "'c['"),
        ("environment: {name: a, url: 'ftp://x'}", "'ftp://x'"),
        ("needs: [later]", "later"),
    ] {
        let text = format!(
            "stages: [a, b]\ndefault: {{image: x}}\nlater: {{stage: b, script: [x]}}\njob: {{stage: a, script: [x], {job}}}\n"
        );
        let found = found(&text);
        assert!(found.iter().any(|one| text_at(&text, one) == place), "{job}: {found:#?}");
        assert!(found.iter().all(|one| !one.message.contains("native file")), "{found:#?}");
    }
}

#[test]
fn environments_of_gitlab_keep_action_and_stop() {
    let text = "default: {image: x}\nvariables: {AFTER: 1 day 2 hours}\n\
                deploy: {script: x, environment: {name: review/$CI_COMMIT_REF_SLUG, on_stop: stop, auto_stop_in: $AFTER}}\n\
                stop: {script: x, when: manual, environment: {name: review/$CI_COMMIT_REF_SLUG, action: stop, auto_stop_in: 1 day}}\n\
                check: {script: x, environment: {name: review/$CI_COMMIT_REF_SLUG, action: verify, on_stop: stop}}\n\
                keep: {script: x, environment: {name: live, auto_stop_in: never, deployment_tier: production}}\n";
    assert_eq!(found(text), []);
    let plan = plan(text, &on_push("topic"));
    let of = |name: &str| {
        let job = plan.jobs.iter().find(|job| job.name == name).unwrap();
        job.surroundings.environment.clone().unwrap()
    };
    let review = Environment { name: "review/topic".into(), ..Environment::default() };
    let deploy =
        Environment { on_stop: Some("stop".into()), auto_stop_in_s: Some(26 * 3_600), ..review.clone() };
    assert_eq!(of("deploy"), deploy);
    // What has no meaning with an action is left out, as GitLab ignores it.
    assert_eq!(of("stop"), Environment { action: EnvironmentAction::Stop, ..review.clone() });
    assert_eq!(of("check"), Environment { action: EnvironmentAction::Verify, ..review });
    let live =
        Environment { name: "live".into(), tier: Some(DeploymentTier::Production), ..Environment::default() };
    assert_eq!(of("keep"), live);
    let unknown = "j: {image: x, script: x, environment: {name: a, auto_stop_in: $CI_JOB_ID}}\n";
    let found = found(unknown);
    assert!(found[0].severity == Severity::Error && text_at(unknown, &found[0]) == "$CI_JOB_ID", "{found:?}");
}
