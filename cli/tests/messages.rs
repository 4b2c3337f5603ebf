//! Snapshots of command output: help, plans and errors.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
        process::CommandExt,
    },
    process::Command,
};

const COMMANDS: [&str; 28] = [
    "run",
    "check",
    "plan",
    "report",
    "status",
    "logs",
    "watch",
    "open",
    "cancel",
    "approve",
    "secret",
    "registry",
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

/// Returns exit code and standard error of `tidemill` in a directory with `PIPELINE` and these other files.
fn tidemill_with(files: &[(&str, &str)], args: &[&str], prepare: impl FnOnce(&mut Command)) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".pipelines")).unwrap();
    fs::write(dir.path().join(".pipelines/mill.yml"), PIPELINE).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.current_dir(dir.path()).args(args);
    command.env("TIDEMILL_DATA_DIR", dir.path().join("data")).env("HOME", dir.path());
    prepare(&mut command);
    let done = command.output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn byte_order_mark_is_ignored_and_shifts_no_location() {
    let good = format!("\u{feff}{PIPELINE}");
    let (code, shown) = tidemill_with(&[("a.yml", &good)], &["check", "a.yml"], |_| {});
    assert_eq!((code, shown.as_str()), (0, "a.yml: no errors\n"));
    let bad = "\u{feff}nam: mill\njobs: { a: { image: i, script: [x] } }\n";
    let (code, shown) = tidemill_with(&[("a.yml", bad)], &["check", "a.yml"], |_| {});
    assert!(
        code == 2 && shown.contains("a.yml:1:1") && shown.contains("1 | nam: mill\n  | ^^^\n"),
        "{shown}"
    );
    let gitlab = "\u{feff}job: { image: i, script: [x], scripts: 1 }\n";
    let (code, shown) = tidemill_with(&[(".gitlab-ci.yml", gitlab)], &["check", ".gitlab-ci.yml"], |_| {});
    assert!(code == 2 && !shown.contains("feff"), "{shown}");
}

#[test]
fn duplicate_pipeline_names_are_an_error_of_check() {
    let (code, shown) = tidemill_with(&[(".pipelines/other.yml", PIPELINE)], &["check"], |_| {});
    assert!(
        code == 2 && shown.contains("error[duplicate-pipeline]: the pipeline of .pipelines/mill.yml"),
        "{shown}"
    );
    assert!(shown.contains("--> .pipelines/other.yml:2:7"), "{shown}");
}

#[test]
fn secret_that_no_job_names_is_a_usage_error() {
    let (code, shown) = tidemill_with(&[], &["run", "--secret", "UNUSED"], |command| {
        command.env("UNUSED", "value").env("DOCKER_HOST", "unix:///no/such.sock");
    });
    assert!(code == 2 && shown.contains("no job of .pipelines/mill.yml names this secret"), "{shown}");
}

#[test]
fn unreachable_engine_is_explained() {
    for (host, code, expected) in [
        ("/var/run/docker.sock", 2, "write unix:///var/run/docker.sock"),
        ("ssh://host", 2, "ssh:// is not supported; forward"),
        ("tcp://127.0.0.1", 2, "add a port"),
        ("tcp://127.0.0.1:1", 3, "no process listens there"),
        ("unix:///no/such.sock", 3, "the socket does not exist"),
        ("tcp://no-such-host.invalid:2375", 3, "failed to lookup address"),
    ] {
        let (found, shown) = tidemill_with(&[], &["run"], |command| {
            command.env("DOCKER_HOST", host);
        });
        assert!(found == code && shown.contains(expected), "{host}: {shown}");
        assert!(shown.contains(host) && !shown.contains("hyper"), "{host}: {shown}");
    }
}

#[test]
fn forbidden_socket_names_the_docker_group() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = dir.path().join("engine.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    let repository = dir.path().join("repository");
    fs::create_dir_all(repository.join(".pipelines")).unwrap();
    fs::write(repository.join(".pipelines/mill.yml"), PIPELINE).unwrap();
    let binary = dir.path().join("tidemill");
    fs::copy(env!("CARGO_BIN_EXE_tidemill"), &binary).unwrap();
    let mut command = Command::new(&binary);
    if fs::metadata(dir.path()).unwrap().uid() == 0 {
        // Permissions do not restrict root.
        command.uid(65_534).gid(65_534);
        std::os::unix::fs::chown(&repository, Some(65_534), Some(65_534)).unwrap();
    }
    command.current_dir(&repository).arg("run").env("HOME", &repository);
    command.env("TIDEMILL_DATA_DIR", repository.join("data"));
    let done = command.env("DOCKER_HOST", format!("unix://{}", socket.display())).output().unwrap();
    let shown = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(3) && shown.contains("usermod -aG docker"), "{shown}");
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
