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
use support::{IGNORES_SIGTERM, Place, TWO, finish, is_over, job, kind, serve, signal, stop, text};

/// A server on the place's own data.
fn server(place: &Place, workers: &str) -> (Child, String) {
    serve(place, &place.data, workers)
}

#[test]
fn restarted_server_finishes_running_executions() {
    let place = Place::new(TWO);
    let (mut first, url) = server(&place, "2");
    let token = std::fs::read_to_string(place.data.join("token")).unwrap();
    let client = place.spawn(&["--server", &url, "--token", &token, "run"]);
    place.wait_until_begun();
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

/// A way to the engine that can be cut.
struct CuttableProxy {
    path: String,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl CuttableProxy {
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

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
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
fn lost_engine_fails_the_job_with_the_reason() {
    let place = Place::new(&TWO.replace("sleep 3", "sleep 600"));
    let cable = CuttableProxy::lay(&place);
    let run = place
        .command(&["run"])
        .env("DOCKER_HOST", format!("unix://{}", cable.path))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    place.wait_until_begun();
    cable.cut();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let view = place.latest();
    assert_eq!(kind(&view, "slow"), "engine_failed", "{view:#}");
    assert!(text(&place.tidemill(&["logs", "--job", "slow", "--attempt", "1"]).stdout).contains("begun\n"));
}

#[test]
fn worker_without_an_engine_fails_no_job_and_resumes_with_it() {
    let mut place = Place::new(TWO);
    let cable = CuttableProxy::lay(&place);
    let (server, url) = server(&place, "0");
    let token = std::fs::read_to_string(place.data.join("token")).unwrap();
    let there = |mut command: Command| {
        command.env("TIDEMILL_SERVER", &url).env("TIDEMILL_TOKEN", &token).env("TIDEMILL_LOG", "off");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut worker = there(place.command(&["worker", "--notices", "off", "--parallel", "1"]))
        .env("DOCKER_HOST", format!("unix://{}", cable.path))
        .spawn()
        .unwrap();
    let mut said = BufReader::new(worker.stdout.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("working for"));
    cable.cut();
    let run = there(place.command(&["run"])).spawn().unwrap();
    place.wait_for("the job is given back", |view| {
        !job(view, "slow")["attempts"].as_array().unwrap().is_empty()
    });
    cable.mend();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = place.latest();
    let attempts = job(&view, "slow")["attempts"].as_array().unwrap().clone();
    assert!(attempts.iter().all(|attempt| attempt["failure"]["kind"] == "given_back"), "{view:#}");
    assert_eq!(attempts.len(), 1, "no further job was taken until the engine was back: {view:#}");
    stop(worker);
    stop(server);
    place.wait_until_clean();
}

#[test]
fn run_without_engine_exits_3() {
    let place = Place::new(TWO);
    let run = place.command(&["run"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    assert!(text(&run.stderr).contains("engine"), "{run:?}");
    assert_eq!(place.latest(), Value::Null, "nothing was begun");
}

/// A small file system of its own.
struct SmallFileSystem(std::path::PathBuf);

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn full_disk_fails_the_job_with_the_reason() {
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
    let _small = SmallFileSystem(logs);
    let run = place.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(kind(&place.latest(), "j"), "disk_full", "{:#}", place.latest());
}

#[test]
fn disk_too_full_for_records_ends_the_execution_with_the_reason() {
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
    let _small = SmallFileSystem(place.data.clone());
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
fn second_interrupt_exits_and_the_next_server_ends_the_execution() {
    let mut place = Place::new(IGNORES_SIGTERM);
    let mut run = place.spawn(&["run"]);
    place.wait_for("the job runs", |view| job(view, "deaf")["log_bytes"].as_u64().unwrap() > 0);
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    signal(&run, "INT");
    assert!(lines.any(|line| line.unwrap().contains("interrupt again to exit immediately")));
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let (server, _) = server(&place, "1");
    let last = place.wait_for("the end", is_over);
    assert_eq!(last["execution"]["status"], "CANCELED", "{last:#}");
    stop(server);
    place.wait_until_clean();
}

#[test]
fn silent_worker_does_not_delay_a_cancel() {
    let mut place = Place::new(&TWO.replace("sleep 3", "sleep 600"));
    // Far longer than anyone waits here: only the cancel itself can end the lease.
    place.lease_ttl_ms = 600_000;
    let (first, url) = server(&place, "0");
    let token = std::fs::read_to_string(place.data.join("token")).unwrap();
    let place = place;
    let other = place.dir.path().join("worker");
    let mut worker = support::binary(&place, &other)
        .args(["--server", &url, "--token", &token, "worker", "--name", "silent"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let client = place.spawn(&["--server", &url, "--token", &token, "run"]);
    place.wait_until_begun();
    signal(&worker, "STOP");
    let canceled = place.of_latest(&["--server", &url, "--token", &token, "cancel"]);
    assert_eq!(canceled.status.code(), Some(0), "{canceled:?}");
    let client = finish(client);
    assert_eq!(client.status.code(), Some(130), "{client:?}");
    assert_eq!(job(&place.latest(), "slow")["status"], "CANCELED", "{:#}", place.latest());
    // When it can speak again its lease is not valid any more, and it stops what it ran.
    signal(&worker, "CONT");
    let label = format!("label=tidemill.data={}", other.join("worker").canonicalize().unwrap().display());
    let running = || {
        let listed = Command::new("docker").args(["ps", "-q", "--filter", &label]).output().unwrap();
        text(&listed.stdout)
    };
    signal(&worker, "TERM");
    worker.wait().unwrap();
    support::wait_until(|| running().is_empty()).unwrap_or_else(|()| panic!("still running: {}", running()));
    stop(first);
}
