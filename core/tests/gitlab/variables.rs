//! Variables that are set outside of a file, predefined ones, and those that nobody sets.

use super::{diagnostics, jobs, on_push, on_request, pipeline};
use tidemill_core::api::ExternalVariables;
use tidemill_core::execution::facts::Facts;
use tidemill_core::gitlab::{TranslateOptions, translate};
use tidemill_core::pipeline::{FileError, PipelineErrors, PipelineWithSources};
use tidemill_core::plan::{Plan, PlanError, PlannedJob};

fn external(values: &[(&str, &str)], hidden: &[&str]) -> ExternalVariables {
    ExternalVariables {
        values: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        hidden: hidden.iter().map(|name| (*name).to_owned()).collect(),
        ..ExternalVariables::default()
    }
}

fn translate_with(text: &str, external: &ExternalVariables) -> Result<PipelineWithSources, PipelineErrors> {
    let options = TranslateOptions { external: external.clone(), ..TranslateOptions::for_pipeline("app") };
    translate(".gitlab-ci.yml", text, &|_: &str| Err(FileError::NotListed), &options)
}

/// The jobs of a file with variables that are set outside of it.
fn planned(text: &str, set: &ExternalVariables, facts: Facts) -> Vec<PlannedJob> {
    let translated = translate_with(text, set).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let mut facts = facts;
    facts.add_external(set.clone());
    Plan::for_facts(&translated.parsed.pipeline, &facts).unwrap().jobs
}

#[test]
fn external_variables_reach_images_keys_conditions_and_other_variables() {
    let text = "
variables: { TAG: latest, NAME: $GROUP/app, MODE: slow }
j:
  image: $CI_REGISTRY/$NAME:$TAG
  services: [$GROUP/db]
  cache: { key: $GROUP-$MODE, paths: [x] }
  rules: [{ if: $GROUP == 'tools' && $MODE == 'fast' }]
  script: x
";
    let set = external(&[("CI_REGISTRY", "r.example.org"), ("GROUP", "tools"), ("MODE", "fast")], &[]);
    let job = planned(text, &set, on_push("main")).remove(0);
    assert_eq!(job.image, "r.example.org/tools/app:latest");
    assert_eq!(job.surroundings.services[0].image, "tools/db");
    assert_eq!(job.surroundings.caches[0].key, "tools-fast");
    assert_eq!((job.variables["MODE"].as_str(), job.variables["NAME"].as_str()), ("fast", "tools/app"));
    assert!(job.surroundings.all_secrets);
}

#[test]
fn hidden_variable_in_a_recorded_text_is_an_error_at_its_place() {
    let set = external(&[], &["TOKEN"]);
    let text = "j:\n  image: a:$TOKEN\n  script: echo $TOKEN\n";
    let errors = translate_with(text, &set).unwrap_err();
    let [error] = errors.diagnostics.as_slice() else { panic!("{}", errors.render(false)) };
    assert!(error.message.contains("`TOKEN`, whose value only jobs get"), "{}", error.message);
    assert_eq!(error.location.map(|at| (at.line, at.column)), Some((2, 10)));
    // A value of the file is overridden when the job runs, and not before.
    let text = "variables: { TOKEN: default, URL: x/$TOKEN }\nj: { image: a, script: x }\n";
    let job = planned(text, &set, on_push("main")).remove(0);
    assert!(!job.variables.contains_key("TOKEN") && job.script[0] == "export URL=\"x/${TOKEN}\"", "{job:?}");
}

