//! Workers that end by themselves: `tidemill worker --once` and `--max-idle`.

use crate::support::{TestEnv, finish, job, serve, stop, text};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output, Stdio},
};

/// Returns a command with the connection to the server at `url`.
fn client(env: &TestEnv, url: &str, args: &[&str]) -> Command {
    let token = fs::read_to_string(env.data.join("token")).unwrap();
    let mut command = env.command(args);
    command.env("TIDEMILL_SERVER", url).env("TIDEMILL_TOKEN", token.trim());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a worker until it ends by itself.
fn work(env: &TestEnv, url: &str, args: &[&str]) -> Output {
    let args: Vec<&str> = ["worker", "--notices", "off"].iter().chain(args).copied().collect();
    finish(client(env, url, &args).spawn().unwrap())
}

fn ended(view: &Value, jobs: &[&str]) -> usize {
    jobs.iter()
        .filter(|name| ["SUCCESS", "FAILED"].contains(&job(view, name)["status"].as_str().unwrap()))
        .count()
}

#[test]
fn worker_with_once_runs_one_job_and_exits_with_0() {
    let mut env = TestEnv::new(
        r#"
name: two
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  one: { stage: a, script: [exit 3], allow_failure: true }
  two: { stage: a, script: ["true"] }
"#,
    );
    let (server, url) = serve(&env, &env.data, "0");
    let run = client(&env, &url, &["run", "--quiet"]).spawn().unwrap();
    for expected in 1..=2 {
        let worker = work(&env, &url, &["--once"]);
        assert_eq!(worker.status.code(), Some(0), "{worker:?}");
        assert!(text(&worker.stdout).contains("1 concurrent job(s)"), "{worker:?}");
        let view = env.latest();
        assert_eq!(ended(&view, &["one", "two"]), expected, "{view:#}");
    }
    assert_eq!(finish(run).status.code(), Some(0));
    let view = env.latest();
    // Neither job was given back.
    assert_eq!([&job(&view, "one")["attempt"], &job(&view, "two")["attempt"]], [1, 1], "{view:#}");
    stop(server);
    env.wait_until_clean();
}

#[test]
fn idle_worker_exits_with_0_but_not_during_a_longer_job() {
    let mut env = TestEnv::new(
        r#"
name: long
stages: [a]
jobs:
  j: { stage: a, image: "IMAGE", script: ["sleep 6"] }
"#,
    );
    let (server, url) = serve(&env, &env.data, "0");
    let run = client(&env, &url, &["run", "--quiet"]).spawn().unwrap();
    env.wait_for("the job is queued", |view| job(view, "j")["status"] == "QUEUED");
    let worker = work(&env, &url, &["--max-idle", "3s"]);
    assert_eq!(worker.status.code(), Some(0), "{worker:?}");
    assert_eq!(finish(run).status.code(), Some(0));
    assert_eq!(job(&env.latest(), "j")["attempt"], 1);
    // None of the jobs that it waits for comes.
    let worker = work(&env, &url, &["--once", "--max-idle", "1s"]);
    assert_eq!(worker.status.code(), Some(0), "{worker:?}");
    let worker = work(&env, &url, &["--once", "--jobs", "2"]);
    assert_eq!(worker.status.code(), Some(2), "{worker:?}");
    stop(server);
    env.wait_until_clean();
}
