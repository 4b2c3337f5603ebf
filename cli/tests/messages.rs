//! Snapshots of command output: help, plans and errors.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{fs, process::Command};

const COMMANDS: [&str; 26] = [
    "run",
    "check",
    "plan",
    "report",
    "status",
    "logs",
    "watch",
    "cancel",
    "approve",
    "secret",
    "repo",
    "retry",
    "dead-letters",
    "artifacts",
    "token",
    "audit",
    "server",
    "worker",
    "login",
    "logout",
    "init",
    "import",
    "completions",
    "deploy",
    "destroy",
    "man",
];

const PIPELINE: &str = r#"
name: mill
stages: [build, test]
defaults: { image: "rust:1.95" }
jobs:
  compile: { stage: build, script: [cargo build], artifacts: { paths: [target/app] } }
  unit:
    stage: test
    needs: [compile]
    script: [cargo test]
    matrix: { os: [debian, alpine] }
  lint: { stage: test, script: [cargo clippy], allow_failure: true }
"#;

/// Returns exit code, standard output and standard error of `tidemill` in a directory with `PIPELINE`.
fn tidemill(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".pipelines")).unwrap();
    fs::write(dir.path().join(".pipelines/mill.yml"), PIPELINE).unwrap();
    fs::write(dir.path().join("bad.yml"), PIPELINE.replace("needs: [compile]", "needs: [compil]")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    // Help shows the values of environment variables.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMILL_")) {
        command.env_remove(name);
    }
    let done = command
        .current_dir(dir.path())
        .env("TIDEMILL_DATA_DIR", dir.path().join("data"))
        .env("TIDEMILL_CONFIG", dir.path().join("config.toml"))
        .args(args)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "output has no colours without a terminal");
    let code = done.status.code().unwrap();
    let here = dir.path().canonicalize().unwrap().to_string_lossy().into_owned();
    let (out, err) = (out.replace(&here, "HERE"), err.replace(&here, "HERE"));
    let text = format!("$ tidemill {}\n{out}{err}[exit code {code}]\n", args.join(" "));
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in COMMANDS {
        let help = tidemill(&[command, "--help"]);
        assert!(help.contains("Example"), "{help}");
    }
}

#[test]
fn list_of_tested_commands_is_complete() {
    let help = tidemill(&["--help"]);
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let listed: Vec<&str> =
        listed.map_while(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert_eq!(listed, COMMANDS);
}

#[test]
fn plan_lists_jobs_in_order() {
    insta::assert_snapshot!(tidemill(&["plan"]));
}

#[test]
fn check_reports_valid_invalid_and_missing_files() {
    let both = [tidemill(&["check"]), tidemill(&["check", "bad.yml"]), tidemill(&["check", "none.yml"])];
    insta::assert_snapshot!(both.join("\n"));
}

#[test]
fn usage_error_exits_with_2_and_says_what_to_do() {
    let all = [
        tidemill(&["run", "--follow", "nobody"]),
        tidemill(&["run", "--pipeline", "nobody"]),
        tidemill(&["run", "--server", "http://127.0.0.1:1"]),
        tidemill(&["worker"]),
        tidemill(&["report"]),
        tidemill(&["frobnicate"]),
    ];
    for one in &all {
        assert!(one.contains("[exit code 2]"), "{one}");
    }
    insta::assert_snapshot!(all.join("\n"));
}