#[test]
fn hidden_variable_in_a_condition_is_an_error_at_its_place() {
    let set = external(&[], &["TOKEN"]);
    let text = "j:\n  rules: [{ if: $TOKEN }]\n  image: a\n  script: x\n";
    let errors = translate_with(text, &set).unwrap_err();
    let [error] = errors.diagnostics.as_slice() else { panic!("{}", errors.render(false)) };
    assert!(error.message.contains("`TOKEN`, whose value only jobs get"), "{}", error.message);
    assert_eq!(error.location.map(|at| (at.line, at.column)), Some((2, 17)));
    let text = "j: { only: { variables: [$TOKEN] }, image: a, script: x }\n";
    let said = translate_with(text, &set).unwrap_err().render(false);
    assert!(said.contains("`TOKEN`, whose value only jobs get"), "{said}");
    // A plain variable is known, and one that nobody sets is empty.
    let plain = external(&[("TOKEN", "x")], &[]);
    assert_eq!(planned(text, &plain, on_push("main")).len(), 1);
}

#[test]
fn image_with_a_variable_that_nobody_sets_is_an_error_with_a_way_out() {
    let errors = translate_with("j: { image: $GROUP/a, script: x }\n", &external(&[], &[])).unwrap_err();
    let said = errors.render(false);
    assert!(said.contains("`GROUP`, which nobody sets") && said.contains("-e GROUP=VALUE"), "{said}");
    let found =
        diagnostics("j: { image: a, cache: { key: $CI_JOB_ID, paths: [a] }, script: x }\n").join("\n");
    assert!(found.contains("`CI_JOB_ID`, which is set only when the job runs"), "{found}");
    let plan = Plan::for_facts(&pipeline("j: { image: $CI_REGISTRY/a, script: x }\n"), &on_push("main"));
    assert!(matches!(plan, Err(PlanError::UnsetVariable { variable, .. }) if variable == "CI_REGISTRY"));
}

#[test]
fn unset_variable_is_empty_in_an_image_that_is_left() {
    let text = "variables: {NAME: \"scan$KIND\", TAG: 2}\n\
                a: {image: \"r.example.org/$NAME:$TAG$SUFFIX\", services: [\"db${SUFFIX}:1\"], script: x}\n";
    let job = planned(text, &external(&[], &[]), on_push("main")).remove(0);
    assert_eq!(
        (job.image.as_str(), job.surroundings.services[0].image.as_str()),
        ("r.example.org/scan:2", "db:1")
    );
    let said = diagnostics(text).join("\n");
    assert!(
        said.contains("nobody sets `SUFFIX`, so it is empty in `image`") && said.contains("`KIND`"),
        "{said}"
    );
    let set = external(&[("SUFFIX", "-slim")], &[]);
    assert_eq!(planned(text, &set, on_push("main"))[0].image, "r.example.org/scan:2-slim");
    for image in ["app:$NONE", "$NONE/app", "$NONE", "app:-$NONE", "r.example.org/$NONE:1"] {
        let errors =
            translate_with(&format!("j: {{ image: \"{image}\", script: x }}\n"), &external(&[], &[]));
        let said = errors.unwrap_err().render(false);
        assert!(said.contains("`NONE`, which nobody sets"), "{image}: {said}");
    }
}

