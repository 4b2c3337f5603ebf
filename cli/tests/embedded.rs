//! The suite with the embedded server, and tests that apply only to it.

use crate::support::{Backend, TestEnv, git::git, job, json, text};
use serde_json::Value;
use std::fs;

crate::suite!(embedded, Some(Backend::Embedded));

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
fn id_token_fails_a_run_without_a_server() {
    let mut env = TestEnv::new(
        "name: signed\njobs:\n  asks:\n    image: IMAGE\n    id_tokens: { TOKEN: { aud: them } }\n    script: [echo \"$TOKEN\"]\n",
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(crate::support::failure_kind(&env.latest(), "asks"), "secret_unavailable");
    let shown = format!("{}{}", text(&run.stdout), text(&run.stderr));
    assert!(shown.contains("which only a server signs"), "{shown}");
    env.wait_until_clean();
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
    fs::write(&file, "out of a file\n").unwrap();
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
    assert_eq!(crate::support::failure_kind(&env.latest(), "uses"), "secret_unavailable");
    for invalid in ["FROM_HERE=plain-value", "NOT_SET_HERE", "FROM_FILE=@/no/such/file", "A-B=@/dev/null"] {
        let output = run(&["--secret", invalid]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!text(&output.stderr).contains("plain-value"), "{output:?}");
    }
    env.wait_until_clean();
    for entry in fs::read_dir(&env.data).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
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
    fs::write(env.repo().join("../variables"), "# a comment\n\nMODE=file\nOTHER=a=b\n").unwrap();
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
    let is_carried = |name: &str| job(&view, name)["carried_from"].is_string();
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
fn inputs_of_a_run_reach_its_jobs_and_its_retry() {
    let env = TestEnv::new(
        r#"
name: ship
on: { manual: { inputs: { env: { type: choice, options: [dev, prod] }, dry: { type: boolean, default: true } } } }
jobs:
  ship: { image: "IMAGE", script: ['echo "to $INPUT_ENV, dry $INPUT_DRY"', "[ $TIDEMILL_RUN_NUMBER = 2 ]"] }
"#,
    );
    let missing = env.tidemill(&["run"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(text(&missing.stderr).contains("give it with `--input env=VALUE`"), "{missing:?}");
    assert!(env.executions().is_empty(), "nothing starts without the input");
    let run = env.tidemill(&["run", "--input", "env=prod", "--input", "dry=false"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(env.tidemill(&["retry"]).status.code(), Some(0));
    assert!(env.log("ship").contains("to prod, dry false"));
    let report = json(&env.tidemill(&["report", "--format", "json"]));
    assert_eq!(report["execution"]["inputs"], serde_json::json!({ "env": "prod", "dry": "false" }));
    assert!(text(&env.tidemill(&["report"]).stdout).contains("inputs      env=prod  dry=false"));
}

#[test]
fn case_real_15_closed_pipe_and_full_disk_exit_with_3() {
    let env = TestEnv::new("name: many\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n");
    let binary = env!("CARGO_BIN_EXE_tidemill");
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let bash = |script: &str| {
        let mut command = env.command(&[]);
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", script]).current_dir(env.repo());
        bash.envs(command.env("CI", "true").get_envs().filter_map(|(name, value)| Some((name, value?))));
        text(&bash.output().unwrap().stderr)
    };
    let commands = [
        "plan --format json",
        "plan",
        "check",
        "status",
        "status --format json",
        "report",
        "report --format junit",
        "logs j",
        "logs j --format json",
        "artifacts",
        "dead-letters",
        "man run",
        "completions bash",
        "--help",
        "run --force",
        "run --force --format json",
    ];
    for command in commands {
        let stderr = bash(&format!("{binary} {command} >/dev/full; echo code $? >&2"));
        assert!(
            stderr.ends_with("code 3\n") && stderr.contains("the output cannot be written: No space left"),
            "{command}: {stderr}"
        );
    }
    for command in ["plan --format json", "status", "report", "run --force"] {
        let stderr =
            bash(&format!("exec 3> >(exec true); sleep 0.3; {binary} {command} >&3; echo code $? >&2"));
        assert_eq!(stderr.trim(), "code 3", "{command}: a closed pipe ends a command without a message");
    }
    // What a run started does not outlive it.
    for execution in env.executions() {
        assert!(execution["end_time"].is_string(), "{execution:#}");
    }
}

#[test]
fn json_output_is_one_document_or_a_document_a_line() {
    let env = TestEnv::new(
        "name: one\njobs:\n  j: { image: \"IMAGE\", script: [\"printf 'a\\\\nb'\"], artifacts: { paths: [source.txt] } }\n",
    );
    let run = env.tidemill(&["run", "--format", "json"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(json(&run)["execution"]["status"], "SUCCESS");
    for args in [
        &["status"][..],
        &["status", "1"],
        &["report"],
        &["report", "--cost"],
        &["plan"],
        &["artifacts"],
        &["dead-letters"],
        &["watch", "1"],
        &["retry", "--all"],
        &["cancel", "1"],
        &["token", "list"],
        &["repo", "list"],
        &["secret", "list"],
        &["registry", "list"],
        &["audit"],
        &["repo", "add", "https://example.org/a.git", "--provider", "gitea"],
        &["repo", "remove", "https://example.org/a.git"],
        &["secret", "rekey"],
    ] {
        let output = env.tidemill(&[args, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        json(&output);
    }
    let logs = env.tidemill(&["logs", "1", "j", "--format", "json"]);
    let lines: Vec<Value> =
        text(&logs.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["job"] == "j"), "{lines:?}");
    let end: Vec<&Value> = lines[lines.len() - 2..].iter().map(|line| &line["line"]).collect();
    assert_eq!(end, ["a", "b"]);
}

#[test]
fn unknown_job_of_an_execution_suggests_the_nearest() {
    let env = TestEnv::new(
        "name: known\njobs:\n  compile: { image: \"IMAGE\", script: [\"true\"] }\n  lint: { image: \"IMAGE\", script: [\"true\"] }\n",
    );
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    for command in ["report", "logs", "cancel", "retry", "artifacts", "approve"] {
        for args in [&[command, "complie"][..], &[command, "1", "complie"]] {
            let output = env.tidemill(args);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
            assert!(message.contains("no job `complie`; did you mean `compile`?"), "{args:?}: {message}");
        }
    }
    // A text in the form of an id or number names an execution.
    for unknown in ["abcd", "77"] {
        let message = text(&env.tidemill(&["logs", unknown]).stderr);
        assert!(message.contains("no execution has an id") || message.contains("no run #77"), "{message}");
    }
    // No other error counts as an unknown execution.
    let mut unreachable = env.command(&["logs", "abcd"]);
    unreachable.env("TIDEMILL_SERVER", "http://127.0.0.1:1").env("TIDEMILL_TOKEN", "token");
    let unreachable = unreachable.output().unwrap();
    let message = text(&unreachable.stderr);
    assert!(unreachable.status.code() == Some(3) && !message.contains("no execution"), "{message}");
}

#[test]
fn run_of_uncommitted_work_is_marked_in_lists_and_reports() {
    let env = TestEnv::new("name: dirty\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n");
    let mark = |run: &str| {
        let short = text(&env.tidemill(&["status", "--pipeline", &env.pipeline]).stdout);
        let line = short.lines().find(|line| line.contains(&format!(" #{run} "))).unwrap().to_owned();
        let report = text(&env.tidemill(&["report", run]).stdout);
        let commit = report.lines().find(|line| line.starts_with("commit ")).unwrap().to_owned();
        (line.contains("+dirty"), commit.contains("+dirty"))
    };
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    fs::write(env.repo().join("new.txt"), "").unwrap();
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    assert_eq!((mark("1"), mark("2")), ((false, false), (true, true)));
}

#[test]
fn sources_without_a_repository_have_no_commit_in_records() {
    let env = TestEnv::new("name: plain\njobs:\n  j: { image: \"IMAGE\", script: [cat source.txt] }\n");
    let assert_none = || {
        assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
        let view = env.latest();
        assert!(view["commit"].is_null() && view["branch"].is_null(), "{view:#}");
        let report = text(&env.on_latest(&["report"]).stdout);
        assert!(report.contains("\ncommit      -\n") && !report.contains("\nmessage "), "{report}");
        assert!(env.log("j").contains("from the repository\n"));
    };
    let git_dir = env.repo().join(".git");
    fs::rename(&git_dir, env.dir.path().join("aside")).unwrap();
    assert_none();
    // A repository in which nothing is committed has a branch only.
    git(&env.repo(), &["init", "-q", "-b", "main"]);
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    assert!(env.latest()["commit"].is_null(), "{:#}", env.latest());
}

#[test]
fn items_of_a_script_have_their_times_and_exit_codes() {
    let env = TestEnv::new(
        "name: items\njobs:\n  j: { image: \"IMAGE\", script: [\"true\", sleep 1, \"false || true\", exit 7, echo never] }\n",
    );
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(1));
    let view = env.latest();
    let steps = job(&view, "j")["steps"].as_array().unwrap();
    let time = |index: usize| steps[index]["duration_ms"].as_u64().unwrap();
    let codes: Vec<_> = steps.iter().map(|step| step["exit_code"].as_i64()).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(0), Some(7)], "{view:#}");
    assert!((1000..60_000).contains(&time(1)), "{view:#}");
    assert!([0, 2, 3].iter().all(|index| time(*index) < time(1)), "{view:#}");
}

#[test]
fn init_proposes_an_image_of_the_engine_and_its_pipeline_runs() {
    let env = TestEnv::new("name: first\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n");
    fs::remove_dir_all(env.repo().join(".pipelines")).unwrap();
    let init = env.tidemill(&["init"]);
    let shown = text(&init.stdout);
    assert!(init.status.code() == Some(0) && shown.contains(": on this machine\n"), "{init:?}");
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}

#[test]
fn shell_completes_every_kind_of_value() {
    let env = TestEnv::new(
        "name: known\njobs:\n  unit: { image: \"IMAGE\", script: [\"true\"] }\n  lint: { image: \"IMAGE\", script: [\"true\"] }\n",
    );
    // The values that each shell's script gets from this program, without their descriptions.
    let complete = |shell: &str, words: &[&str]| {
        let mut command = env.command(&[&["--", "tidemill"], words].concat());
        command.env("TIDEMILL_COMPLETE", shell).env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
        let output = command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let separator = match shell {
            "zsh" => ':',
            _ => '\t',
        };
        let value =
            |line: &str| line.replace("\\:", "\u{0}").split(separator).next().unwrap().replace('\u{0}', ":");
        text(&output.stdout).lines().map(value).collect::<Vec<_>>()
    };
    assert!(complete("bash", &["logs", ""]).contains(&"unit".to_owned()), "without any record");
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let repo = env.repo().canonicalize().unwrap().to_string_lossy().into_owned();
    for shell in ["bash", "zsh", "fish"] {
        let logs = complete(shell, &["logs", ""]);
        for value in ["1", "unit", "lint"] {
            assert!(logs.contains(&value.to_owned()), "{shell}: {logs:?}");
        }
        assert!(complete(shell, &["status", ""]).contains(&"1".to_owned()), "{shell}");
        assert!(complete(shell, &["dead-letters", ""]).contains(&"1".to_owned()), "{shell}");
        let jobs = complete(shell, &["run", ""]);
        assert!(jobs.contains(&"unit".to_owned()) && jobs.contains(&"lint".to_owned()), "{shell}: {jobs:?}");
        assert_eq!(complete(shell, &["run", "--from", "u"]), ["unit"], "{shell}");
        assert_eq!(complete(shell, &["logs", "1", "l"]), ["lint"], "{shell}");
        let pipelines = complete(shell, &["status", "--pipeline", "known"]);
        assert_eq!(pipelines, std::slice::from_ref(&env.pipeline), "{shell}");
        assert_eq!(complete(shell, &["status", "--repo", "/"]), std::slice::from_ref(&repo), "{shell}");
        assert_eq!(complete(shell, &["token", "create", "--scope", "w"]), ["worker"], "{shell}");
        assert_eq!(complete(shell, &["status", "--profile", ""]), ["local"], "{shell}");
        let script = env.tidemill(&["completions", shell]);
        assert!(text(&script.stdout).contains("TIDEMILL_COMPLETE"), "{shell}: {script:?}");
    }
}

/// Returns the blocks of a page in this language, joined.
fn blocks(page: &str, language: &str) -> String {
    let start = format!("```{language}\n");
    page.split(&start).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn commands_of_the_monorepo_guide_run() {
    let page = crate::suite::example("../../docs/monorepo.md");
    let page = fs::read_to_string(page).unwrap();
    let env = TestEnv::new("name: unused\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let copy = env.dir.path().join("copy").display().to_string();
    let script = blocks(&page, "sh").replace("/tmp/monorepo", &copy).replace("8418", &port);
    let (set_up, run) = script.split_once("tidemill plan\n").unwrap();
    // The files with the image and the port of this test; and the server may need a moment.
    let files = format!(
        "cd {copy}\ngrep -rl . . | xargs sed -i 's|busybox|{}|; s|8418|{port}|'\n",
        crate::support::image()
    );
    let set_up = set_up.replacen(&format!("cd {copy}\n"), &files, 1);
    let wait =
        format!("until git ls-remote -q http://127.0.0.1:{port}/group/app.git >&2; do sleep 0.1; done\n");
    let script = format!(
        "set -e\nexport GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=T \
                          GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=t@example.invalid\n{set_up}{wait}\
                          tidemill plan\necho ---\n{run}"
    );
    let mut bash = std::process::Command::new("timeout");
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_tidemill")).parent().unwrap().display().to_string();
    bash.args(["-k", "5", "80", "bash", "-c", &script]).current_dir(crate::suite::example("../.."));
    bash.envs(env.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    bash.env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()));
    let output = bash.output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}\n{}", text(&output.stderr));
    let plan = blocks(&page, "text").replace("busybox", &crate::support::image());
    assert!(shown.starts_with(&format!("{plan}---\n")), "{shown}");
    for line in
        ["monorepo #1 succeeded", "services started services #1 success", "staging  available  monorepo #1"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(shown.contains("monorepo #2 succeeded"), "{shown}");
}

#[test]
fn logs_of_a_matrix_have_headings_and_a_missing_attempt_is_named() {
    let env = TestEnv::new(
        "name: logged\njobs:\n  unit: { image: IMAGE, script: ['echo \"on $OS\"'], matrix: { OS: [a, b] } }\n",
    );
    assert_eq!(env.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let logs = env.tidemill(&["logs", "unit"]);
    assert_eq!(logs.status.code(), Some(0), "{logs:?}");
    let shown = text(&logs.stdout);
    let lines: Vec<&str> =
        shown.lines().filter(|line| line.starts_with("==>") || line.starts_with("on ")).collect();
    assert_eq!(lines, ["==> unit [OS=a] <==", "on a", "==> unit [OS=b] <==", "on b"], "{shown}");
    let one = text(&env.tidemill(&["logs", "unit [OS=b]"]).stdout);
    assert!(one.contains("on b\n") && !one.contains("==>") && !one.contains("on a\n"), "{one}");
    let followed = text(&env.tidemill(&["logs", "unit", "--follow"]).stdout);
    assert!(followed.contains("unit [OS=a] | on a\n"), "{followed}");
    let missing = env.tidemill(&["logs", "unit [OS=a]", "--attempt", "9"]);
    let message = text(&missing.stderr);
    assert_eq!(missing.status.code(), Some(2), "{message}");
    assert!(message.contains("has no attempt 9: it ended with attempt 1"), "{message}");
    let none = env.tidemill(&["artifacts", "unit"]);
    assert!(none.status.code() == Some(0) && text(&none.stderr).contains("no artifacts"), "{none:?}");
}

#[test]
fn quiet_run_prints_the_reason_of_a_failure() {
    let env = TestEnv::new(
        "name: silent\njobs:\n  deploy: { image: IMAGE, secrets: [NOT_THERE], script: [\"true\"] }\n",
    );
    let run = env.tidemill(&["run", "--quiet"]);
    let message = text(&run.stderr);
    assert_eq!((run.status.code(), text(&run.stdout).as_str()), (Some(1), ""), "{message}");
    assert!(message.contains("deploy: failed") && message.contains("NOT_THERE"), "{message}");
}
