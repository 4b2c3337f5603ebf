//! Artifacts and reports of jobs that fail or are stopped, and outputs of jobs.

use crate::support::{Backend, failure_kind, finish, job, text};
use serde_json::Value;
use std::fs;

pub fn timed_out_and_canceled_jobs_keep_their_evidence(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: evidence
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  hang:
    timeout: 2s
    script: ["mkdir logs; echo traced > logs/trace.txt", "sleep 600"]
    after_script: ['echo "after: $CI_JOB_STATUS"', "cp logs/trace.txt logs/after.txt"]
    artifacts: { paths: [logs], when: always }
    cache:
      - { key: logs, paths: [logs], when: always }
      - { key: failed, paths: [logs], when: on_failure }
      - { key: passed, paths: [logs], when: on_success }
  stop:
    script: ["mkdir logs; echo traced > logs/trace.txt; echo begun", "sleep 600"]
    # Longer than the lease of a worker that is silent after a cancel.
    after_script: ['echo "after: $CI_JOB_STATUS"; sleep 12', "cp logs/trace.txt logs/after.txt"]
    artifacts: { paths: [logs], when: on_failure }
    cache:
      - { key: logs-of-stop, paths: [logs], when: always }
      - { key: failed-stop, paths: [logs], when: on_failure }
      - { key: passed, paths: [logs], when: on_success }
"#,
    );
    let run = env.spawn(&["run"]);
    env.wait_for("the first job ends", |view| job(view, "hang")["status"] == "FAILED");
    env.wait_for("the second job runs", |_| env.log("stop").contains("begun\n"));
    assert_eq!(env.on_latest(&["cancel"]).status.code(), Some(0));
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let view = env.latest();
    assert_eq!(failure_kind(&view, "hang"), "timed_out", "{view:#}");
    assert_eq!(job(&view, "stop")["status"], "CANCELED", "{view:#}");
    for (name, status) in [("hang", "failed"), ("stop", "canceled")] {
        let log = env.log(name);
        assert!(log.contains(&format!("after: {status}\n")), "{log}");
        let out = env.dir.path().join(name);
        let fetched = env.on_latest(&["artifacts", name, "--output", out.to_str().unwrap()]);
        assert_eq!(fetched.status.code(), Some(0), "{fetched:?} {log}");
        for file in ["trace.txt", "after.txt"] {
            assert_eq!(text(&fs::read(out.join("logs").join(file)).unwrap()), "traced\n");
        }
    }
    for (name, saved) in [("hang", ["logs", "failed"]), ("stop", ["logs-of-stop", "failed-stop"])] {
        let log = env.log(name);
        for key in saved {
            assert!(log.contains(&format!("cache `{key}`: saved")), "{key}: {log}");
        }
        assert!(!log.contains("cache `passed`: saved"), "{log}");
    }
    let out = env.dir.path().join("all");
    let fetched = env.on_latest(&["artifacts", "--output", out.to_str().unwrap()]);
    assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
    assert!(out.join("hang/logs/trace.txt").exists() && out.join("stop/logs/trace.txt").exists());
    env.wait_until_clean();
}

