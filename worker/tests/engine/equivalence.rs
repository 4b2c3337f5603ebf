//! Invariant 12: a job's script does what its text in a file of the image's shell does.

use super::harness::{Bench, job};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};
use tidemill_core::execution::assignment::{Artifacts, ArtifactsWhen};

/// Scripts that are compared.
const SCRIPTS: usize = 16;

/// The first items: all output goes to a file, and what the shell knows at the end is written there, too.
const FIRST: [&str; 2] = [
    "exec >out.txt 2>&1",
    "trap 'echo \"end $? $- $# ${X-none} ${Y-none} ${Z-none} $PWD\"; trap; export -p | grep \"^export [XYZ]=\" || :' EXIT",
];

fn item() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "X=1",
        "X=$((${X:-0} + 1))",
        "export Y=\"it's $X\"",
        "Z='a b'",
        "cd /tmp",
        "set -- p q",
        "echo \"$X $? $#\"",
        "false",
        "true",
        "! true",
        "[ \"${X-}\" = 2 ] && echo two",
        "false || echo or",
        "(exit 3)",
        "if [ \"${X-}\" = 1 ]; then",
        "else",
        "fi",
        "for i in a b; do",
        "echo $i",
        "done",
        "case ${X-} in",
        "1) echo one;;",
        "*) echo other;;",
        "esac",
        "cat <<END",
        "text $X",
        "END",
        "echo a &&",
        "echo c \\",
        "{",
        "}",
        "f() { echo in f; return 4; }",
        "f",
        "f || echo $?",
        "set +e",
        "set -e",
        "set -u",
        "echo $UNSET",
        "no_such_command",
        "exit 5",
        "'",
        "\"",
        "$(",
        ")",
        "unset X",
        "true | false",
        "false | true",
        "echo `echo q`",
        "trap 'echo usr' USR1; kill -USR1 $$",
        "",
    ])
}

/// What the shell of the image does with a file that has this text: exit code and output.
fn run_as_file(image: &str, script: &[&str]) -> (i32, String) {
    let run = "mkdir -p /dev/shm/tidemill; cat >/dev/shm/tidemill/script; sh -e -o pipefail /dev/shm/tidemill/script \
               </dev/null; code=$?; cat /workspace/out.txt; exit $code";
    let mut process = Command::new("docker")
        .args(["run", "--rm", "-i", "-w", "/workspace", image, "sh", "-c", run])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all((script.join("\n") + "\n").as_bytes()).unwrap();
    let done = process.wait_with_output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn script_of_a_job_is_its_text_in_a_file_of_the_shell_of_its_image() {
    let mut bench = Bench::start().await;
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..SCRIPTS {
        let items = prop::collection::vec(item(), 1..9).new_tree(&mut runner).unwrap().current();
        let script = [&FIRST[..], &items[..]].concat();
        let mut assignment = job(&script);
        let image = assignment.preparation.image.clone();
        assignment.artifacts = Some(Artifacts {
            paths: vec!["out.txt".into()],
            when: ArtifactsWhen::Always,
            ..Artifacts::default()
        });
        let (end, log) = bench.run(assignment).await;
        let bytes = std::mem::take(&mut *bench.server.artifact.lock().unwrap());
        let mut output = String::new();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entries = archive.entries().unwrap();
        entries.next().unwrap().unwrap().read_to_string(&mut output).unwrap();
        let expected = run_as_file(&image, &script);
        assert_eq!((end.exit_code, output), (Some(expected.0), expected.1), "{script:?}: {log}");
    }
    bench.stop().await;
}
