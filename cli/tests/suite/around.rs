//! What a job has around its script, on every backend: caches, services, approvals.

use crate::support::{Backend, Place, finish, is_over, job, kind, text};
use std::fs;

/// How long a job of the latest execution took, in milliseconds.
fn took(place: &Place, name: &str) -> u64 {
    let report = crate::support::json(&place.of_latest(&["report", "--format", "json"]));
    let jobs = report["jobs"].as_array().unwrap();
    let line = jobs.iter().find(|line| line["name"] == name).unwrap();
    line["run_ms"].as_u64().unwrap_or_else(|| panic!("{line:#}"))
}

pub fn second_run_uses_the_cache(on: &Backend) {
    let mut place = on.place(
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
    let run = |says: &str| {
        let run = place.tidemill(&["run", "--force"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let log = place.log("build");
        assert!(log.contains(says), "{log}");
        (log, took(&place, "build"))
    };
    let (first_log, first) = run("nothing is kept");
    assert!(first_log.contains("saved 20 MiB"), "{first_log}");
    let (second_log, second) = run("fetched 20 MiB");
    assert!(second_log.contains("nothing to build\n") && second_log.contains("unchanged"), "{second_log}");
    println!("with an empty cache {first} ms, with 20 MiB in it {second} ms");
    // How much faster depends on what else the machine does.
    assert!(second < first, "{second} ms after {first} ms");
    fs::write(place.repo().join("source.txt"), "other sources\n").unwrap();
    run("nothing is kept");
    place.wait_until_clean();
}

pub fn job_reaches_its_services_by_name(on: &Backend) {
    let mut place = on.place(
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
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}\n{}", place.log("asks"));
    assert!(place.log("asks").contains("it was a success\n"), "{}", place.log("asks"));
    place.wait_until_clean();
}

pub fn manual_job_runs_when_approved(on: &Backend) {
    let place = on.place(
        r#"
name: gated
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  build: { stage: a, script: ["true"] }
  deploy: { stage: b, when: manual, script: ["true"] }
  mend: { stage: b, when: on_failure, script: ["true"] }
"#,
    );
    let run = place.spawn(&["run"]);
    let view = place.wait_for("the first job is over", |view| job(view, "build")["status"] == "SUCCESS");
    assert_eq!(job(&view, "deploy")["approval"], "awaited");
    let approved = place.of_latest(&["approve"]);
    let said = text(&approved.stdout);
    assert!(said.starts_with("job `deploy` of ") && said.ends_with(": approved\n"), "{approved:?}");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = place.latest();
    assert_eq!(
        (&job(&view, "deploy")["status"], &job(&view, "mend")["status"]),
        (&"SUCCESS".into(), &"SKIPPED".into())
    );
    assert_eq!(place.of_latest(&["approve", "--job", "build"]).status.code(), Some(2));
}

pub fn unapproved_manual_job_runs_when_approved_later(on: &Backend) {
    let place = on.place(
        r#"
name: undone
stages: [a, b, c]
defaults: { image: "IMAGE" }
jobs:
  build: { stage: a, script: ["true"] }
  deploy: { stage: b, when: manual, allow_failure: true, script: ["true"] }
  tell: { stage: c, script: ["true"] }
"#,
    );
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = place.latest();
    assert_eq!(
        (&job(&view, "deploy")["status"], kind(&view, "deploy").as_str()),
        (&"SKIPPED".into(), "not_approved")
    );
    assert_eq!(job(&view, "tell")["status"], "SUCCESS");
    let approved = place.of_latest(&["approve", "--job", "deploy"]);
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    let view =
        place.wait_for("the retry is over", |view| view["execution"]["run_number"] == 2 && is_over(view));
    assert_eq!(job(&view, "deploy")["status"], "SUCCESS");
    assert!(job(&view, "build")["carried_from"].is_string(), "{view:#}");
    // Nothing is left.
    assert_eq!(place.of_latest(&["retry"]).status.code(), Some(2));
}

pub fn job_with_labels_waits_for_a_matching_worker(on: &Backend) {
    let mut place = on.place(
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
        // No other worker can come to the aid of a run in one process, so that it says so at once.
        let run = place.tidemill(&["run"]);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(text(&run.stderr).contains("gpu=true"), "{run:?}");
        return;
    }
    let run = place.spawn(&["run"]);
    let view =
        place.wait_for("the job without labels is over", |view| job(view, "anywhere")["status"] == "SUCCESS");
    assert_eq!(job(&view, "here")["status"], "QUEUED");
    let shown = place.of_latest(&["status", "--run", "1"]);
    assert!(text(&shown.stdout).contains("waiting for a worker with gpu=true"), "{shown:?}");
    place.start_labelled_worker();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(job(&place.latest(), "here")["status"], "SUCCESS");
}
