//! The engine decides how a job ended, whatever the job prints, and nothing of the job remains.

use super::{Bench, job, jobs_of_execution, kind};
use tidemill_core::execution::failure::FailureKind;

/// Obtains the nonce of the markers, and prints markers that could make the script seem to have ended.
const FORGED_MARKERS: &str = r#"N=$(sed -n 's/.*tm:\([0-9a-f]*\):.*/\1/p' /dev/shm/tidemill/environment)
for M in end:0: flush begin after step:0 step:1 step:4000000000; do
  printf '\036tm:%s:%s\036' "$N" "$M"
  printf '\036tm:%s:%s\036' "$N" "$M" >/proc/1/fd/1 || :
done
echo "nonce:${#N}""#;
/// Outlives the script, ignores signals, and keeps the output open.
const BACKGROUND_PROCESS: &str =
    "(trap '' TERM HUP INT; while :; do nc -l -p 4711 </dev/null || sleep 0.1; done) &";

#[tokio::test(flavor = "multi_thread")]
async fn forged_markers_have_no_effect() {
    let mut bench = Bench::start().await;
    let probe = "nc -w 2 127.0.0.1 4711 </dev/null && echo met || echo alone";
    let scripts: [&[&str]; 4] = [
        &[FORGED_MARKERS, BACKGROUND_PROCESS, "sleep 1", "exit 7"],
        &[FORGED_MARKERS, BACKGROUND_PROCESS, "trap 'exit 8' EXIT"],
        &[probe, FORGED_MARKERS, BACKGROUND_PROCESS, "exit 9"],
        &[probe],
    ];
    for (job, code) in jobs_of_execution(&bench, &scripts).into_iter().zip([7, 8, 9, 0]) {
        let (end, log) = bench.run(job).await;
        assert_eq!(end.exit_code, Some(code), "{log}");
        assert_eq!(kind(&end), (code != 0).then_some(FailureKind::ScriptFailed), "{log}");
        assert!(code == 0 || log.contains("nonce:32\n"), "the job obtained the nonce: {log}");
        assert!(!log.contains("met\n"), "a process of a job is reachable from the next job: {log}");
    }
    bench.server.upcoming.lock().unwrap().clear();
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_code_is_that_of_script() {
    let mut bench = Bench::start().await;
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 128", 128),
        ("exit 255", 255),
        ("not-a-command", 127),
        ("/dev/null", 126),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("exec sh -c 'exit 9'", 9),
        ("exec true", 0),
        ("exec >&- 2>&-; exit 5", 5),
        ("sleep 600 & exit 6", 6),
    ] {
        let (end, log) = bench.run(job(&[script])).await;
        let failure = (code != 0).then_some(FailureKind::ScriptFailed);
        assert_eq!((end.exit_code, kind(&end)), (Some(code), failure), "{script}: {log}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_container_exit_is_not_script_exit() {
    let mut bench = Bench::start().await;
    let next = job(&["true"]);
    *bench.server.upcoming.lock().unwrap() = vec![next.preparation.clone()];
    let mut first = job(&super::HELD);
    first.preparation.execution_id = next.preparation.execution_id;
    let held = bench.hold(first).await;
    // The standby container and its network holder.
    let standby = bench.until_running_beside(&held, 2).await;
    super::docker(&[&["kill"], &standby.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    bench.server.upcoming.lock().unwrap().clear();
    assert_eq!(kind(&bench.release(&held).await), None);
    assert_eq!(kind(&bench.run(next).await.0), Some(FailureKind::EngineFailed));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shown_command_begins_a_line_after_any_output() {
    let mut bench = Bench::start().await;
    let mut job = job(&["printf 'no end'", "printf '10%%\\r20%%\\r'", "echo end", "printf last"]);
    job.extras.after_script = vec!["printf after".into()];
    let (end, log) = bench.run(job).await;
    assert_eq!(end.exit_code, Some(0), "{log}");
    let expected = "$ printf 'no end'\nno end\n$ printf '10%%\\r20%%\\r'\n10%\r20%\r\n$ echo end\nend\n\
                    $ printf last\nlast\n$ printf after\nafter";
    assert_eq!(log, expected);
    bench.stop().await;
}
