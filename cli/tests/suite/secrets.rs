//! Secrets, on every backend: they reach jobs, and are masked everywhere else.

use crate::support::{Backend, TestEnv, failure_kind, finish, job, text, wait_until};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Runs a command with `input` on standard input.
fn with_input(env: &TestEnv, args: &[&str], input: &str) -> Output {
    let mut command = env.command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish(child)
}

const PASSWORD: &str = "correct-horse/battery staple+";
const KEY: &str = "-----BEGIN OF A KEY-----\nline-two-of-the-key\nthe/third+line=of it\n";
/// Substrings of the secrets in plain text and encoded: base64 at each of the three offsets, URL-encoded, hex, and JSON. They omit
/// the characters that depend on adjacent text.
const ENCODED_FORMS: [&str; 12] = [
    PASSWORD,
    "correct-horse/battery",
    "Y29ycmVjdC1ob3JzZS9iYXR0ZXJ5IHN0YXBsZS",
    "NvcnJlY3QtaG9yc2UvYmF0dGVyeSBzdGFwbGUr",
    "jb3JyZWN0LWhvcnNlL2JhdHRlcnkgc3RhcGxlK",
    "correct-horse%2Fbattery",
    "636f72726563742d686f7273652f",
    "correct-horse\\/battery",
    "BEGIN OF A KEY",
    "line-two-of-the-key",
    "the/third+line=of it",
    "bGluZS10d28tb2YtdGhlLWtle",
];

/// The sink replies to every connection, and `nc` exits at the reply. Therefore `nc` sends a complete file, not a pipe that is still
/// being filled.
const LEAKING_PIPELINE: &str = r#"
name: leaky
stages: [a]
defaults: { image: "IMAGE" }
jobs:
  prints:
    stage: a
    secrets: [PASSWORD, KEY, { name: PASSWORD, variable: PASSWORD_FILE, file: true }]
    services:
      - image: "IMAGE"
        alias: sink
        entrypoint: [sh, -c]
        command: ["while :; do printf ok | nc -l -p 5432; done"]
        health: { port: 5432 }
    script:
      - echo "$PASSWORD"
      - printf '%s/' "${PASSWORD%%/*}"; sleep 1; printf '%s\n' "${PASSWORD#*/}"
      - printf '%s' "$PASSWORD" | base64
      - printf 'a%s' "$PASSWORD" | base64
      - printf 'ab%s' "$PASSWORD" | base64; printf '%s' "$KEY" | base64
      - printf 'https://x/?p=%s\n' "$(printf '%s' "$PASSWORD" | sed 's|/|%2F|; s| |%20|; s|+|%2B|')"
      - printf '%s' "$PASSWORD" | od -An -v -tx1 | tr -d ' \n'; echo
      - printf '{"p":"%s"}\n' "$(printf '%s' "$PASSWORD" | sed 's|/|\\/|')"
      - cat "$PASSWORD_FILE" && env | grep PASSWORD && set -x && true "$PASSWORD"; set +x
      - printf '%s\n' "$KEY" | while IFS= read -r line; do echo "> $line"; sleep 0.1; done
      - echo "$PASSWORD" >&2; ls "$PASSWORD" || true
      - echo "got $PASSWORD" >/tmp/got; until [ "$(nc sink 5432 </tmp/got)" = ok ]; do sleep 0.1; done
      - echo all printed
      - while [ ! -e /tmp/go ]; do sleep 0.1; done
      - '"$PASSWORD"'
    after_script: ['echo "after: $KEY"']
  gets-none:
    stage: a
    script: ['test -z "$PASSWORD$KEY"']
"#;

