//! Cases about GitLab files.

use crate::project::Project;

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
    assert!(log.ends_with("\ncleaning up: failed\n"), "{log}");
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
    assert!(shown.contains("job `wait-then-check` starts in "), "{shown}");
}
