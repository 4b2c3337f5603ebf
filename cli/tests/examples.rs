//! Runs every example of every help text, as a user would paste it. Names of other machines, directories of this one, ids and run
//! numbers are replaced by those of the test.

use crate::support::{TestEnv, json, serve, stop, text};
use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Time after which a command that does not end by itself is stopped.
const LONG_RUNNING: Duration = Duration::from_secs(4);

const PIPELINE: &str = r#"
name: ci
stages: [build, test, deploy]
defaults: { image: "IMAGE" }
jobs:
  compile: { stage: build, script: [echo made > app], artifacts: { paths: [app] }, environment: production }
  unit: { stage: test, script: ['test -z "$BROKEN"'] }
  deploy: { stage: deploy, script: ["true"], when: manual, allow_failure: true }
"#;

/// Returns a help text without wrapped lines.
fn help(env: &TestEnv, args: &[&str]) -> Vec<u8> {
    env.command(args).env("COLUMNS", "1000").output().unwrap().stdout
}

/// Returns the examples of all help texts.
fn examples(env: &TestEnv) -> Vec<String> {
    let lines = |output: Vec<u8>, heading: &str| -> Vec<String> {
        let help = text(&output);
        let section = help.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
        section.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
    };
    let commands = lines(help(env, &["--help"]), "Commands:");
    let names = commands.iter().filter_map(|line| line.split_whitespace().next());
    let mut all = Vec::new();
    for name in names.filter(|name| *name != "help") {
        let found = lines(help(env, &[name, "--help"]), "Example");
        assert!(!found.is_empty(), "{name} has no example");
        all.extend(found);
    }
    all
}

