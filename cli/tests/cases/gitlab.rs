//! Cases about GitLab files.

use crate::cases::project::Project;

#[test]
fn case_gitlab_13_fallback_key_of_a_variable_finds_a_cache() {
    let file = r#"
default: { image: "IMAGE" }
stages: [a, b]
keep: { stage: a, cache: { key: "fallback-$CI_COMMIT_BRANCH", paths: [c] }, script: [mkdir -p c, echo kept > c/f] }
job:
  stage: b
  variables: { CACHE_FALLBACK_KEY: "fallback-$CI_COMMIT_BRANCH", RUNNER_AFTER_SCRIPT_TIMEOUT: 1m }
  cache: { key: nothing-there, paths: [c] }
  script: [cat c/f]
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let checked = project.tidemill(&["check", "-f", ".gitlab-ci.yml"]);
    let shown = checked.stdout + &checked.stderr;
    assert!(checked.code == 0 && shown.contains("`RUNNER_AFTER_SCRIPT_TIMEOUT` is not supported"), "{shown}");
    assert!(!shown.contains("CACHE_FALLBACK_KEY` is"), "{shown}");
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job");
    assert!(log.contains("from `fallback-main`") && log.contains("\nkept\n"), "{log}");
}

#[test]
fn case_gitlab_29_after_script_runs_after_a_timeout() {
    let file = "default: {image: \"IMAGE\"}\njob: {timeout: 2 seconds, script: [sleep 20], after_script: [\"echo cleaning up: $CI_JOB_STATUS\"]}\n";
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 1);
    let log = project.log("job");
    let end =
        "\ncleaning up: failed\nthe job exceeded its timeout of 2 s; raise `timeout`, or split the job\n";
    assert!(log.ends_with(end), "{log}");
}

