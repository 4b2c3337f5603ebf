//! The suite with the embedded server, and tests that apply only to it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod suite;
mod support;
use support::{Backend, TestEnv, text};

suite!(Some(Backend::Embedded));

#[test]
fn invalid_files_and_usage_errors_exit_with_2() {
    let env =
        TestEnv::new("name: bad\nstages: [a]\njobs:\n  j: { stage: b, image: i, script: [x], nees: [j] }\n");
    for args in [&["run"][..], &["check"], &["plan"], &["run", "--no-such-flag"], &["report", "9"]] {
        assert_eq!(env.tidemill(args).status.code(), Some(2), "{args:?}");
    }
    let found = env.json(&["check", "--format", "json"]);
    let codes: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 2, "{found:#}");
    let sarif = env.json(&["check", "--format", "sarif"]);
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 2, "{sarif:#}");
}

#[test]
fn local_run_has_no_cloud_cost() {
    let env = TestEnv::new(
        "name: free\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n",
    );
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let shown = text(&env.tidemill(&["report", "--cost"]).stdout);
    assert!(shown.contains("no cloud usage"), "{shown}");
    let cost = env.json(&["report", "--cost", "--format", "json"]);
    assert!(cost["bill"].is_null() && cost["worker_ms"].as_u64().unwrap() > 0, "{cost:#}");
    assert_eq!(env.tidemill(&["report", "--cost", "--format", "junit"]).status.code(), Some(2));
}

#[test]
fn secrets_passed_to_a_run_are_not_stored() {
    let mut env = TestEnv::new(
        r#"
name: passed
stages: [a]
jobs:
  uses:
    stage: a
    image: "IMAGE"
    environment: production
    secrets: [FROM_HERE, { name: FROM_FILE, file: true }]
    script: ['test "$(printf %s "$FROM_HERE" | wc -c)" = 14', 'test "$(wc -c <"$FROM_FILE")" = 14', 'echo "$FROM_HERE"']
"#,
    );
    let file = env.repo().join("../value");
    std::fs::write(&file, "out of a file\n").unwrap();
    let from_file = format!("FROM_FILE=@{}", file.display());
    let run = |args: &[&str]| {
        let mut command = env.command(&[&["run"], args].concat());
        command.env("FROM_HERE", "said only here").stdin(std::process::Stdio::null()).output().unwrap()
    };
    let passed = run(&["--secret", "FROM_HERE", "--secret", &from_file]);
    assert_eq!(passed.status.code(), Some(0), "{passed:?}\n{}", env.log("uses"));
    assert!(env.log("uses").ends_with("[masked]\n"), "{}", env.log("uses"));
    // Another process does not have the passed secrets.
    assert_eq!(run(&["--secret", "FROM_HERE"]).status.code(), Some(1));
    assert_eq!(support::failure_kind(&env.latest(), "uses"), "secret_unavailable");
    for invalid in ["FROM_HERE=plain-value", "NOT_SET_HERE", "FROM_FILE=@/no/such/file", "A-B=@/dev/null"] {
        let output = run(&["--secret", invalid]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!text(&output.stderr).contains("plain-value"), "{output:?}");
    }
    env.wait_until_clean();
    for entry in std::fs::read_dir(&env.data).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for value in ["said only here", "out of a file"] {
            assert!(
                !bytes.windows(value.len()).any(|part| part == value.as_bytes()),
                "{value} in {}",
                path.display()
            );
        }
    }
}