pub fn condition_on_outputs_decides_when_its_job_is_due(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: conditional
stages: [a, b, c]
defaults: { image: "IMAGE" }
jobs:
  changes: { stage: a, script: ['echo "DEPLOY=$WANTED" > v.env'], outputs: v.env }
  deploy:
    stage: b
    needs: [changes]
    if: 'event == "manual" && needs.changes.outputs.DEPLOY == "yes"'
    script: ["echo deployed"]
  verify: { stage: b, needs: [deploy], script: ["echo verified"] }
  absent: { stage: b, if: 'event == "push" && needs.changes.outputs.DEPLOY == "yes"', script: ["false"] }
  last: { stage: c, script: ["echo last"] }
"#,
    );
    let plan = env.tidemill(&["plan"]);
    let shown = text(&plan.stdout);
    assert!(shown.contains("decided when due: if event") && shown.contains("absent"), "{shown}");
    let run = env.tidemill(&["run", "-e", "WANTED=no"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = env.latest();
    for name in ["deploy", "verify"] {
        assert_eq!(job(&view, name)["status"], "SKIPPED", "{view:#}");
        assert_eq!(failure_kind(&view, name), "condition_not_met", "{view:#}");
    }
    assert_eq!(job(&view, "last")["status"], "SUCCESS", "{view:#}");
    let report = env.on_latest(&["report"]);
    assert!(text(&report.stdout).contains("needs.changes.outputs.DEPLOY"), "{report:?}");
    let run = env.tidemill(&["run", "--force", "-e", "WANTED=yes"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(env.log("deploy").contains("deployed") && env.log("verify").contains("verified"));
    env.wait_until_clean();
}

pub fn outputs_are_variables_of_jobs_that_need_the_job(on: &Backend) {
    let env = on.test_env(
        r#"
name: outputs
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  version:
    stage: a
    script: ["echo VERSION=1.2.$((1 + 2)) > a.env", "echo 'WORDS=two words $HOME' > b.env"]
    outputs: [a.env, b.env]
  use:
    stage: b
    variables: { VERSION: none }
    script: ['test "$VERSION" = 1.2.3', 'test "$WORDS" = "two words \$HOME"']
  without: { stage: b, dependencies: [], script: ['test -z "$VERSION"'] }
  direct: { stage: b, needs: [version], script: ['test "$VERSION" = 1.2.3'] }
  broken: { stage: b, allow_failure: true, script: ["echo no-assignment > c.env"], outputs: c.env }
"#,
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?} {}", env.log("use"));
    let view = env.latest();
    assert_eq!(failure_kind(&view, "broken"), "artifact_failed", "{view:#}");
    assert!(env.log("broken").contains("`c.env`: line 1 is not `NAME=value`"), "{}", env.log("broken"));
    let run = env.tidemill(&["run", "--force", "-e", "VERSION=1.2.3"]);
    assert_eq!(run.status.code(), Some(1), "a variable of the request wins in `without`: {run:?}");
}

pub fn export_has_executions_jobs_and_artifacts(on: &Backend) {
    let env = on.test_env(
        r#"
name: exported
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  make: { stage: a, script: ["mkdir out; echo 1 > out/x"], artifacts: { paths: [out] } }
  fail: { stage: a, script: ["false"], allow_failure: true }
"#,
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = env.latest();
    let (id, repo) = (&view["execution"]["id"], view["execution"]["repo"].as_str().unwrap());
    let exported = env.tidemill(&["export", "--repo", repo]);
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let rows: Vec<Value> =
        text(&exported.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |table: &str, key: &str, value: &Value| -> Vec<Value> {
        rows.iter().filter(|row| row["table"] == table && row[key] == *value).cloned().collect()
    };
    let [execution] = of("executions", "id", id).try_into().unwrap();
    assert_eq!((&execution["status"], &execution["repo"]), (&Value::from("SUCCESS"), &Value::from(repo)));
    let jobs = of("jobs", "pipeline_execution_id", id);
    let statuses: Vec<_> = jobs.iter().map(|job| (&job["job_name"], &job["status"])).collect();
    assert_eq!(format!("{statuses:?}").matches("SUCCESS").count(), 1, "{statuses:?}");
    let [artifact] = of("artifacts", "job_execution_id", &job(&view, "make")["id"]).try_into().unwrap();
    assert_eq!(artifact["file_path"], "out");

    let dir = env.dir.path().join("records");
    let to_dir = ["export", "--repo", repo, "--output", dir.to_str().unwrap()];
    assert_eq!(env.tidemill(&to_dir).status.code(), Some(0));
    for (table, number) in [("executions", 1), ("jobs", 2), ("artifacts", 1)] {
        let lines = fs::read_to_string(dir.join(format!("{table}.jsonl"))).unwrap();
        assert!(lines.lines().count() >= number, "{table}: {lines}");
    }
    assert_eq!(env.tidemill(&to_dir).status.code(), Some(2), "the files are there");
    let parquet = env.tidemill(&[&to_dir[..], &["--file-format", "parquet"]].concat());
    if cfg!(feature = "aws") {
        assert_eq!(parquet.status.code(), Some(0), "{parquet:?}");
        for table in ["executions", "jobs", "artifacts"] {
            let bytes = fs::read(dir.join(format!("{table}.parquet"))).unwrap();
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{table}");
        }
    } else {
        assert!(text(&parquet.stderr).contains("without Parquet"), "{parquet:?}");
    }
}
