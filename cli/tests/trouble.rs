//! What must not happen: a run that hangs, or a log byte that is lost, when something breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use support::{Place, STUBBORN, finish, is_over, job, signal, text};

const TWO: &str = r#"
name: two
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  slow: { stage: a, script: ["echo begun", "sleep 3", "echo done"] }
  after: { stage: b, script: ["true"] }
"#;

fn kind(view: &Value, name: &str) -> String {
    job(view, name)["failure_reason"]["kind"].as_str().unwrap_or_default().to_owned()
}

/// A server on the place's data directory, once it answers; and its address.
fn server(place: &Place, workers: &str) -> (Child, String) {
    let mut server = place
        .command(&["server", "--listen", "127.0.0.1:0", "--workers", workers])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    (server, url.trim_end_matches(',').to_owned())
}

fn stop(mut server: Child) {
    signal(&server, "TERM");
    drop(server.stdout.take());
    let ended = finish(server);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

fn begun(place: &Place) {
    place.wait_for("the slow job prints", |view| {
        job(view, "slow")["log_bytes"].as_u64().unwrap() > 0
            && text(&place.tidemill(&["logs", "--job", "slow"]).stdout).contains("begun\n")
    });
}

#[test]
fn a_missing_image_fails_the_job_in_words() {
    let place = Place::new(
        "name: i\nstages: [a]\njobs:\n  j: { stage: a, image: \"127.0.0.1:1/no/such:image\", script: [x] }\n",
    );
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = place.latest();
    assert_eq!(kind(&view, "j"), "image_unavailable", "{view:#}");
    let words = job(&view, "j")["failure_reason"]["message"].as_str().unwrap();
    assert!(words.contains("127.0.0.1:1/no/such:image"), "{words}");
}

#[test]
fn a_script_that_ignores_its_time_out_is_killed() {
    let place = Place::new(
        r#"
name: deaf
stages: [a]
jobs:
  j: { stage: a, image: "IMAGE", timeout: 1s, script: ["trap '' TERM", "while true; do sleep 1; done"] }
"#,
    );
    assert_eq!(place.tidemill(&["run"]).status.code(), Some(1));
    assert_eq!(kind(&place.latest(), "j"), "timed_out");
    place.wait_until_clean();
}

#[test]
fn a_job_that_uses_too_much_memory_says_so() {
    let place = Place::new(
        r#"
name: greedy
stages: [a]
jobs:
  j:
    stage: a
    image: "IMAGE"
    resources: { memory: 32Mi }
    script: ["head -c 300000000 /dev/zero | tail -c 250000000 | wc -c"]
"#,
    );
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(kind(&place.latest(), "j"), "out_of_memory", "{:#}", place.latest());
}

#[test]
fn a_server_finishes_what_a_killed_run_began() {
    let place = Place::new(TWO);
    let run = place.spawn(&["run"]);
    begun(&place);
    signal(&run, "KILL");
    drop(finish(run));
    let (server, _) = server(&place, "2");
    let view = place.wait_for("the execution ends", is_over);
    assert_eq!(view["execution"]["status"], "SUCCESS", "{view:#}");
    assert_eq!(job(&view, "slow")["attempt"], 2);
    // The first attempt's output is kept beside the second's.
    let first = place.tidemill(&["logs", "--job", "slow", "--attempt", "1"]);
    assert!(text(&first.stdout).contains("begun\n"), "{first:?}");
    stop(server);
    place.wait_until_clean();
}

#[test]
fn a_killed_server_that_starts_again_finishes_what_was_under_way() {
    let place = Place::new(TWO);
    let (mut first, url) = server(&place, "2");
    let token = std::fs::read_to_string(place.data.join("token")).unwrap();
    let client = place.spawn(&["--server", &url, "--token", &token, "run"]);
    begun(&place);
    signal(&first, "KILL");
    first.wait().unwrap();
    let port = url.rsplit(':').next().unwrap();
    let again = place
        .command(&["server", "--listen", &format!("127.0.0.1:{port}"), "--workers", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The client finds the server again and sees the end.
    let client = finish(client);
    assert_eq!(client.status.code(), Some(0), "{client:?}");
    stop(again);
}

#[test]
fn a_killed_worker_costs_an_attempt_and_no_byte_that_was_shown() {
    let place = Place::new(TWO);
    let (server, url) = server(&place, "0");
    let token = std::fs::read_to_string(place.data.join("token")).unwrap();
    let worker = |name: &str| {
        let mut command = place.command(&["--server", &url, "--token", &token, "worker", "--name", name]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = worker("first");
    let client = place.spawn(&["--server", &url, "--token", &token, "run"]);
    begun(&place);
    let shown = place.tidemill(&["logs", "--job", "slow"]).stdout;
    signal(&first, "KILL");
    first.wait().unwrap();
    let second = worker("second");
    let client = finish(client);
    assert_eq!(client.status.code(), Some(0), "{client:?}");
    let view = place.latest();
    assert_eq!(job(&view, "slow")["attempts"][0]["failure"]["kind"], "worker_lost", "{view:#}");
    let kept = place.tidemill(&["logs", "--job", "slow", "--attempt", "1"]).stdout;
    assert!(kept.starts_with(&shown), "{} / {}", text(&kept), text(&shown));
    stop(second);
    stop(server);
}

/// A way to the engine that can be cut.
struct Cable {
    path: String,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Cable {
    fn lay(place: &Place) -> Self {
        let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let engine = host.strip_prefix("unix://").expect("the tests' engine is on a socket").to_owned();
        let path = place.dir.path().join("engine.sock").to_string_lossy().into_owned();
        let listener = UnixListener::bind(&path).unwrap();
        let cable = Self { path, cut: Arc::default(), streams: Arc::default() };
        let (cut, streams) = (cable.cut.clone(), cable.streams.clone());
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let Ok(to) = UnixStream::connect(&engine) else { continue };
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let ends = [from.try_clone().unwrap(), to.try_clone().unwrap()];
                streams.lock().unwrap().extend(ends);
                let (mut from_read, mut to_write) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let (mut to_read, mut from_write) = (to, from);
                thread::spawn(move || copy(&mut from_read, &mut to_write));
                thread::spawn(move || copy(&mut to_read, &mut from_write));
            }
        });
        cable
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn copy(from: &mut UnixStream, to: &mut UnixStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn an_engine_that_goes_away_fails_the_job_in_words() {
    let place = Place::new(&TWO.replace("sleep 3", "sleep 600"));
    let cable = Cable::lay(&place);
    let run = place
        .command(&["run"])
        .env("DOCKER_HOST", format!("unix://{}", cable.path))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    begun(&place);
    cable.cut();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = place.latest();
    assert_eq!(kind(&view, "slow"), "engine_failed", "{view:#}");
    assert!(text(&place.tidemill(&["logs", "--job", "slow", "--attempt", "1"]).stdout).contains("begun\n"));
}

#[test]
fn without_an_engine_a_run_ends_with_3_and_says_what_to_do() {
    let place = Place::new(TWO);
    let run = place.command(&["run"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    assert!(text(&run.stderr).contains("engine"), "{run:?}");
    assert_eq!(place.latest(), Value::Null, "nothing was begun");
}

/// A small file system of its own.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_the_job_in_words() {
    let place = Place::new(
        r#"
name: chatty
stages: [a]
jobs:
  j: { stage: a, image: "IMAGE", script: ["head -c 60000000 /dev/urandom | od -x"] }
"#,
    );
    // Only the logs' directory is small: records, like a worker's reports, must still be kept.
    let logs = place.data.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&logs)
        .status()
        .is_ok_and(|status| status.success());
    assert!(mounted, "this test mounts a small tmpfs: run it as root, as CI does");
    let _small = Small(logs);
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(kind(&place.latest(), "j"), "disk_full", "{:#}", place.latest());
}

#[test]
fn a_disk_that_is_full_for_the_records_too_ends_the_execution_in_words() {
    let place = Place::new(
        r#"
name: chatty
stages: [a, b]
jobs:
  j: { stage: a, image: "IMAGE", script: ["head -c 60000000 /dev/urandom | od -x"] }
  k: { stage: a, image: "IMAGE", script: ["head -c 60000000 /dev/urandom | od -x"] }
  after: { stage: b, image: "IMAGE", script: ["true"] }
"#,
    );
    std::fs::create_dir_all(&place.data).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(&place.data)
        .status()
        .is_ok_and(|status| status.success());
    assert!(mounted, "this test mounts a small tmpfs: run it as root, as CI does");
    let _small = Small(place.data.clone());
    // What else fills it takes all that is left, so that not even a record finds room.
    let mut filler = std::fs::File::create(place.data.join("filler")).unwrap();
    let run = place.spawn(&["run"]);
    place.wait_for("output", |view| view["jobs"][0]["log_bytes"].as_u64().unwrap_or(0) > 0);
    while filler.write_all(&[0; 4096]).is_ok() {}
    let run = finish(run);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let last = place.latest();
    assert_eq!((kind(&last, "j"), kind(&last, "k")), ("disk_full".into(), "disk_full".into()), "{last:#}");
    assert!(is_over(&last));
}

#[test]
fn a_second_interrupt_leaves_at_once_and_the_next_server_ends_what_is_left() {
    let place = Place::new(STUBBORN);
    let mut run = place.spawn(&["run"]);
    place.wait_for("the job runs", |view| job(view, "deaf")["log_bytes"].as_u64().unwrap() > 0);
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    signal(&run, "INT");
    assert!(lines.any(|line| line.unwrap().contains("interrupt again to leave at once")));
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let (server, _) = server(&place, "1");
    let last = place.wait_for("the end", is_over);
    assert_eq!(last["execution"]["status"], "CANCELED", "{last:#}");
    stop(server);
    place.wait_until_clean();
}