#[test]
fn predefined_variables_of_a_job_are_known_in_keys_urls_and_conditions() {
    let text = "
default: { image: a }
one:
  parallel: { matrix: [{ A: [x, y] }, { B: [z] }] }
  cache: { key: \"$CI_JOB_NAME_SLUG-$CI_PROJECT_NAME\", paths: [x] }
  script: x
two:
  environment: { name: review/$CI_COMMIT_REF_NAME, url: \"https://$CI_ENVIRONMENT_SLUG.example.org\" }
  rules: [{ if: $CI_JOB_NAME == 'two' && $CI_PROJECT_PATH == 'group/app' && $GITLAB_CI }]
  script: x
";
    let facts = Facts { repo: "https://git.example.org/group/app.git".to_owned(), ..on_push("main") };
    let jobs = planned(text, &ExternalVariables::default(), facts);
    let of = |name: &str| jobs.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("{name}"));
    let first = of("one: [y]");
    assert_eq!(first.surroundings.caches[0].key, "one---y-app");
    assert_eq!(
        (first.variables["CI_NODE_INDEX"].as_str(), first.variables["CI_NODE_TOTAL"].as_str()),
        ("2", "3")
    );
    assert_eq!(of("one: [z]").variables["CI_NODE_INDEX"], "3");
    let environment = of("two").surroundings.environment.clone().unwrap();
    let url = environment.url.unwrap();
    assert!(
        url.starts_with("https://review-main-") && url.len() == "https://.example.org".len() + 18,
        "{url}"
    );
}

#[test]
fn conditions_on_pull_requests_see_labels_and_protection() {
    let text = "
# merge_request
default: { image: a }
labels: { rules: [{ if: $CI_MERGE_REQUEST_LABELS =~ /full/ }], script: x }
protected: { rules: [{ if: $CI_COMMIT_REF_PROTECTED == 'true' }], script: x }
";
    let mut request = on_request();
    request.pull_request.as_mut().unwrap().labels = vec!["bug".to_owned(), "full".to_owned()];
    assert_eq!(jobs(text, &request), ["labels"]);
    assert_eq!(jobs(text, &on_push("main")), ["protected"]);
    assert!(jobs(text, &on_push("topic")).is_empty());
}

#[test]
fn variables_of_gitlab_that_are_never_set_are_reported_once_at_their_place() {
    let text = "default: { image: a }\nj:\n  rules: [{ if: '$GITLAB_USER_LOGIN == \"bot\"' }]\n  script:\n    - echo \"$CI_RUNNER_ID $CI_COMMIT_SHA\"\n    - echo $CI_RUNNER_ID '$CI_API_V4_URL' ${CI_PAGES_URL:-none}\n    - KUBECONFIG=x; cat $KUBECONFIG\n";
    let found: Vec<String> =
        diagnostics(text).into_iter().filter(|one| one.contains("gitlab-variable")).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`$GITLAB_USER_LOGIN`") && found[1].contains("`$CI_RUNNER_ID`"), "{found:?}");
}

#[test]
fn check_lists_variables_that_nobody_sets() {
    let text = "
variables: { A: a }
j:
  image: $GROUP/x
  script:
    - test -n \"$DEPLOY_KEY\" && echo $A $HOME $lower $_ $LASTEXITCODE
    - for X in a b; do echo $X; done
    - echo $KNOWN ${WITH_DEFAULT:-x}
k: { image: a, script: ['. ./env', 'echo $FROM_A_FILE'] }
";
    let options = TranslateOptions {
        reports_unset_variables: true,
        external: external(&[], &["KNOWN"]),
        ..TranslateOptions::for_pipeline("app")
    };
    let translated =
        translate(".gitlab-ci.yml", text, &|_: &str| Err(FileError::NotListed), &options).unwrap();
    let unset = translated.parsed.warnings.iter().filter(|one| one.code == "unset-variable");
    let unset: Vec<_> =
        unset.map(|one| (one.message.as_str(), one.location.map(|at| (at.line, at.column)))).collect();
    assert_eq!(
        unset,
        [
            ("nothing in this file sets `$GROUP`", Some((4, 10))),
            ("nothing in this file sets `$DEPLOY_KEY`", Some((6, 16))),
        ]
    );
}

#[test]
fn variables_of_dotenv_reports_are_not_reported_as_unset() {
    let unset = |script: &str| {
        let text = format!(
            "a: {{ image: x, script: ['{script}'], artifacts: {{ reports: {{ dotenv: a.env }} }} }}\n\
             b: {{ image: x, stage: deploy, script: ['echo $TAG $OTHER'] }}\n"
        );
        let options =
            TranslateOptions { reports_unset_variables: true, ..TranslateOptions::for_pipeline("app") };
        let none = |_: &str| Err(FileError::NotListed);
        let warnings = translate(".gitlab-ci.yml", &text, &none, &options).unwrap().parsed.warnings;
        warnings.into_iter().map(|one| one.message).collect::<Vec<_>>()
    };
    assert_eq!(unset("echo \"TAG=$CI_JOB_ID\" >> a.env"), ["nothing in this file sets `$OTHER`"]);
    // A program writes the file, so that any name may be in it.
    assert_eq!(unset("./write-env"), Vec::<String>::new());
}

#[test]
fn include_paths_may_have_variables_that_are_set_outside_of_the_file() {
    let translated = |external: &ExternalVariables| {
        let options =
            TranslateOptions { external: external.clone(), ..TranslateOptions::for_pipeline("app") };
        let files = |path: &str| match path {
            "ci/base.yml" => Ok("j: { image: a, script: x }\n".to_owned()),
            _ => Err(FileError::Missing),
        };
        translate(".gitlab-ci.yml", "include: ci/$KIND.yml\n", &files, &options)
    };
    assert!(translated(&external(&[("KIND", "base")], &[])).is_ok());
    for unknown in [external(&[], &[]), external(&[], &["KIND"])] {
        let errors = translated(&unknown).unwrap_err().render(false);
        assert!(errors.contains("`$KIND` is not known where files are included"), "{errors}");
        assert!(errors.contains("tidemill variable set KIND"), "{errors}");
    }
}

#[test]
fn case_gitlab_07_conditions_see_predefined_variables_and_others_are_reported() {
    let text = "
default: { image: a }
labels: { rules: [{ if: $CI_MERGE_REQUEST_LABELS =~ /full/ }], script: x }
protected: { rules: [{ if: $CI_COMMIT_REF_PROTECTED == 'true' }], script: x }
gitlab: { rules: [{ if: $GITLAB_CI }], script: x }
schedule: { rules: [{ if: $CI_PIPELINE_SCHEDULE_DESCRIPTION == 'nightly' }], script: x }
user: { rules: [{ if: $GITLAB_USER_LOGIN == 'bot', when: never }, { when: on_success }], script: x }
";
    let jobs = planned(text, &ExternalVariables::default(), on_push("main"));
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["protected", "gitlab", "user"]);
    let found = diagnostics(text);
    let [only] = found.as_slice() else { panic!("{found:#?}") };
    assert!(only.starts_with("7:") && only.contains("GITLAB_USER_LOGIN"), "{only}");
}

