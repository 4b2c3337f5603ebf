//! Upload of sources to a server, for workers that cannot read the local disk.

use crate::support::{
    Backend, TestEnv, failure_kind,
    git::{GitServer, git},
    job, text,
};
use std::fs;

const SHOW: &str = r#"
name: show
stages: [a]
jobs:
  show: { stage: a, image: "IMAGE", script: ["cat source.txt", "grep -c . large.txt"] }
"#;

/// Creates an environment with a server and a large file in the repository.
fn test_env() -> TestEnv {
    let env = Backend::Server.test_env(SHOW);
    let lines: Vec<String> =
        (0..40_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_string()).collect();
    fs::write(env.repo().join("large.txt"), lines.join("\n")).unwrap();
    git(&env.repo(), &["add", "-A"]);
    git(&env.repo(), &["commit", "-q", "-m", "large"]);
    env
}

/// Starts a git server as the repository's `origin`, and registers it: otherwise jobs cannot fetch from a private address.
fn start_origin(env: &TestEnv) -> GitServer {
    let server = GitServer::start_origin(&env.repo());
    let added = env.tidemill(&["repo", "add", &server.url, "--provider", "gitea"]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    server
}

/// Returns the sizes of the uploads that the server stores.
fn uploads(env: &TestEnv) -> Vec<u64> {
    let entries = fs::read_dir(env.dir.path().join("server/artifacts/sources"));
    entries.map_or_else(
        |_| Vec::new(),
        |all| all.map(|entry| entry.unwrap().metadata().unwrap().len()).collect(),
    )
}

#[test]
fn working_tree_is_uploaded_once() {
    let env = test_env();
    fs::write(env.repo().join("source.txt"), "uncommitted\n").unwrap();
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(text(&run.stderr).contains("uploaded "), "{run:?}");
    assert!(env.log("show").contains("\nuncommitted\n"), "{}", env.log("show"));
    let again = env.tidemill(&["run"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert!(!text(&again.stderr).contains("uploaded "), "{again:?}");
    assert_eq!((env.executions().len(), uploads(&env).len()), (2, 1));
}

#[test]
fn commits_of_the_origin_are_not_uploaded() {
    let env = test_env();
    let server = start_origin(&env);
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(uploads(&env), [] as [u64; 0]);

    fs::write(env.repo().join("source.txt"), "local change\n").unwrap();
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(env.log("show").contains("\nlocal change\n"), "{}", env.log("show"));
    let sizes = uploads(&env);
    assert!(matches!(sizes[..], [size] if size < 10_000), "the large file is not uploaded: {sizes:?}");
    assert_eq!(env.latest()["execution"]["repo"], server.url.as_str());
}

#[test]
fn unreachable_origin_error_suggests_upload_all() {
    let env = test_env();
    drop(start_origin(&env));
    fs::write(env.repo().join("source.txt"), "local change\n").unwrap();
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = env.latest();
    assert_eq!(failure_kind(&view, "show"), "source_unavailable", "{view:#}");
    let message = job(&view, "show")["failure_reason"]["message"].as_str().unwrap();
    assert!(message.contains("run with --upload-all"), "{message}");
    let run = env.tidemill(&["run", "--upload-all"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(env.log("show").contains("\nlocal change\n"), "{}", env.log("show"));
}