pub fn secret_printed_in_ten_encodings_is_masked_everywhere(on: &Backend) {
    let mut env = on.test_env_with_logs(LEAKING_PIPELINE);
    let set = with_input(&env, &["secret", "set", "PASSWORD"], &format!("{PASSWORD}\n"));
    assert_eq!(set.status.code(), Some(0), "{set:?}");
    let key_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(key_file.path(), KEY).unwrap();
    let set_key = env.tidemill(&["secret", "set", "KEY", "--value-file", key_file.path().to_str().unwrap()]);
    assert_eq!(set_key.status.code(), Some(0), "{set_key:?}");
    let listed = env.tidemill(&["secret", "list"]);
    assert!(
        text(&listed.stdout).starts_with("KEY ") && text(&listed.stdout).contains("\nPASSWORD "),
        "{listed:?}"
    );

    // Write to files: nothing would drain pipes while the test waits.
    let file = |name: &str| fs::File::create(env.dir.path().join(name)).unwrap();
    let mut run = env.command(&["run"]);
    let run = run.stdin(Stdio::null()).stdout(file("run.out")).stderr(file("run.log")).spawn().unwrap();
    env.wait_for("all printed", |_| env.log("prints").contains("\nall printed\n"));
    let engine = engine_output(&env);
    let released = wait_until(|| {
        for container in env.containers() {
            let _ = docker(&["exec", &container, "touch", "/tmp/go"]);
        }
        env.log("prints").contains("after: ")
    });
    assert!(released.is_ok(), "{}", env.log("prints"));
    let run = finish(run);
    assert_eq!(run.status.code(), Some(1), "the last command does not exist: {run:?}");

    let view = env.latest();
    assert_eq!(
        (failure_kind(&view, "prints").as_str(), job(&view, "gets-none")["status"].as_str()),
        ("script_failed", Some("SUCCESS"))
    );
    let log = env.log("prints");
    assert!(log.matches("[masked]").count() >= 18, "{log}");
    for shown in [
        "https://x/?p=[masked]\n",
        "{\"p\":\"[masked]\"}\n",
        "> [masked]\n",
        "got [masked]\n",
        "after: [masked]",
    ] {
        assert!(log.contains(shown), "{shown} in {log}");
    }
    let on_latest = |args: &[&str]| format!("{:?}", env.on_latest(args));
    let outputs = [
        ("secret set", format!("{set:?} {set_key:?}")),
        ("secret list", format!("{listed:?} {:?}", env.tidemill(&["secret", "list", "--format", "json"]))),
        ("logs", log),
        ("status", view.to_string()),
        ("report", on_latest(&["report", "--format", "json"])),
        ("artifacts", on_latest(&["artifacts"])),
        ("audit", format!("{:?}", env.tidemill(&["audit", "--format", "json"]))),
        ("the engine", engine),
    ];
    for (source, text) in &outputs {
        if let Some(form) = ENCODED_FORMS.iter().find(|form| text.contains(**form)) {
            panic!("{source} contains {form}: {text}");
        }
    }
    let removed = env.tidemill(&["secret", "remove", "PASSWORD"]);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    env.wait_until_clean();

    // Search all files on this machine: records, logs, objects, the worker's directories, and process output.
    let mut files = Vec::new();
    collect_files(env.dir.path(), &mut files);
    let logs = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "log"));
    let log_bytes: u64 = logs.map(|log| fs::metadata(log).unwrap().len()).sum();
    assert!(log_bytes > 10_000, "trace logging is on: {log_bytes} bytes");
    for file in files {
        let Ok(bytes) = fs::read(&file) else { continue };
        for form in ENCODED_FORMS {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{form} in {}", file.display());
        }
    }
}

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).output().unwrap()
}

/// Returns the output of `docker inspect`, `docker logs` and `docker top` for the running containers.
fn engine_output(env: &TestEnv) -> String {
    let containers = env.containers();
    let (mut output, mut inspected_count) = (String::new(), 0);
    for container in &containers {
        let inspected = docker(&["inspect", container]);
        // The other job's container may have been removed.
        if text(&inspected.stderr).contains("No such object") {
            continue;
        }
        assert!(inspected.status.success(), "{inspected:?}");
        inspected_count += 1;
        for result in [inspected, docker(&["logs", container]), docker(&["top", container, "-o", "pid,args"])]
        {
            output += &text(&result.stdout);
            output += &text(&result.stderr);
        }
    }
    assert!(inspected_count >= 2, "a job and its service: {containers:?}");
    output
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

pub fn missing_secret_error_names_the_command_that_sets_it(on: &Backend) {
    let env = on.test_env(
        "name: unset\nstages: [a]\njobs:\n  uses: { stage: a, image: \"IMAGE\", script: [\"true\"], secrets: [NOT_THERE] }\n",
    );
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = env.latest();
    assert_eq!(failure_kind(&view, "uses"), "secret_unavailable");
    let message = job(&view, "uses")["failure_reason"]["message"].as_str().unwrap();
    assert!(message.contains("tidemill secret set NOT_THERE"), "{message}");
}