#[test]
fn value_of_the_file_holds_where_an_environment_has_another() {
    let set =
        ExternalVariables { of_environments: ["PASSWORD".to_owned()].into(), ..ExternalVariables::default() };
    let text = "variables: { PASSWORD: test }\nj: { image: a, script: x }\n";
    assert_eq!(planned(text, &set, on_push("main"))[0].variables["PASSWORD"], "test");
    let errors = translate_with("j: { image: a:$PASSWORD, script: x }\n", &set).unwrap_err();
    assert!(errors.render(false).contains("whose value only jobs get"), "{}", errors.render(false));
}

#[test]
fn variable_without_a_value_is_empty_with_a_warning() {
    let text = "variables: {A: }\nj: {image: x, script: x, variables: {B: }}\n";
    let pipeline = pipeline(text);
    let plan = Plan::for_facts(&pipeline, &on_push("main")).unwrap();
    assert_eq!((plan.jobs[0].variables["A"].as_str(), plan.jobs[0].variables["B"].as_str()), ("", ""));
    let found = diagnostics(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|one| one.contains("warning[gitlab-changed]") && one.contains("no value")));
}

#[test]
fn value_matches_a_text_that_is_no_pattern_if_it_is_a_part_of_it() {
    let runs = |condition: &str| {
        let text = format!(
            "variables: {{TEXT: 'a push or more'}}\nj: {{image: x, script: x, rules: [{{if: '{condition}'}}]}}\nk: {{image: x, script: x}}\n"
        );
        let plan = Plan::for_facts(&pipeline(&text), &on_push("main")).unwrap();
        plan.jobs.iter().any(|job| job.name == "j")
    };
    for (condition, expected) in [
        ("$CI_PIPELINE_SOURCE =~ \"merge_request_event\"", false),
        ("$CI_PIPELINE_SOURCE !~ \"merge_request_event\"", true),
        ("$CI_PIPELINE_SOURCE =~ \"a push\"", true),
        ("$CI_PIPELINE_SOURCE =~ $TEXT", true),
        ("$CI_COMMIT_BRANCH =~ $TEXT", false),
        // What is not set is a part of each text, and nothing matches what is not set.
        ("$CI_COMMIT_TAG =~ \"x\"", true),
        ("$CI_PIPELINE_SOURCE =~ $NOBODY", false),
        ("$CI_PIPELINE_SOURCE !~ $NOBODY", true),
    ] {
        assert_eq!(runs(condition), expected, "{condition}");
    }
}

