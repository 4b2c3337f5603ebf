//! Secrets, on every backend: set, given, and found nowhere.

use crate::support::{Backend, Place, finish, job, kind, text, wait_until};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Runs a command with this on its standard input.
fn with_input(place: &Place, words: &[&str], input: &str) -> Output {
    let mut command = place.command(words);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish(child)
}

const PASSWORD: &str = "correct-horse/battery staple+";
const KEY: &str = "-----BEGIN OF A KEY-----\nline-two-of-the-key\nthe/third+line=of it\n";
/// The secrets, and their forms, each without what depends on its neighbours: base64 at each of three places, URL-encoded, hex, JSON.
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

/// The sink answers whoever connects, and `nc` ends with that answer: what it is to send must be there by then, in a file and not in
/// a pipe that is still to be filled.
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
      - echo all is said
      - while [ ! -e /tmp/go ]; do sleep 0.1; done
      - '"$PASSWORD"'
    after_script: ['echo "after: $KEY"']
  gets-none:
    stage: a
    script: ['test -z "$PASSWORD$KEY"']
"#;

pub fn secret_printed_in_ten_encodings_is_masked_everywhere(on: &Backend) {
    let mut place = on.talkative_place(LEAKING_PIPELINE);
    let set = with_input(&place, &["secret", "set", "PASSWORD"], &format!("{PASSWORD}\n"));
    assert_eq!(set.status.code(), Some(0), "{set:?}");
    let key_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(key_file.path(), KEY).unwrap();
    let set_key = place.tidemill(&["secret", "set", "KEY", "--file", key_file.path().to_str().unwrap()]);
    assert_eq!(set_key.status.code(), Some(0), "{set_key:?}");
    let listed = place.tidemill(&["secret", "list"]);
    assert!(
        text(&listed.stdout).starts_with("KEY ") && text(&listed.stdout).contains("\nPASSWORD "),
        "{listed:?}"
    );

    // Not into pipes, which nobody empties meanwhile.
    let file = |name: &str| fs::File::create(place.dir.path().join(name)).unwrap();
    let mut run = place.command(&["run"]);
    let run = run.stdin(Stdio::null()).stdout(file("run.out")).stderr(file("run.log")).spawn().unwrap();
    place.wait_for("all is said", |_| place.log("prints").contains("\nall is said\n"));
    let engine = what_the_engine_says(&place);
    let released = wait_until(|| {
        for container in place.containers() {
            let _ = docker(&["exec", &container, "touch", "/tmp/go"]);
        }
        place.log("prints").contains("after: ")
    });
    assert!(released.is_ok(), "{}", place.log("prints"));
    let run = finish(run);
    assert_eq!(run.status.code(), Some(1), "the last command is none: {run:?}");

    let view = place.latest();
    assert_eq!(
        (kind(&view, "prints").as_str(), job(&view, "gets-none")["status"].as_str()),
        ("script_failed", Some("SUCCESS"))
    );
    let log = place.log("prints");
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
    let of_latest = |words: &[&str]| format!("{:?}", place.of_latest(words));
    let said = [
        ("secret set", format!("{set:?} {set_key:?}")),
        ("secret list", format!("{listed:?} {:?}", place.tidemill(&["secret", "list", "--json"]))),
        ("logs", log),
        ("status", view.to_string()),
        ("report", of_latest(&["report", "--format", "json"])),
        ("artifacts", of_latest(&["artifacts"])),
        ("audit", format!("{:?}", place.tidemill(&["audit", "--json"]))),
        ("the engine", engine),
    ];
    for (what, text) in &said {
        if let Some(form) = ENCODED_FORMS.iter().find(|form| text.contains(**form)) {
            panic!("{what} says {form}: {text}");
        }
    }
    let removed = place.tidemill(&["secret", "remove", "PASSWORD"]);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    place.wait_until_clean();

    // Everything that is left of it on this machine: records, logs, objects, the worker's directories, what the processes said.
    let mut files = Vec::new();
    collect(place.dir.path(), &mut files);
    let logs = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "log"));
    let said: u64 = logs.map(|log| fs::metadata(log).unwrap().len()).sum();
    assert!(said > 10_000, "they say all that they can: {said} bytes");
    for file in files {
        let Ok(bytes) = fs::read(&file) else { continue };
        for form in ENCODED_FORMS {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{form} in {}", file.display());
        }
    }
}

fn docker(words: &[&str]) -> Output {
    Command::new("docker").args(words).output().unwrap()
}

/// All that the engine shows of the containers while they run, and the commands of the processes in them.
fn what_the_engine_says(place: &Place) -> String {
    let containers = place.containers();
    let (mut said, mut seen) = (String::new(), 0);
    for container in &containers {
        let inspected = docker(&["inspect", container]);
        // The other job's may be removed by now.
        if text(&inspected.stderr).contains("No such object") {
            continue;
        }
        assert!(inspected.status.success(), "{inspected:?}");
        seen += 1;
        for output in [inspected, docker(&["logs", container]), docker(&["top", container, "-o", "pid,args"])]
        {
            said += &text(&output.stdout);
            said += &text(&output.stderr);
        }
    }
    assert!(seen >= 2, "a job and its service: {containers:?}");
    said
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

pub fn missing_secret_error_names_the_command_that_sets_it(on: &Backend) {
    let place = on.place(
        "name: unset\nstages: [a]\njobs:\n  uses: { stage: a, image: \"IMAGE\", script: [\"true\"], secrets: [NOT_THERE] }\n",
    );
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = place.latest();
    assert_eq!(kind(&view, "uses"), "secret_unavailable");
    let words = job(&view, "uses")["failure_reason"]["message"].as_str().unwrap();
    assert!(words.contains("tidemill secret set NOT_THERE"), "{words}");
}
