//! Snapshots of command output: help, plans and errors.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
        process::CommandExt,
    },
    process::Command,
};

const COMMANDS: [&str; 47] = [
    "run",
    "check",
    "plan",
    "report",
    "status",
    "logs",
    "watch",
    "open",
    "debug",
    "cp",
    "forward",
    "cancel",
    "approve",
    "secret",
    "variable",
    "registry",
    "repo",
    "retry",
    "environments",
    "dead-letters",
    "artifacts",
    "token",
    "audit",
    "export",
    "insights",
    "badge",
    "workers",
    "retention",
    "gc",
    "pin",
    "unpin",
    "backup",
    "restore",
    "doctor",
    "server",
    "worker",
    "roles",
    "sessions",
    "login",
    "logout",
    "init",
    "import",
    "completions",
    "deploy",
    "destroy",
    "version",
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
fn version_shows_the_schema_of_the_records() {
    let human = tidemill(&["version"]);
    assert!(human.contains(concat!("tidemill ", env!("CARGO_PKG_VERSION"), "\nschema ")), "{human}");
    let json = tidemill(&["version", "--format", "json"]);
    assert!(json.contains("\"schema\": ") && json.contains("\"aws\": "), "{json}");
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
    let commented = format!("# UNUSED\n{PIPELINE}");
    let (code, shown) =
        tidemill_with(&[("a.yml", &commented)], &["run", "-f", "a.yml", "--secret", "UNUSED"], |command| {
            command.env("UNUSED", "value").env("DOCKER_HOST", "unix:///no/such.sock");
        });
    assert!(code == 2 && shown.contains("no job of a.yml names this secret"), "{shown}");
    let gitlab = "j: { image: i, script: [x] }\n";
    let (code, shown) = tidemill_with(
        &[(".gitlab-ci.yml", gitlab)],
        &["run", "-f", ".gitlab-ci.yml", "--secret", "UNUSED"],
        |command| {
            command.env("UNUSED", "value").env("DOCKER_HOST", "unix:///no/such.sock");
        },
    );
    assert!(code == 3 && !shown.contains("names this secret"), "{shown}");
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

#[test]
fn unknown_options_and_commands_suggest_the_nearest() {
    for (args, expected) in [
        (&["run", "--folow", "unit"][..], "'--follow'"),
        (&["status", "--brnch", "main"], "'--branch'"),
        (&["secret", "list", "--formt", "json"], "'--format'"),
        (&["statsu"], "'status'"),
        (&["repo", "ad", "url"], "'add'"),
        (&["status", "--status", "sucess"], "'success'"),
    ] {
        let (code, shown) = tidemill_with(&[], args, |_| {});
        assert!(
            code == 2 && shown.contains("tip: a similar") && shown.contains(expected),
            "{args:?}: {shown}"
        );
    }
}

#[test]
fn malformed_ids_are_explained() {
    for (args, expected) in [
        (&["watch", "01980000-xyz"][..], "is not an execution: name it by its run number"),
        (&["status", "0-0-0-0-0"], "is not an execution: name it by its run number"),
        (&["dead-letters", "x-1"], "is not an execution: name it by its run number"),
        (&["token", "revoke", "01980000-xyz"], "no token has the name `01980000-xyz`"),
        (&["report", "99999999999999999999999"], "execution"),
    ] {
        let (code, shown) = tidemill_with(&[], args, |_| {});
        assert!(code == 2 && shown.contains(expected), "{args:?}: {shown}");
        for internal in ["group count", "invalid length", "invalid character"] {
            assert!(!shown.contains(internal), "{args:?}: {shown}");
        }
    }
}

#[test]
fn pipelines_are_found_from_sub_directories_and_selected_by_name() {
    let nightly = PIPELINE.replace("name: mill", "name: nightly");
    let files = [(".pipelines/nightly.yml", nightly.as_str())];
    let (code, shown) = tidemill_with(&files, &["plan"], |_| {});
    assert!(code == 2 && shown.contains("several pipeline files: "), "{shown}");
    assert!(shown.contains("select one with -f or --pipeline"), "{shown}");
    let (code, shown) = tidemill_with(&files, &["plan", "--pipeline", "nigtly"], |_| {});
    assert!(code == 2 && shown.contains("did you mean `nightly`?"), "{shown}");
    let (code, shown) = tidemill_with(&files, &["plan", "--pipeline", "nightly"], |_| {});
    assert!(code == 0 && shown.starts_with("nightly: "), "{shown}");
    let below = |command: &mut Command| {
        let directory = command.get_current_dir().unwrap().join("a/b");
        fs::create_dir_all(&directory).unwrap();
        command.current_dir(directory);
    };
    let (code, shown) = tidemill_with(&[], &["plan"], below);
    assert!(code == 0 && shown.starts_with("mill: "), "{shown}");
    let elsewhere = |command: &mut Command| {
        command.current_dir("/");
    };
    for args in [&["run"][..], &["plan"], &["check"]] {
        let (code, shown) = tidemill_with(&[], args, elsewhere);
        assert!(code == 2 && shown.contains("tidemill init") && shown.contains("-f"), "{args:?}: {shown}");
    }
}

#[test]
fn unknown_job_of_a_run_suggests_the_nearest_and_lists_few() {
    for args in [&["run", "complie"][..], &["plan", "complie"], &["run", "--follow", "complie"]] {
        let (code, shown) = tidemill_with(&[], args, |_| {});
        assert!(code == 2 && shown.contains("did you mean `compile`?"), "{args:?}: {shown}");
    }
    let jobs = (0..500).map(|number| format!("  job-{number}: {{ image: i, script: [x] }}\n"));
    let many = format!("name: many\njobs:\n{}", jobs.collect::<String>());
    let (code, shown) = tidemill_with(&[("many.yml", &many)], &["run", "-f", "many.yml", "other"], |_| {});
    assert!(code == 2 && shown.contains(" and 480 more") && shown.len() < 1_000, "{shown}");
}

#[test]
fn empty_variables_count_as_unset() {
    let variables = [
        "TIDEMILL_DATA_DIR",
        "TIDEMILL_SERVER",
        "TIDEMILL_TOKEN",
        "TIDEMILL_PROFILE",
        "TIDEMILL_CA_CERT",
        "TIDEMILL_INSECURE_HTTP",
        "TIDEMILL_CONFIG",
        "TIDEMILL_WORKER_CONFIG",
        "TIDEMILL_LOG",
        "TIDEMILL_LEASE_TTL_MS",
        "TIDEMILL_GIT_TIMEOUT",
        "DOCKER_HOST",
        "DOCKER_CONFIG",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "USER",
        "CI",
        "NO_COLOR",
        "TERM",
    ];
    let (code, shown) = tidemill_with(&[], &["status"], |command| {
        command.envs(variables.map(|name| (name, "")));
    });
    assert_eq!((code, shown.as_str()), (0, "no executions; `tidemill run` starts one\n"));
    let (code, shown) = tidemill_with(&[], &["server", "--listen", "nowhere"], |command| {
        for name in ["TIDEMILL_TLS_CERT", "TIDEMILL_RATE_LIMIT", "TIDEMILL_ALLOW_HOSTS", "TIDEMILL_CPUS"] {
            command.env(name, "");
        }
    });
    assert!(code == 2 && shown.contains("nowhere") && !shown.contains("TIDEMILL_"), "{shown}");
}

#[test]
fn repository_of_another_user_is_refused_with_the_command_that_trusts_it() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().canonicalize().unwrap().join("theirs");
    fs::create_dir_all(repository.join(".pipelines")).unwrap();
    fs::write(repository.join(".pipelines/mill.yml"), PIPELINE).unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&repository).status().unwrap().success());
    // Only root can give files away; git itself tests this case with a variable.
    let is_foreign = std::os::unix::fs::chown(&repository, Some(65_534), None).is_ok();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.current_dir(&repository).arg("run").env("HOME", dir.path());
    command.env("TIDEMILL_DATA_DIR", dir.path().join("data"));
    let done = command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1").output().unwrap();
    let shown = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{shown}");
    let remedy = format!("git config --global --add safe.directory '{}'", repository.display());
    assert!(shown.contains(&remedy), "{shown}");
    assert!(shown.contains("belongs to another user") && !shown.contains("dubious"), "{shown}");
    assert!(!is_foreign || shown.contains("user id 65534"), "{shown}");
}

