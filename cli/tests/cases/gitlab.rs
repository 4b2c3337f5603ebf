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
