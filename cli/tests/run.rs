//! Whole runs of the real binary in real containers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use support::{Place, STUBBORN, finish, job, signal, text};

const WHOLE: &str = r#"
name: whole
stages: [build, test, end]
defaults: { image: "IMAGE" }
jobs:
  make:
    stage: build
    script:
      - cat source.txt
      - mkdir -p out && printf 'made\001\377' > out/bytes
    artifacts: { paths: [out/*] }
  use:
    stage: test
    needs: [make]
    matrix: { size: [small, large] }
    script: ['test "$(cat out/bytes | wc -c)" = 6', 'echo size is $size']
  may-fail:
    stage: test
    allow_failure: true
    script: [exit 3]
  last: { stage: end, script: ["ls out/bytes"] }
"#;

#[test]
fn a_pipeline_runs_hands_on_its_artifacts_and_is_reported() {
    let place = Place::new(WHOLE);
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let shown = text(&run.stdout);
    assert!(shown.contains("✓ use [size=large]: succeeded"), "{shown}");
    assert!(shown.contains("! may-fail: failed, which is allowed"), "{shown}");

    let log = text(&place.tidemill(&["logs", "--job", "make"]).stdout);
    assert!(log.contains("from the repository\n"), "{log}");
    let report = place.json(&["report", "--format", "json"]);
    assert_eq!(report["critical_path"].as_array().unwrap().len(), 3, "{report:#}");
    assert_eq!(report["jobs"][1]["waited_on"], "make", "{report:#}");
    let junit = text(&place.tidemill(&["report", "--format", "junit"]).stdout);
    assert!(junit.contains("<testsuite name=\"test\"") && junit.contains("tests=\"3\""), "{junit}");

    let out = place.dir.path().join("fetched");
    let fetched = place.tidemill(&["artifacts", "--job", "make", "--output", out.to_str().unwrap()]);
    assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
    assert_eq!(std::fs::read(out.join("out/bytes")).unwrap(), b"made\x01\xff");
    place.wait_until_clean();
}

#[test]
fn a_failure_ends_with_1_shows_the_log_and_a_retry_runs_only_the_rest() {
    let place = Place::new(
        r#"
name: once
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  good: { stage: a, script: ["true"] }
  bad: { stage: a, script: ["echo the last words", "exit 7"] }
  after: { stage: b, script: ["true"] }
"#,
    );
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(text(&run.stderr).contains("the last words"), "{run:?}");
    let view = place.latest();
    assert_eq!(job(&view, "bad")["exit_code"], 7);
    assert_eq!(job(&view, "after")["status"], "SKIPPED");
    let retry = place.tidemill(&["retry"]);
    assert_eq!(retry.status.code(), Some(1), "{retry:?}");
    let view = place.latest();
    assert_eq!(view["execution"]["run_number"], 2);
    assert!(job(&view, "good")["carried_from"].is_string(), "{view:#}");
}

#[test]
fn ctrl_c_cancels_even_a_script_that_ignores_it_and_leaves_nothing_behind() {
    let place = Place::new(STUBBORN);
    let run = place.spawn(&["run"]);
    place.wait_for("the job runs", |view| {
        job(view, "deaf")["log_bytes"].as_u64().unwrap() > 0
            && text(&place.tidemill(&["logs", "--job", "deaf"]).stdout).contains("ready\n")
    });
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let view = place.latest();
    assert_eq!(
        (&view["execution"]["status"], &job(&view, "deaf")["status"]),
        (&"CANCELED".into(), &"CANCELED".into())
    );
    place.wait_until_clean();
}

#[test]
fn the_same_commit_twice_at_once_is_one_execution() {
    let place = Place::new(
        "name: same\nstages: [a]\njobs:\n  slow: { stage: a, image: \"IMAGE\", script: [sleep 2] }\n",
    );
    let first = place.spawn(&["run"]);
    place.wait_for("it is recorded", |_| true);
    let second = place.tidemill(&["run"]);
    let first = finish(first);
    assert_eq!((first.status.code(), second.status.code()), (Some(0), Some(0)), "{first:?} {second:?}");
    assert!(text(&second.stdout).contains("is under way already"), "{second:?}");
    assert_eq!(place.executions().len(), 1);
    assert_eq!(place.tidemill(&["run", "--force", "--quiet"]).status.code(), Some(0));
    assert_eq!(place.executions().len(), 2);
}

#[test]
fn bad_files_and_bad_usage_end_with_2() {
    let place =
        Place::new("name: bad\nstages: [a]\njobs:\n  j: { stage: b, image: i, script: [x], nees: [j] }\n");
    for words in [&["run"][..], &["check"], &["plan"], &["run", "--no-such-flag"], &["report", "--run", "9"]]
    {
        assert_eq!(place.tidemill(words).status.code(), Some(2), "{words:?}");
    }
    let found = place.json(&["check", "--format", "json"]);
    let codes: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 2, "{found:#}");
    let sarif = place.json(&["check", "--format", "sarif"]);
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 2, "{sarif:#}");
}