#[test]
fn names_of_id_tokens_are_set() {
    let text = "j: {image: x, id_tokens: {OWN_TOKEN: {aud: a}}, script: 'echo $OWN_TOKEN $OTHER_TOKEN'}\n";
    let options = TranslateOptions { reports_unset_variables: true, ..TranslateOptions::for_pipeline("app") };
    let translated =
        translate(".gitlab-ci.yml", text, &|_: &str| Err(FileError::NotListed), &options).unwrap();
    let found: Vec<String> = translated.parsed.warnings.into_iter().map(|one| one.message).collect();
    assert_eq!(found, ["nothing in this file sets `$OTHER_TOKEN`"]);
}

#[test]
fn variable_of_a_cache_key_that_only_outputs_may_set_is_empty() {
    let text = "default: {image: x}\nmake: {stage: build, script: 'echo VERSION=1 > a.env', artifacts: {reports: {dotenv: a.env}}}\n\
                j: {script: x, cache: {key: \"$CI_COMMIT_REF_SLUG-$VERSION$KIND\", fallback_keys: [\"k$KIND\"], paths: [a]}}\n";
    let cache = &pipeline(text).jobs[1].surroundings.caches[0];
    assert_eq!(cache.fallback_keys, ["k"]);
    let found = diagnostics(text);
    let empty =
        found.iter().filter(|one| one.contains("is not known before the job runs, so it is empty in"));
    assert_eq!((empty.count(), found.len()), (3, 3), "{found:#?}");
}

#[test]
fn variables_that_are_not_expanded_or_are_refused_anyway_are_not_reported_as_unset() {
    let unset = |text: &str| {
        let none = |path: &str| Err(FileError::Repository(path.to_owned()));
        let options =
            TranslateOptions { reports_unset_variables: true, ..TranslateOptions::for_pipeline("app") };
        let found = match translate(".gitlab-ci.yml", text, &none, &options) {
            Ok(translated) => translated.parsed.warnings,
            Err(errors) => errors.diagnostics,
        };
        let found = found.into_iter().filter(|one| one.code == "unset-variable");
        found.map(|one| one.message).collect::<Vec<_>>()
    };
    let raw = "variables: {A: {value: 'a$B', expand: false}}\nj: {image: x, script: 'echo $A'}\n";
    assert_eq!(unset(raw), Vec::<String>::new());
    let expanded = raw.replace(", expand: false", "");
    assert_eq!(unset(&expanded), ["nothing in this file sets `$B`"]);
    let vault = "j: {image: x, secrets: {DB: {vault: a/b@c}}, script: 'echo $DB'}\n";
    assert_eq!(unset(vault), Vec::<String>::new());
    let needs = "j: {image: x, needs: [{pipeline: $OTHER, job: a}], script: x}\n";
    assert_eq!(unset(needs), Vec::<String>::new());
    let documents = "j:\n  image: x\n  script:\n    - |\n      # don't\n      C=1\n      cat > f <<'EOF'\n      $A it's\n      EOF\n      echo $B $C\n";
    assert_eq!(unset(documents), ["nothing in this file sets `$B`"]);
}
