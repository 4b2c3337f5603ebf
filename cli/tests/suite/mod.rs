//! Stories that must pass on every backend; [`suite!`](crate::suite) says on which of them `make test` runs each.

mod children;
mod equivalence;
mod evidence;
mod job_features;
mod monorepo;
mod secrets;
mod summaries;
mod test_reports;
pub use children::*;
pub use equivalence::*;
pub use evidence::*;
pub use job_features::*;
pub use monorepo::*;
pub use secrets::*;
pub use summaries::*;
pub use test_reports::*;

use crate::support::{
    Backend, GATED, IGNORES_SIGTERM, OPEN_GATE, TWO_JOBS, failure_kind, finish, has_ended, job, json, signal,
    text,
};
use std::io::{BufRead, BufReader};

/// Defines the suite's tests for a backend: `embedded`, `server`, `cloud`, or `process` for a run on this machine whose jobs are plain
/// processes. With `None`, they do nothing.
///
/// The list says where each story runs. What decides it: the three backends share the services, the scheduler and the worker, and the
/// conformance suite holds the records, queues and objects of each to the same contract. So a story about the worker's containers or
/// about scheduling runs on one backend. It runs on several where their own parts do the work: processes of one machine that share a
/// file (`embedded`), a worker that is a process of its own (`server`), and messages, functions, presigned objects, the sweep and the
/// store of keys (`cloud`). On the others it is ignored; `make test-localstack` runs every story in the cloud, and
/// `cargo nextest run -p tidemill-cli --features aws --run-ignored all` wherever a backend is there.
#[macro_export]
macro_rules! suite {
    ($backend:ident, $on:expr) => {
        $crate::suite!(@stories $backend, $on =>
            pipeline_runs_passes_artifacts_and_is_reported [embedded server cloud process]
            uncommitted_changes_are_part_of_the_run [embedded server cloud process]
            // Invariant 12 compares the backends with each other.
            scripts_end_and_print_as_a_shell_of_their_image_runs_them [embedded server cloud]
            // Each backend detects and replaces a lost worker with parts of its own.
            lost_worker_costs_an_attempt_and_no_shown_log_byte [embedded server cloud process]
            // Without a worker for the labels, an embedded run is rejected; in the cloud, labels have queues of their own.
            job_with_labels_waits_for_a_matching_worker [embedded server cloud]

            // Commands of several processes: one file, or one server, between them.
            concurrent_runs_of_one_commit_share_an_execution [embedded server]
            newer_run_of_a_group_cancels_the_older_one [embedded server process]
            interrupt_cancels_a_script_that_ignores_signals_and_removes_its_container [embedded server process]
            manual_job_runs_when_approved [embedded server]
            failed_run_exits_with_1_and_its_retry_carries_over_successful_jobs [embedded server process]
            cancel_of_a_run_cancels_its_child [embedded server]
            missing_secret_error_names_the_command_that_sets_it [embedded server process]

            // In the cloud: dead letters, messages of later jobs, places of jobs, records read page by page, objects by presigned
            // addresses, and keys of secrets.
            cancel_by_another_process_ends_the_run [embedded cloud process]
            image_pull_is_attempted_three_times [embedded cloud]
            job_waits_for_the_place_of_another_execution [embedded cloud]
            export_has_executions_jobs_and_artifacts [embedded cloud]
            children_of_the_sources_and_of_an_artifact_run_and_decide_the_outcome [embedded cloud]
            second_run_uses_the_cache [embedded cloud process]
            monorepo_example_runs [embedded cloud]
            unapproved_manual_job_runs_when_approved_later [server cloud]
            secret_printed_in_ten_encodings_is_masked_everywhere [server cloud]

            // The worker reports to a server of its own, also for a while after a cancel.
            timed_out_and_canceled_jobs_keep_their_evidence [server process]
            summary_and_annotations_are_reported [server process]
            environment_is_listed_rolled_back_and_stopped [server]
            monorepo_example_runs_as_gitlab_file [server]

            // The worker and its containers, and what the scheduler decides.
            script_that_ignores_its_timeout_is_killed [embedded process]
            job_out_of_memory_reports_the_reason [embedded]
            job_reaches_its_services_by_name [embedded]
            report_has_test_results_and_a_retry_marks_flaky_tests [embedded process]
            report_has_printed_coverage_and_a_retry_keeps_it [embedded process]
            outputs_are_variables_of_jobs_that_need_the_job [embedded process]
            condition_on_outputs_decides_when_its_job_is_due [embedded process]
        );
    };
    // A story runs on one backend at least.
    (@stories $backend:ident, $on:expr => $($name:ident [$first:ident $($other:ident)*])*) => {
        $($crate::suite!(@story $backend, $on, $name [$first $($other)*]);)*
    };
    (@story embedded, $on:expr, $name:ident [embedded $($other:ident)*]) => { $crate::suite!(@test $on, $name); };
    (@story server, $on:expr, $name:ident [server $($other:ident)*]) => { $crate::suite!(@test $on, $name); };
    (@story cloud, $on:expr, $name:ident [cloud $($other:ident)*]) => { $crate::suite!(@test $on, $name); };
    (@story process, $on:expr, $name:ident [process $($other:ident)*]) => { $crate::suite!(@test $on, $name); };
    // What is about containers says nothing of processes.
    (@story process, $on:expr, $name:ident []) => {};
    (@story $backend:ident, $on:expr, $name:ident [$first:ident $($other:ident)*]) => {
        $crate::suite!(@story $backend, $on, $name [$($other)*]);
    };
    (@story $backend:ident, $on:expr, $name:ident []) => {
        $crate::suite!(@test $on, $name #[ignore = "runs on another backend, which shares what it checks"]);
    };
    (@test $on:expr, $name:ident $(#[$attribute:meta])?) => {
        #[test]
        $(#[$attribute])?
        fn $name() {
            let on: Option<$crate::support::Backend> = $on;
            if let Some(on) = on {
                $crate::suite::$name(&on);
            }
        }
    };
}

const FULL_PIPELINE: &str = r#"
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

pub fn pipeline_runs_passes_artifacts_and_is_reported(on: &Backend) {
    let mut env = on.test_env(FULL_PIPELINE);
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let shown = text(&run.stdout);
    assert!(shown.contains("✓ use [size=large]: succeeded"), "{shown}");
    assert!(shown.contains("! may-fail: failed (allowed)"), "{shown}");

    let log = text(&env.on_latest(&["logs", "make"]).stdout);
    assert!(log.contains("from the repository\n"), "{log}");
    let report = json(&env.on_latest(&["report", "--format", "json"]));
    assert_eq!(report["critical_path"].as_array().unwrap().len(), 3, "{report:#}");
    assert_eq!(report["jobs"][1]["waited_on"], "make", "{report:#}");
    let junit = text(&env.on_latest(&["report", "--format", "junit"]).stdout);
    assert!(junit.contains("<testsuite name=\"test\"") && junit.contains("tests=\"3\""), "{junit}");

    let out = env.dir.path().join("fetched");
    let fetched = env.on_latest(&["artifacts", "make", "--output", out.to_str().unwrap()]);
    assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
    assert_eq!(std::fs::read(out.join("out/bytes")).unwrap(), b"made\x01\xff");
    let fetch = |args: &[&str]| {
        env.on_latest(&[&["artifacts"], args, &["--output", out.to_str().unwrap()]].concat()).status.code()
    };
    std::fs::write(out.join("out/bytes"), "mine").unwrap();
    assert_eq!(fetch(&["make"]), Some(2), "no file is replaced");
    assert_eq!(std::fs::read(out.join("out/bytes")).unwrap(), b"mine");
    assert_eq!(fetch(&["make", "--force"]), Some(0));
    assert_eq!(std::fs::read(out.join("out/bytes")).unwrap(), b"made\x01\xff");
    env.wait_until_clean();
}

pub fn failed_run_exits_with_1_and_its_retry_carries_over_successful_jobs(on: &Backend) {
    let env = on.test_env(
        r#"
name: once
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  good: { stage: a, script: ["true"] }
  bad: { stage: a, script: ["echo last output", "exit 7"] }
  after: { stage: b, script: ["true"] }
"#,
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(text(&run.stderr).contains("last output"), "{run:?}");
    let view = env.latest();
    assert_eq!(job(&view, "bad")["exit_code"], 7);
    assert_eq!(job(&view, "after")["status"], "SKIPPED");
    let retry = env.on_latest(&["retry"]);
    assert_eq!(retry.status.code(), Some(1), "{retry:?}");
    let view = env.latest();
    assert_eq!(view["execution"]["run_number"], 2);
    assert!(job(&view, "good")["carried_from"].is_string(), "{view:#}");
}

pub fn uncommitted_changes_are_part_of_the_run(on: &Backend) {
    let env = on.test_env(
        "name: dirty\nstages: [a]\njobs:\n  show: { stage: a, image: \"IMAGE\", script: [cat source.txt new.txt] }\n",
    );
    std::fs::write(env.repo().join("source.txt"), "changed\n").unwrap();
    std::fs::write(env.repo().join("new.txt"), "untracked\n").unwrap();
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(env.log("show").contains("changed\nuntracked\n"), "{}", env.log("show"));
}

pub fn interrupt_cancels_a_script_that_ignores_signals_and_removes_its_container(on: &Backend) {
    let mut env = on.test_env(IGNORES_SIGTERM);
    let run = env.spawn(&["run"]);
    env.wait_for("the job runs", |view| {
        job(view, "deaf")["log_bytes"].as_u64().unwrap() > 0 && env.log("deaf").contains("ready\n")
    });
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let view = env.latest();
    assert_eq!(
        (&view["execution"]["status"], &job(&view, "deaf")["status"]),
        (&"CANCELED".into(), &"CANCELED".into())
    );
    env.wait_until_clean();
}

pub fn cancel_by_another_process_ends_the_run(on: &Backend) {
    let env = on.test_env(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    let run = env.spawn(&["run"]);
    env.wait_until_started();
    let cancel = env.on_latest(&["cancel"]);
    assert_eq!(cancel.status.code(), Some(0), "{cancel:?}");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let view = env.latest();
    assert_eq!(job(&view, "slow")["status"], "CANCELED", "{view:#}");
    assert_eq!(job(&view, "after")["attempt"], 0, "no job starts after a cancel: {view:#}");
}

pub fn concurrent_runs_of_one_commit_share_an_execution(on: &Backend) {
    let env = on.test_env(&TWO_JOBS.replace("sleep 3", GATED));
    let first = env.spawn(&["run"]);
    env.wait_for("the execution is recorded", |_| true);
    let mut second = env.spawn(&["run"]);
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("is already running")), "{:?}", finish(second));
    env.open_gate();
    assert!(lines.any(|line| line.contains("succeeded in")));
    let (first, second) = (finish(first), finish(second));
    assert_eq!((first.status.code(), second.status.code()), (Some(0), Some(0)), "{first:?} {second:?}");
    assert_eq!(env.executions().len(), 1);
    let forced = [&["run", "--force", "--quiet"], &OPEN_GATE[..]].concat();
    assert_eq!(env.tidemill(&forced).status.code(), Some(0));
    assert_eq!(env.executions().len(), 2);
}

pub fn newer_run_of_a_group_cancels_the_older_one(on: &Backend) {
    let env = on.test_env(
        r#"
name: pushed
stages: [a, b]
concurrency: { group: "${pipeline}-${branch}", cancel_superseded: true }
variables: { SECONDS_TO_SLEEP: "600" }
defaults: { image: "IMAGE" }
jobs:
  slow: { stage: a, script: ["echo begun", "sleep $SECONDS_TO_SLEEP"] }
  after: { stage: b, script: ["true"] }
"#,
    );
    let older = env.spawn(&["run"]);
    env.wait_until_started();
    let newer = env.tidemill(&["run", "-e", "SECONDS_TO_SLEEP=0"]);
    assert_eq!(newer.status.code(), Some(0), "{newer:?}");
    let older = finish(older);
    assert_eq!(older.status.code(), Some(130), "{older:?}");
    assert!(text(&older.stdout).contains("was superseded by a newer execution"), "{older:?}");
    let executions = env.executions();
    assert_eq!(executions[1]["superseded_by"], executions[0]["id"], "{executions:#?}");
}

pub fn lost_worker_costs_an_attempt_and_no_shown_log_byte(on: &Backend) {
    // However late the worker is killed, the first attempt has not ended.
    let mut env = on.test_env(&TWO_JOBS.replace("sleep 3", "test $TIDEMILL_ATTEMPT != 1 || sleep 600"));
    let run = env.spawn(&["run"]);
    env.wait_until_started();
    let shown = env.log("slow");
    let run = env.kill_worker(run);
    env.start_worker("second");
    let view = env.wait_for("the execution ends", has_ended);
    assert_eq!(view["execution"]["status"], "SUCCESS", "{view:#}");
    assert_eq!(job(&view, "slow")["attempt"], 2, "{view:#}");
    assert_eq!(job(&view, "slow")["attempts"][0]["failure"]["kind"], "worker_lost", "{view:#}");
    let stored = text(&env.on_latest(&["logs", "slow", "--attempt", "1"]).stdout);
    assert!(stored.contains("begun\n") && stored.starts_with(&shown), "{stored} / {shown}");
    if let Some(run) = run.map(finish) {
        assert_eq!(run.status.code(), Some(0), "{run:?}");
    }
    env.wait_until_clean();
}

pub fn image_pull_is_attempted_three_times(on: &Backend) {
    let env = on.test_env(
        "name: i\nstages: [a]\njobs:\n  j: { stage: a, image: \"127.0.0.1:1/no/such:image\", script: [x] }\n",
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let view = env.latest();
    assert_eq!(failure_kind(&view, "j"), "image_pull_failed", "{view:#}");
    assert_eq!(job(&view, "j")["attempts"].as_array().unwrap().len(), 2, "{view:#}");
    assert_eq!(job(&view, "j")["attempt"], 3, "{view:#}");
    let id = view["execution"]["id"].as_str().unwrap();
    let letters = text(&env.tidemill(&["dead-letters", id]).stdout);
    assert!(letters.contains(" j  3 attempt(s)") && letters.contains("  attempt 1: "), "{letters}");
    let report = text(&env.on_latest(&["report"]).stdout);
    assert!(report.contains("j attempt 2: ") && report.contains("dead letter: "), "{report}");
    let dismissed = text(&env.tidemill(&["dead-letters", "--dismiss", id]).stdout);
    assert!(dismissed.contains("dismissed j"), "{dismissed}");
    assert!(text(&env.tidemill(&["dead-letters", id]).stdout).contains("no dead letters"));
    let message = job(&view, "j")["failure_reason"]["message"].as_str().unwrap();
    assert!(message.contains("127.0.0.1:1/no/such:image"), "{message}");
}

pub fn script_that_ignores_its_timeout_is_killed(on: &Backend) {
    let mut env = on.test_env(
        r#"
name: deaf
stages: [a]
jobs:
  j: { stage: a, image: "IMAGE", timeout: 1s, script: ["trap '' TERM", "while true; do sleep 1; done"] }
"#,
    );
    assert_eq!(env.tidemill(&["run"]).status.code(), Some(1));
    assert_eq!(failure_kind(&env.latest(), "j"), "timed_out");
    env.wait_until_clean();
}

pub fn job_out_of_memory_reports_the_reason(on: &Backend) {
    let env = on.test_env(
        r#"
name: greedy
stages: [a]
jobs:
  j:
    stage: a
    image: "IMAGE"
    resources: { memory: 32Mi }
    cache: { key: greedy, paths: [seen], when: on_failure }
    script: ["echo x >seen", "head -c 300000000 /dev/zero | tail -c 250000000 | wc -c"]
"#,
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(failure_kind(&env.latest(), "j"), "out_of_memory", "{:#}", env.latest());
    assert!(env.log("j").contains("cache `greedy`: saved"), "{}", env.log("j"));
}
