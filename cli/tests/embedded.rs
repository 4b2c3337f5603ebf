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

#[test]
fn requested_jobs_run_and_results_are_carried_over() {
    let env = TestEnv::new(
        r#"
name: parts
stages: [a, b, c]
defaults: { image: "IMAGE" }
jobs:
  make: { stage: a, script: ['echo "made in $TIDEMILL_RUN_NUMBER" > out'], artifacts: { paths: [out] } }
  unit: { stage: b, needs: [make], script: [cat out, 'echo "mode $MODE $OTHER"'], matrix: { os: [x, y] } }
  lint: { stage: b, needs: [], script: ["true"] }
  end: { stage: c, needs: [unit], script: ["true"] }
  pushed: { stage: c, needs: [], if: 'event == "push"', script: ["true"] }
"#,
    );
    let names = || -> Vec<String> {
        let jobs = env.latest()["jobs"].as_array().unwrap().clone();
        let mut names: Vec<String> =
            jobs.iter().map(|job| job["job_name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    std::fs::write(env.repo().join("../variables"), "# a comment\n\nMODE=file\nOTHER=a=b\n").unwrap();
    let run =
        env.tidemill(&["run", "unit", "--env-file", "../variables", "-e", "MODE=flag", "--follow", "unit"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let followed = text(&run.stdout);
    for line in ["unit [os=x] | made in 1", "unit [os=y] | mode flag a=b"] {
        assert!(followed.lines().any(|found| found.contains(line)), "{followed}");
    }
    assert_eq!(names(), ["make", "unit [os=x]", "unit [os=y]"]);
    let run = env.tidemill(&["run", "--from", "unit"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(names(), ["end", "make", "unit [os=x]", "unit [os=y]"]);
    assert!(env.log("unit [os=x]").contains("made in 1"), "the artifact is of the first run");
    assert_eq!(env.tidemill(&["retry", "unit [os=y]"]).status.code(), Some(0));
    let view = env.latest();
    let is_carried = |name: &str| support::job(&view, name)["carried_from"].is_string();
    assert!(
        is_carried("make") && is_carried("unit [os=x]") && !is_carried("unit [os=y]") && !is_carried("end")
    );
    assert_eq!(env.tidemill(&["run", "pushed", "--event", "push"]).status.code(), Some(0));
    for (args, message) in [
        (&["run", "pushed"][..], "`pushed` is excluded"),
        (&["run", "nobody"], "its jobs are"),
        (&["plan", "nobody"], "its jobs are"),
        (&["retry", "nobody"], "no job `nobody`"),
    ] {
        let failed = env.tidemill(args);
        assert!(failed.status.code() == Some(2) && text(&failed.stderr).contains(message), "{failed:?}");
    }
    let plan = text(&env.tidemill(&["plan", "lint"]).stdout);
    assert!(plan.contains("1 job(s)") && plan.contains("not requested"), "{plan}");
}

#[test]
fn closed_pipe_and_full_disk_exit_with_3() {
    let env = TestEnv::new("name: many\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n");
    let binary = env!("CARGO_BIN_EXE_tidemill");
    let script = format!("{binary} plan --format json >/dev/full; echo code $? >&2");
    let full =
        std::process::Command::new("bash").args(["-c", &script]).current_dir(env.repo()).output().unwrap();
    let stderr = text(&full.stderr);
    assert!(stderr.contains("code 3") && stderr.contains("No space left"), "{stderr}");
    let script =
        format!("exec 3> >(exec true); sleep 0.3; {binary} plan --format json >&3; echo code $? >&2");
    let closed =
        std::process::Command::new("bash").args(["-c", &script]).current_dir(env.repo()).output().unwrap();
    let stderr = text(&closed.stderr);
    assert_eq!(stderr.trim(), "code 3", "a closed pipe ends a command without a message");
}

#[test]
fn shell_completes_executions_jobs_repositories_scopes_and_profiles() {
    let env = TestEnv::new(
        "name: known\njobs:\n  unit: { image: \"IMAGE\", script: [\"true\"] }\n  lint: { image: \"IMAGE\", script: [\"true\"] }\n",
    );
    let complete = |words: &[&str]| {
        let mut command = env.command(&[&["--", "tidemill"], words].concat());
        command.env("TIDEMILL_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
        let output = command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(complete(&["logs", ""]).contains(&"unit".to_owned()), "without any record");
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let logs = complete(&["logs", ""]);
    for value in ["1", "unit", "lint"] {
        assert!(logs.contains(&value.to_owned()), "{logs:?}");
    }
    assert!(complete(&["status", ""]).contains(&"1".to_owned()));
    let jobs = complete(&["run", ""]);
    assert!(jobs.contains(&"unit".to_owned()) && jobs.contains(&"lint".to_owned()), "{jobs:?}");
    assert_eq!(complete(&["run", "--from", "u"]), ["unit"]);
    assert_eq!(complete(&["status", "--pipeline", "known"]), std::slice::from_ref(&env.pipeline));
    let repo = env.repo().canonicalize().unwrap().to_string_lossy().into_owned();
    assert_eq!(complete(&["status", "--repo", "/"]), [repo]);
    assert_eq!(complete(&["token", "create", "--scope", "w"]), ["worker"]);
    assert_eq!(complete(&["status", "--profile", ""]), ["local"]);
    for shell in ["bash", "zsh", "fish"] {
        let script = env.tidemill(&["completions", shell]);
        assert!(text(&script.stdout).contains("TIDEMILL_COMPLETE"), "{shell}: {script:?}");
    }
}