#[test]
fn unusable_data_directories_are_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, reason) in [
        (file.clone(), "it is not a directory"),
        (file.join("below"), "Not a directory"),
        ("/proc/self/tidemill".into(), "cannot be used"),
    ] {
        let path = path.display().to_string();
        for args in [&["status", "--data-dir", &path][..], &["run", "--data-dir", &path]] {
            let (code, shown) = tidemill_with(&[], args, |_| {});
            assert!(code == 3 && shown.contains(reason) && shown.contains(&path), "{args:?}: {shown}");
            assert!(shown.contains("choose another with --data-dir or TIDEMILL_DATA_DIR"), "{shown}");
        }
    }
}

#[test]
fn init_in_a_repository_proposes_an_image_and_a_trigger() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    assert!(
        Command::new("git")
            .args(["init", "-q", "-b", "trunk"])
            .current_dir(&root)
            .status()
            .unwrap()
            .success()
    );
    fs::write(root.join("Cargo.toml"), "").unwrap();
    fs::create_dir(root.join("sub")).unwrap();
    let init = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.current_dir(root.join("sub")).arg("init").args(args);
        let done = command.env("DOCKER_HOST", "unix:///no/such.sock").output().unwrap();
        (done.status.code().unwrap(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    let (code, shown) = init(&[]);
    let path = root.join(".pipelines/ci.yml");
    assert!(
        code == 0 && shown.contains(&format!("created {} for a Rust repository", path.display())),
        "{shown}"
    );
    assert!(shown.contains("image rust:1: not checked: no container engine answers"), "{shown}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("branches: [\"trunk\"]") && text.contains("image: rust:1\n"), "{text}");
    let (code, shown) = init(&[]);
    assert!(code == 2 && shown.contains("already exists") && shown.contains("--force"), "{shown}");
    assert_eq!(init(&["--force"]).0, 0);
    fs::write(root.join(".gitlab-ci.yml"), "j: { script: x }\n").unwrap();
    let (code, shown) = init(&["--force"]);
    assert!(
        code == 0 && shown.contains("replaces .gitlab-ci.yml") && shown.contains("tidemill import"),
        "{shown}"
    );
    let (code, shown) = init(&["-o", "other.yml"]);
    assert!(code == 0 && !shown.contains(".gitlab-ci.yml"), "{shown}");
    assert!(root.join("sub/other.yml").exists());
}

#[test]
fn manual_pages_of_all_commands_are_written_and_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1").display().to_string();
    let (code, shown) = tidemill_with(&[], &["man", "--output", &pages], |_| {});
    assert_eq!((code, shown.as_str()), (0, ""));
    for command in COMMANDS {
        let page = fs::read_to_string(format!("{pages}/tidemill-{command}.1")).unwrap();
        assert!(page.contains(".TH") && page.contains(command), "{command}: {page}");
    }
    // Every page that a page cites exists.
    for entry in fs::read_dir(&pages).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap().replace('\\', "");
        for cited in text.split_whitespace().filter_map(|word| word.split_once("(1)")).map(|(name, _)| name) {
            assert!(fs::metadata(format!("{pages}/{cited}.1")).is_ok(), "{cited}");
        }
    }
    let (code, shown) = tidemill_with(&[], &["man", "--output", &pages], |_| {});
    assert!(code == 2 && shown.contains("--force"), "{shown}");
    let (code, shown) = tidemill_with(&[], &["man", "secret", "set"], |_| {});
    assert!(code == 0 && shown.contains(".TH"), "{shown}");
    let (code, shown) = tidemill_with(&[], &["man", "sercet"], |_| {});
    assert!(code == 2 && shown.contains("no command `sercet`; did you mean `secret`?"), "{shown}");
}
