//! Invariant 12: a job's outcome is the same on every backend, and the same as that of a plain shell in its image.

use crate::support::{Backend, image, job, text};
use serde_json::json;
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

/// Scripts that a shell could take otherwise if their items were run one by one.
const SCRIPTS: [(&str, &[&str]); 11] = [
    ("list", &["[ a = b ] && echo never", "echo still here", "! true", "X=$?", "echo $X"]),
    ("exit", &["trap 'echo bye $?' EXIT", "echo before", "exit 7", "echo never"]),
    (
        "compound",
        &["if true; then", "echo in", "else", "echo out", "fi", "for i in 1 2; do", "echo $i", "done"],
    ),
    ("document", &["cat <<END", "a $PWD", "$(echo b) )", "END", "echo after"]),
    ("function", &["f() {", "echo \"in f: $1\"", "return 4", "}", "f x || echo \"f: $?\"", "f y"]),
    ("options", &["set +e", "false", "echo \"$?\"", "set -eu", "echo \"$-\"", "echo $UNSET"]),
    (
        "continued",
        &["true &&", "echo a \\", "b", "case a in", "a) echo 1;;", "esac", "(exit 3)", "echo never"],
    ),
    (
        "variables",
        &[
            "X=1; cd /tmp",
            "export Y=\"it's $X\"",
            "env | grep ^Y=",
            "echo \"$PWD $X\"",
            "set -- p q",
            "echo $#",
        ],
    ),
    ("syntax", &["echo before", "if true; then", "echo never"]),
    ("missing", &["echo before", "no_such_command", "echo never"]),
    ("replaced", &["exec 2>&1", "exec sh -c 'echo replaced; exit 9'"]),
];

/// The exit code and the output of the text in a file, by `sh -e` in a container.
fn run_plainly(script: &[&str]) -> (i64, String) {
    let run = "mkdir -p /dev/shm/tidemill; cat >/dev/shm/tidemill/script; sh -e /dev/shm/tidemill/script </dev/null; code=$?; \
               cat /workspace/out.txt; exit $code";
    let mut process = Command::new("docker")
        .args(["run", "--rm", "-i", "-w", "/workspace", &image(), "sh", "-c", run])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all((script.join("\n") + "\n").as_bytes()).unwrap();
    let done = process.wait_with_output().unwrap();
    (done.status.code().unwrap().into(), text(&done.stdout))
}

pub fn scripts_end_and_print_as_a_shell_of_their_image_runs_them(on: &Backend) {
    let with_output = |items: &[&'static str]| [&["exec >out.txt 2>&1"][..], items].concat();
    let mut pipeline = "name: plain\ndefaults: { image: \"IMAGE\" }\njobs:\n".to_owned();
    for (name, items) in SCRIPTS {
        let script = json!(with_output(items));
        let _ = writeln!(
            pipeline,
            "  {name}: {{ script: {script}, artifacts: {{ paths: [out.txt], when: always }} }}"
        );
    }
    let env = on.test_env(&pipeline);
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = env.latest();
    for (name, items) in SCRIPTS {
        let (code, output) = run_plainly(&with_output(items));
        let directory = env.dir.path().join("out").join(name);
        let fetched = env.on_latest(&["artifacts", name, "--output", directory.to_str().unwrap()]);
        assert_eq!(fetched.status.code(), Some(0), "{name}: {fetched:?} {view:#}");
        let printed = fs::read_to_string(directory.join("out.txt")).unwrap();
        assert_eq!((job(&view, name)["exit_code"].as_i64(), printed), (Some(code), output), "{name}");
    }
}