#[test]
fn case_gitlab_05_variables_and_secrets_of_the_repository_reach_every_job() {
    let file = r#"
default: {image: "IMAGE"}
job:
  script: ['echo "key of ${#DEPLOY_KEY} characters in $REGION"', 'test -n "$DEPLOY_KEY"', 'echo "is $DEPLOY_KEY"']
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let checked = project.tidemill(&["check"]);
    let shown = checked.stdout + &checked.stderr;
    assert!(checked.code == 0 && shown.contains("nothing in this file sets `$DEPLOY_KEY`"), "{shown}");
    project.run(".gitlab-ci.yml", 1);
    let set = project.tidemill(&["variable", "set", "REGION", "eu"]);
    assert_eq!(set.code, 0, "{set:?}");
    project.write("key", b"hush-hush");
    let set = project.tidemill(&["secret", "set", "DEPLOY_KEY", "--value-file", "key"]);
    assert_eq!(set.code, 0, "{set:?}");
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job");
    assert!(log.contains("key of 9 characters in eu") && !log.contains("hush-hush"), "{log}");
    let removed = project.tidemill(&["secret", "remove", "DEPLOY_KEY"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    let run = project.tidemill(&["run", "--secret", "DEPLOY_KEY=@key", "-e", "REGION=us"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(project.log("job").contains("key of 9 characters in us"));
}

#[test]
fn case_gitlab_05_masked_variable_is_listed_without_its_value_and_masked() {
    let file = "default: {image: \"IMAGE\"}\njob: {script: ['echo \"is $TOKEN at $(cat $CONFIG)\"']}\n";
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.write("token", b"hush-hush");
    project.write("config", b"shown");
    for args in [
        ["variable", "set", "TOKEN", "--masked", "--protected", "--value-file", "token"].as_slice(),
        ["variable", "set", "CONFIG", "--type", "file", "--value-file", "config"].as_slice(),
    ] {
        let set = project.tidemill(args);
        assert_eq!(set.code, 0, "{set:?}");
    }
    let listed = project.tidemill(&["variable", "list"]).stdout;
    assert!(listed.contains("TOKEN = ***") && listed.contains("masked, protected"), "{listed}");
    assert!(listed.contains("CONFIG = shown") && !listed.contains("hush"), "{listed}");
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job");
    assert!(log.contains(" at shown") && !log.contains("hush-hush"), "{log}");
    let removed = project.tidemill(&["variable", "remove", "TOKEN"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(project.tidemill(&["variable", "remove", "TOKEN"]).code, 2);
}

#[test]
fn case_gitlab_06_variables_of_gitlab_are_set_in_scripts_or_reported() {
    let file = r#"
default: {image: "IMAGE"}
job:
  script:
    - 'echo "push to ${CI_REGISTRY}/app as $CI_REGISTRY_USER"'
    - 'echo "$CI_COMMIT_TITLE by $GITLAB_USER_NAME: $CI_PIPELINE_URL $CI_JOB_URL"'
    - 'echo "id $CI_PROJECT_ID, $CI_JOB_STATUS"'
    - '[ -n "$GITLAB_CI" ] || echo "not in CI, skipping"'
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let checked = project.tidemill(&["check"]);
    let shown = checked.stdout + &checked.stderr;
    assert!(checked.code == 0 && shown.contains("`$GITLAB_USER_NAME` is a variable of GitLab"), "{shown}");
    assert_eq!(shown.matches("warning[registry-variable]").count(), 2, "{shown}");
    assert_eq!(shown.matches("warning[").count(), 3, "{shown}");
    let added = project
        .command(&["registry", "add", "registry.example.org", "--username", "ci", "--password-stdin"])
        .stdin(std::fs::File::open(project.repo().join(".gitlab-ci.yml")).unwrap())
        .status()
        .unwrap();
    assert!(added.success());
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job");
    assert!(
        log.contains("push to registry.example.org/app as ci\n") && log.contains("\nfirst by : http://"),
        "{log}"
    );
    assert!(log.contains(", running\n") && !log.contains("\nid ,") && !log.contains("\nnot in CI"), "{log}");
}

#[test]
fn case_gitlab_08_environment_slug_has_at_most_24_characters() {
    let file = r#"
default: {image: "IMAGE"}
job:
  environment: {name: "review/a-feature-with-a-long-name-1234"}
  script: ['echo "$CI_ENVIRONMENT_SLUG tier=$CI_ENVIRONMENT_TIER action=$CI_ENVIRONMENT_ACTION"', 'test ${#CI_ENVIRONMENT_SLUG} -le 24']
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job");
    assert!(log.contains("\nreview-a-feature-") && log.contains(" tier=development action=start\n"), "{log}");
}

#[test]
fn case_gitlab_09_variants_of_a_matrix_know_their_position() {
    let file = r#"
default: {image: "IMAGE"}
job:
  parallel: {matrix: [{SIDE: [left, right]}, {SIDE: [top]}]}
  script: ['echo "part $CI_NODE_INDEX of $CI_NODE_TOTAL"']
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 0);
    for (job, part) in [("job: [left]", 1), ("job: [right]", 2), ("job: [top]", 3)] {
        let log = project.log(job);
        assert!(log.contains(&format!("\npart {part} of 3\n")), "{log}");
    }
}

#[test]
fn case_gitlab_14_image_with_a_variable_of_the_settings() {
    let file = "job:\n  image: $CI_REGISTRY/tools/build:1\n  services: [$GROUP/db]\n  script: [echo hi]\n";
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let checked = project.tidemill(&["check"]);
    let shown = checked.stdout + &checked.stderr;
    assert!(checked.code == 0 && shown.contains("nothing in this file sets `$GROUP`"), "{shown}");
    assert!(shown.contains(".gitlab-ci.yml:2:10") && shown.contains("tidemill registry add"), "{shown}");
    let planned = project.tidemill(&["plan", "-e", "CI_REGISTRY=registry.example.org"]);
    assert!(planned.code == 2 && planned.stderr.contains("`GROUP`, which nobody sets"), "{planned:?}");
    let planned = project.tidemill(&["plan", "-e", "GROUP=tools"]);
    assert!(
        planned.code == 2 && planned.stderr.contains("refers to `CI_REGISTRY`, which is not set"),
        "{planned:?}"
    );
    let planned = project.tidemill(&["plan", "-e", "CI_REGISTRY=registry.example.org", "-e", "GROUP=tools"]);
    assert!(
        planned.code == 0 && planned.stdout.contains("registry.example.org/tools/build:1"),
        "{planned:?}"
    );
}

#[test]
fn case_gitlab_15_cache_key_by_predefined_variables_of_the_job() {
    let file = r#"
default: {image: "IMAGE"}
job:
  cache: {key: "$CI_JOB_NAME_SLUG-$CI_PROJECT_NAME", paths: [x]}
  script: [echo hi > x]
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 0);
    assert!(project.log("job").contains("`job-app`"), "{}", project.log("job"));
}

#[test]
fn case_gitlab_26_run_as_a_push_or_a_tag() {
    let file = r#"
default: {image: "IMAGE"}
workflow: {rules: [{if: '$CI_PIPELINE_SOURCE == "push"'}]}
job: {script: ['echo "tag $CI_COMMIT_TAG"']}
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let run = project.tidemill(&["run"]);
    assert!(run.code == 2 && run.stderr.contains("tidemill run --event push"), "{run:?}");
    let run = project.tidemill(&["run", "--event", "push"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(project.log("job").contains("\ntag \n"));
    let run = project.tidemill(&["run", "--event", "tag"]);
    assert!(run.code == 2 && run.stderr.contains("the commit has no tag"), "{run:?}");
    crate::support::git::git(&project.repo(), &["tag", "v1"]);
    let run = project.tidemill(&["run", "--event", "tag"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(project.log("job").contains("\ntag v1\n"));
}

#[test]
fn case_gitlab_33_scripts_see_the_names_of_the_file() {
    let file = r#"
default: { image: "IMAGE" }
stages: ["lint & test", deploy]
"größe (1)": { stage: "lint & test", script: ['echo "in $CI_JOB_STAGE: $CI_JOB_NAME"', 'test "$CI_JOB_STAGE" = "lint & test"'] }
first: { stage: .pre, script: ['echo "in $CI_JOB_STAGE"'] }
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("größe (1)");
    assert!(log.contains("\nin lint & test: größe (1)\n"), "{log}");
    assert!(project.log("first").contains("\nin .pre\n"), "{}", project.log("first"));
}

#[test]
fn case_gitlab_09_scripts_see_number_and_name_of_their_variant() {
    let file = r#"
default: { image: "IMAGE" }
job:
  parallel: { matrix: [{ SIDE: [left, right] }] }
  script: ['echo "$CI_JOB_NAME: part $CI_NODE_INDEX of $CI_NODE_TOTAL"']
next:
  stage: deploy
  needs: ["job: [right]"]
  script: [echo after]
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job: [right]");
    assert!(log.contains("\njob: [right]: part 2 of 2\n"), "{log}");
}

#[test]
fn case_gitlab_25_delayed_job_runs_after_its_time() {
    let file = r#"
default: { image: "IMAGE" }
stages: [canary, rollout]
canary: { stage: canary, script: [date +%s > canary], artifacts: { paths: [canary] } }
wait-then-check:
  stage: canary
  needs: [canary]
  when: delayed
  start_in: 3 seconds
  script: [test $(( $(date +%s) - $(cat canary) )) -ge 2, touch checked]
  artifacts: { paths: [checked] }
rest: { stage: rollout, script: [test -e checked] }
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    let checked = project.tidemill(&["check", "-f", ".gitlab-ci.yml"]);
    assert!(!(checked.stdout + &checked.stderr).contains("warning"));
    let run = project.run(".gitlab-ci.yml", 0);
    let shown = run.stdout + &run.stderr;
    assert!(shown.contains("3 succeeded"), "{shown}");
    assert!(shown.contains("job wait-then-check starts in "), "{shown}");
}

#[test]
fn child_of_a_run_includes_templates_of_the_directory_of_the_run() {
    let child = "default: {image: \"IMAGE\"}\ninclude: [{template: More.yml}]\nown: {script: [echo own]}\n";
    let project = Project::new(&[
        (".gitlab-ci.yml", "start: {trigger: {include: child.yml, strategy: depend}}\n"),
        ("child.yml", child),
        ("templates/More.yml", "more: {script: [echo more]}\n"),
    ]);
    let run = project.tidemill(&["run"]);
    assert_eq!(run.code, 1, "there is no directory of templates: {run:?}");
    let run = project.tidemill(&["run", "--templates", "templates"]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn conditional_include_with_defaults_is_decided_for_the_event() {
    let file = "include:\n  - {local: ci/main.yml, rules: [{if: '$CI_COMMIT_BRANCH == \"main\"'}]}\n  \
                - {local: ci/other.yml, rules: [{if: '$CI_COMMIT_BRANCH != \"main\"'}]}\njob: {script: [\"echo as $KIND\"]}\n";
    let project = Project::new(&[
        (".gitlab-ci.yml", file),
        ("ci/main.yml", "default: {image: \"IMAGE\"}\nvariables: {KIND: main}\n"),
        ("ci/other.yml", "default: {image: \"other:1\"}\nvariables: {KIND: other}\nmore: {script: [echo]}\n"),
    ]);
    let checked = project.tidemill(&["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let planned = project.tidemill(&["plan", "--event", "push", "--branch", "topic"]);
    assert!(planned.code == 0 && planned.stdout.contains("  more  other:1  "), "{planned:?}");
    assert!(planned.stderr.contains("for this event, this is left out"), "{planned:?}");
    let planned = project.tidemill(&["plan", "--event", "push"]);
    assert!(planned.code == 0 && !planned.stdout.contains("other"), "{planned:?}");
    project.run(".gitlab-ci.yml", 0);
    assert!(project.log("job").contains("\nas main\n"), "{}", project.log("job"));
    let imported = project.tidemill(&["import"]);
    assert!(imported.code == 2 && imported.stderr.contains("under a condition"), "{imported:?}");
}
