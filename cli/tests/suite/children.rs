//! Jobs that start other pipelines, on every backend.

use crate::support::{Backend, finish, has_ended, job, json, signal, text, wait_until};
use serde_json::Value;
use std::fs;

const PARENT: &str = r#"
name: parent
stages: [make, start, end]
defaults: { image: "IMAGE" }
jobs:
  make:
    stage: make
    script: 'echo "{ name: made, jobs: { hello: { image: \"IMAGE\", script: \"echo made, \$TEXT\" } } }" >made.yml'
    artifacts: { paths: [made.yml] }
  gitlab:
    stage: make
    script: 'echo "first: { image: \"IMAGE\", script: echo of the first }" >made.yml'
    artifacts: { paths: [made.yml] }
  more:
    stage: make
    script: 'echo "second: { image: \"IMAGE\", script: echo of the second }" >made.yml'
    artifacts: { paths: [made.yml] }
  both:
    stage: start
    pipeline: { include: [{ artifact: made.yml, job: gitlab }, { artifact: made.yml, job: more }] }
  made:
    stage: start
    variables: { TEXT: by-parent }
    pipeline: { file: made.yml, artifact_of: make }
  written: { stage: start, pipeline: ci/written.yml }
  last: { stage: end, script: echo last }
"#;

fn child(view: &Value, name: &str) -> Value {
    job(view, name)["child"].clone()
}

pub fn children_of_the_sources_and_of_an_artifact_run_and_decide_the_outcome(on: &Backend) {
    let mut env = on.test_env(PARENT);
    fs::create_dir_all(env.repo().join("ci")).unwrap();
    let image = crate::support::image();
    let written = |script: &str| {
        let text = format!("name: written\njobs: {{ check: {{ image: \"{image}\", script: {script} }} }}\n");
        fs::write(env.repo().join("ci/written.yml"), text).unwrap();
    };
    written("test -e ci/written.yml");
    let run = env.tidemill(&["run", "--force"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    let view = env.latest();
    for name in ["made", "written", "both"] {
        assert_eq!(child(&view, name)["status"], "SUCCESS", "{view:#}");
    }
    let both = child(&view, "both")["execution_id"].as_str().unwrap().to_owned();
    for name in ["first", "second"] {
        let log = env.tidemill(&["logs", &both, name]);
        assert!(text(&log.stdout).contains(&format!("of the {name}")), "{}", text(&log.stdout));
    }
    let id = child(&view, "made")["execution_id"].as_str().unwrap().to_owned();
    let log = env.tidemill(&["logs", &id, "hello"]);
    assert!(text(&log.stdout).contains("made, by-parent\n"), "{}", text(&log.stdout));
    let shown = json(&env.tidemill(&["status", "--format", "json", &id]));
    assert_eq!(shown["execution"]["parent"]["job_name"], "made", "{shown:#}");
    let report = env.on_latest(&["report"]);
    assert!(text(&report.stdout).contains("written started written #1 success"), "{}", text(&report.stdout));

    written("exit 3");
    let run = env.tidemill(&["run", "--force"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stderr));
    let view = env.latest();
    assert_eq!(view["execution"]["status"], "FAILED", "{view:#}");
    assert_eq!(child(&view, "written")["status"], "FAILED", "{view:#}");
    assert_eq!(job(&view, "last")["status"], "SKIPPED", "{view:#}");
    env.wait_until_clean();
}

pub fn cancel_of_a_run_cancels_its_child(on: &Backend) {
    let mut env = on.test_env("name: parent\njobs:\n  go: { pipeline: child.yml }\n");
    let image = crate::support::image();
    let text = format!("name: child\njobs: {{ sleeps: {{ image: \"{image}\", script: sleep 600 }} }}\n");
    fs::write(env.repo().join("child.yml"), text).unwrap();
    let run = env.spawn(&["run"]);
    let view = env.wait_for("the child runs", |view| child(view, "go")["status"] == "RUNNING");
    signal(&run, "INT");
    assert_eq!(finish(run).status.code(), Some(130));
    let status = |id: &Value| json(&env.tidemill(&["status", "--format", "json", id.as_str().unwrap()]));
    // The parent may end before the worker has stopped the job of the child.
    for id in [&view["execution"]["id"], &child(&view, "go")["execution_id"]] {
        wait_until(|| has_ended(&status(id))).unwrap();
        assert_eq!(status(id)["execution"]["status"], "CANCELED", "{:#}", status(id));
    }
    env.wait_until_clean();
}
