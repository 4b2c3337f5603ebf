//! Caches, services, approvals and labels of jobs, on every backend.

use crate::support::{Backend, TestEnv, failure_kind, finish, has_ended, job, text};
use std::fs;

/// Returns the run time of a job of the latest execution in milliseconds.
fn run_ms(env: &TestEnv, name: &str) -> u64 {
    let report = crate::support::json(&env.on_latest(&["report", "--format", "json"]));
    let jobs = report["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["name"] == name).unwrap();
    job["run_ms"].as_u64().unwrap_or_else(|| panic!("{job:#}"))
}

pub fn second_run_uses_the_cache(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: cached
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  build:
    stage: a
    cache: { key: { files: [source.txt], prefix: "build" }, paths: [built] }
    script:
      - if [ -e built/done ]; then echo nothing to build; exit 0; fi
      - mkdir built && dd if=/dev/zero of=built/large bs=1048576 count=20 2>/dev/null
      - sleep 4 && touch built/done
"#,
    );
    let run = |expected: &str| {
        let run = env.tidemill(&["run", "--force"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let log = env.log("build");
        assert!(log.contains(expected), "{log}");
        (log, run_ms(&env, "build"))
    };
    let (first_log, first) = run("not found");
    assert!(first_log.contains("saved 20 MiB"), "{first_log}");
    let (second_log, second) = run("restored 20 MiB");
    assert!(second_log.contains("nothing to build\n") && second_log.contains("unchanged"), "{second_log}");
    println!("with an empty cache {first} ms, with 20 MiB in it {second} ms");
    // The speedup depends on the load of the machine.
    assert!(second < first, "{second} ms after {first} ms");
    fs::write(env.repo().join("source.txt"), "other sources\n").unwrap();
    run("not found");
    env.wait_until_clean();
}

pub fn job_reaches_its_services_by_name(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: served
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  asks:
    stage: a
    services:
      - image: "IMAGE"
        alias: db
        variables: { ANSWER: "42" }
        entrypoint: [sh, -c]
        command: ["while :; do printf '%s\n' \"$ANSWER\" | nc -l -p 5432; done"]
        health: { port: 5432 }
    script: ['test "$(nc db 5432 </dev/null)" = 42']
    after_script: ['echo "it was a $TIDEMILL_JOB_STATUS"']
"#,
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}\n{}", env.log("asks"));
    assert!(env.log("asks").contains("it was a success\n"), "{}", env.log("asks"));
    env.wait_until_clean();
}

pub fn manual_job_runs_when_approved(on: &Backend) {
    let env = on.test_env(
        r#"
name: gated
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  build: { stage: a, script: ["true"] }
  deploy: { stage: b, when: manual, script: ["true"] }
  repair: { stage: b, when: on_failure, script: ["true"] }
"#,
    );
    let run = env.spawn(&["run"]);
    let view = env.wait_for("the first job ends", |view| job(view, "build")["status"] == "SUCCESS");
    assert_eq!(job(&view, "deploy")["approval"], "awaited");
    let approved = env.on_latest(&["approve"]);
    let stdout = text(&approved.stdout);
    assert!(stdout.starts_with("job `deploy` of ") && stdout.ends_with(": approved\n"), "{approved:?}");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = env.latest();
    assert_eq!(
        (&job(&view, "deploy")["status"], &job(&view, "repair")["status"]),
        (&"SUCCESS".into(), &"SKIPPED".into())
    );
    assert_eq!(env.on_latest(&["approve", "build"]).status.code(), Some(2));
    let late = env.on_latest(&["approve", "deploy"]);
    assert_eq!(late.status.code(), Some(2), "{late:?}");
    let message = text(&late.stderr);
    assert!(message.contains("it has run and succeeded") && message.contains("tidemill retry "), "{message}");
}

pub fn unapproved_manual_job_runs_when_approved_later(on: &Backend) {
    let env = on.test_env(
        r#"
name: unapproved
stages: [a, b, c]
defaults: { image: "IMAGE" }
jobs:
  build: { stage: a, script: ["true"] }
  deploy: { stage: b, when: manual, allow_failure: true, script: ["true"] }
  notify: { stage: c, script: ["true"] }
"#,
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = env.latest();
    assert_eq!(
        (&job(&view, "deploy")["status"], failure_kind(&view, "deploy").as_str()),
        (&"SKIPPED".into(), "not_approved")
    );
    assert_eq!(job(&view, "notify")["status"], "SUCCESS");
    let approved = env.on_latest(&["approve", "deploy"]);
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    let view = env.wait_for("the retry ends", |view| view["execution"]["run_number"] == 2 && has_ended(view));
    assert_eq!(job(&view, "deploy")["status"], "SUCCESS");
    assert!(job(&view, "build")["carried_from"].is_string(), "{view:#}");
    // No unsuccessful job remains.
    assert_eq!(env.on_latest(&["retry"]).status.code(), Some(2));
}

pub fn job_with_labels_waits_for_a_matching_worker(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: labelled
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  anywhere: { stage: a, script: ["true"] }
  here: { stage: a, runs_on: { gpu: "true" }, script: ["true"] }
"#,
    );
    if matches!(on, Backend::Embedded) {
        // An embedded run has no other workers, so it fails immediately.
        let run = env.tidemill(&["run"]);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(text(&run.stderr).contains("gpu=true"), "{run:?}");
        return;
    }
    let run = env.spawn(&["run"]);
    let view =
        env.wait_for("the job without labels ends", |view| job(view, "anywhere")["status"] == "SUCCESS");
    assert_eq!(job(&view, "here")["status"], "QUEUED");
    let shown = env.on_latest(&["status", "1"]);
    assert!(text(&shown.stdout).contains("waiting for a worker with gpu=true"), "{shown:?}");
    env.start_labelled_worker();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(job(&env.latest(), "here")["status"], "SUCCESS");
}

pub fn job_waits_for_the_place_of_another_execution(on: &Backend) {
    let env = on.test_env(
        r#"
name: limited
stages: [a]
variables: { SECONDS_TO_SLEEP: "600" }
defaults: { image: "IMAGE" }
jobs:
  slow: { stage: a, concurrency: "${pipeline}-production", script: ["echo begun", "sleep $SECONDS_TO_SLEEP"] }
"#,
    );
    let older = env.spawn(&["run"]);
    env.wait_until_started();
    let newer = env.spawn(&["run", "-e", "SECONDS_TO_SLEEP=0"]);
    let view = env.wait_for("the newer execution waits", |view| {
        view["execution"]["run_number"] == 2 && job(view, "slow")["waits_for_place"].is_object()
    });
    let wait = &job(&view, "slow")["waits_for_place"];
    let group = format!("{}-production", view["execution"]["pipeline_name"].as_str().unwrap());
    assert_eq!((&wait["group"], &wait["limit"]), (&group.as_str().into(), &1.into()), "{view:#}");
    assert_eq!(wait["holders"][0]["run_number"], 1, "{view:#}");
    let shown = text(&env.on_latest(&["status", "2"]).stdout);
    let waits = format!("waiting for concurrency group \"{group}\": held by execution #1 job slow");
    assert!(shown.contains(&waits), "{shown}");
    let canceled = env.on_latest(&["cancel", "1"]);
    assert_eq!(canceled.status.code(), Some(0), "{canceled:?}");
    let (older, newer) = (finish(older), finish(newer));
    assert_eq!((older.status.code(), newer.status.code()), (Some(130), Some(0)), "{older:?} {newer:?}");
    let printed = text(&newer.stdout);
    assert!(printed.contains(&format!("job slow waits for concurrency group \"{group}\"")), "{printed}");
    let executions = env.executions();
    assert_eq!(executions[0]["status"], "SUCCESS", "{executions:#?}");
    assert_eq!(executions[1]["status"], "CANCELED", "{executions:#?}");
}

pub fn environment_is_listed_rolled_back_and_stopped(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: deploys
stages: [build, deploy]
defaults: { image: "IMAGE" }
jobs:
  build: { stage: build, script: ['echo "version $VERSION"'] }
  deploy:
    stage: deploy
    script: ['echo "deploy to $CI_ENVIRONMENT_NAME ($CI_ENVIRONMENT_ACTION)"']
    environment: { name: live, url: "https://live.example.org", on_stop: stop }
  stop:
    stage: deploy
    script: ['echo "stop $CI_ENVIRONMENT_NAME ($CI_ENVIRONMENT_ACTION)"']
    when: manual
    allow_failure: true
    environment: { name: live, action: stop }
"#,
    );
    let empty = env.tidemill(&["environments"]);
    assert!(text(&empty.stdout).starts_with("no environments"), "{empty:?}");
    for version in ["VERSION=1", "VERSION=2"] {
        let run = env.tidemill(&["run", "-e", version, "--force"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
    }
    let shown = || env.json(&["environments", "show", "live", "--format", "json"]);
    let before = shown();
    let numbers = |view: &serde_json::Value| -> Vec<u64> {
        let all = view["deployments"].as_array().unwrap();
        all.iter().map(|one| one["run_number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&before), [2, 1], "{before:#}");
    let current = &before["current"];
    assert_eq!((&current["status"], &current["job_name"]), (&"SUCCESS".into(), &"deploy".into()));
    let listed = text(&env.tidemill(&["environments", "list"]).stdout);
    assert!(
        listed.starts_with("live  available  ") && listed.contains("https://live.example.org"),
        "{listed}"
    );
    let rolled_back = env.tidemill(&["environments", "rollback", "live", "--quiet"]);
    assert_eq!(rolled_back.status.code(), Some(0), "{rolled_back:?}");
    let after = shown();
    assert_eq!(numbers(&after), [3, 2, 1], "{after:#}");
    let retried = env.latest();
    assert_eq!(retried["execution"]["retry_of"], before["deployments"][1]["execution_id"]);
    assert!(!job(&retried, "build")["carried_from"].is_null(), "{retried:#}");
    let stopped = env.tidemill(&["environments", "stop", "live"]);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let end = env
        .wait_for("the end of the stop", |view| has_ended(view) && job(view, "stop")["status"] == "SUCCESS");
    assert!(end["jobs"].as_array().unwrap().iter().all(|job| job["status"] == "SUCCESS"), "{end:#}");
    assert!(env.log("stop").contains("stop live (stop)"), "{}", env.log("stop"));
    assert_eq!(shown()["state"], "stopped");
    let again = env.tidemill(&["environments", "stop", "live"]);
    assert!(text(&again.stdout).contains("already stopped"), "{again:?}");
    let unknown = env.tidemill(&["environments", "stop", "none"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    env.wait_until_clean();
}