fn spawn(env: &TestEnv, script: &str, token: &str) -> Child {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tidemill"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(env.repo()).env("PATH", path);
    command.env("TIDEMILL_DATA_DIR", &env.data).env("TIDEMILL_CONFIG", env.dir.path().join("config.toml"));
    for name in ["TIDEMILL_SERVER", "TIDEMILL_TOKEN", "TIDEMILL_PROFILE"] {
        command.env_remove(name);
    }
    if script.contains("--server") || script.contains("tidemill open") {
        command.env("TIDEMILL_TOKEN", token);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn every_example_of_every_help_text_runs() {
    let mut env = TestEnv::new(PIPELINE);
    let server_data = env.dir.path().join("server");
    let (server, url) = serve(&env, &server_data, "0");
    let token = fs::read_to_string(server_data.join("token")).unwrap().trim().to_owned();
    let repo = env.repo();
    for (name, content) in [
        ("token", token.as_str()),
        ("key.pem", "key"),
        ("hook", "a webhook secret of some length"),
        ("password", "secret"),
    ] {
        fs::write(repo.join(name), content).unwrap();
    }
    fs::write(repo.join(".gitlab-ci.yml"), "unit:\n  image: busybox\n  script: [\"true\"]\n").unwrap();
    fs::create_dir(repo.join("ci")).unwrap();
    fs::copy(repo.join(".gitlab-ci.yml"), repo.join("ci/.gitlab-ci.yml")).unwrap();
    for copy in ["a.yml", "b.yml", "ci.yml"] {
        fs::copy(repo.join(".pipelines/ci.yml"), repo.join(copy)).unwrap();
    }
    let broken = env.tidemill(&["run", "--quiet", "-e", "BROKEN=1"]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let id = env.latest()["execution"]["id"].as_str().unwrap().to_owned();
    let created = env.tidemill(&["token", "create", "--name", "old", "--scope", "read", "--format", "json"]);
    let token_id = json(&created)["view"]["id"].as_str().unwrap().to_owned();

    for example in examples(&env) {
        let nil = "01980000-0000-7000-8000-000000000000";
        let script = example
            .replace("https://ci.example.org:7600", &url)
            .replace("https://ci.example.org", &url)
            .replace("https://example.org/app.git", &repo.to_string_lossy())
            .replace("TIDEMILL_TOKEN=...", "")
            .replace("0.0.0.0:7600", "127.0.0.1:0")
            .replace("127.0.0.1:7600", "127.0.0.1:0")
            .replace("/mnt/", &format!("{}/mnt/", env.dir.path().display()))
            .replace("/var/lib/tidemill", &env.dir.path().join("var").to_string_lossy())
            .replace("--pipeline ci", &format!("--pipeline {}", env.pipeline))
            .replace(nil, if example.contains("token revoke") { &token_id } else { &id });
        let words: Vec<&str> = script.split(' ').map(|word| if word == "12" { "1" } else { word }).collect();
        let script = words.join(" ");
        let script = match script.as_str() {
            "tidemill server" => format!("{script} --listen 127.0.0.1:0"),
            login if login.starts_with("tidemill login") && !login.contains('<') => {
                format!("{login} < token")
            }
            _ => script,
        };
        // The starter and the imported file exist only for their own examples.
        let is_new_file =
            ["tidemill init", "tidemill import"].iter().any(|command| example.starts_with(command));
        let original = fs::read(repo.join(".pipelines/ci.yml")).unwrap();
        if is_new_file {
            fs::remove_file(repo.join(".pipelines/ci.yml")).unwrap();
        }
        let mut child = spawn(&env, &script, &token);
        let (start, mut is_stopped) = (Instant::now(), false);
        let is_server =
            ["server", "worker", "watch"].iter().any(|word| example.contains(&format!("tidemill {word}")));
        while child.try_wait().unwrap().is_none() && start.elapsed() < crate::support::TIMEOUT {
            if is_server && !is_stopped && start.elapsed() > LONG_RUNNING {
                // A second signal would end it at once.
                is_stopped = true;
                let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = crate::support::finish(child);
        if is_new_file {
            for entry in fs::read_dir(repo.join(".pipelines")).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            fs::write(repo.join(".pipelines/ci.yml"), original).unwrap();
        }
        let stderr = text(&output.stderr);
        let is_usage_error = stderr.contains("error: ") && stderr.contains("--help");
        assert!(!is_usage_error, "{script}: {stderr}");
        assert!(
            is_expected(&example, output.status.code(), &stderr),
            "$ {script}\n{}{stderr}exit code {:?}",
            text(&output.stdout),
            output.status.code()
        );
    }
    stop(server);
    env.wait_until_clean();
}

/// Returns whether an example ended as it should in the environment of the test.
fn is_expected(example: &str, code: Option<i32>, stderr: &str) -> bool {
    let is = |command: &str| example.contains(&format!("tidemill {command}"));
    if is("deploy") || is("destroy") || example.contains("--queue") || example.contains("s3://") {
        // These need AWS, and a build that supports it.
        return matches!(code, Some(2 | 3));
    }
    if example.contains("--tls-cert") {
        return stderr.contains("ci.pem");
    }
    if is("open") {
        return code == Some(2) && stderr.contains("have no page without a server");
    }
    if ["debug", "cp", "forward"].into_iter().any(is) {
        return code == Some(2) && stderr.contains("a job of a server");
    }
    if is("workers") {
        return code == Some(2) && stderr.contains("only a server has workers");
    }
    if is("badge") && !is("badge --revoke") {
        return code == Some(2) && stderr.contains("a badge needs a server");
    }
    if example.contains("--browser") {
        return code == Some(2) && stderr.contains("has no way to sign in with a browser");
    }
    if is("sessions revoke") || is("roles remove") {
        return code == Some(2) && (stderr.contains("no such session") || stderr.contains("no rule gives"));
    }
    if ["retry", "watch", "approve", "repo sync", "repo run", "environments rollback"].into_iter().any(is) {
        // The first execution failed, and fails again; the newest has nothing to retry; the default branch is unknown.
        return matches!(code, Some(0..=2));
    }
    if is("server") || is("worker") {
        return matches!(code, Some(0) | None);
    }
    code == Some(0)
}
