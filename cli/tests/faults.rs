//! Faults: runs must not hang or lose log bytes when servers, workers, engines or disks fail.

use crate::support::{
    IGNORES_SIGTERM, TWO_JOBS, TestEnv, failure_kind, finish, has_ended, job, serve, signal, stop, text,
    wait_until,
};
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
    time::Duration,
};

/// Starts a server on the environment's data directory.
fn start_server(env: &TestEnv, workers: &str) -> (Child, String) {
    serve(env, &env.data, workers)
}

#[test]
fn restarted_server_finishes_running_executions() {
    let env = TestEnv::new(TWO_JOBS);
    let (mut first, url) = start_server(&env, "2");
    let token = std::fs::read_to_string(env.data.join("token")).unwrap();
    let client = env.spawn(&["run", "--server", &url, "--token", &token]);
    env.wait_until_started();
    signal(&first, "KILL");
    first.wait().unwrap();
    let port = url.rsplit(':').next().unwrap();
    let again = env
        .command(&["server", "--listen", &format!("127.0.0.1:{port}"), "--jobs", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The client reconnects and sees the end of the execution.
    let client = finish(client);
    assert_eq!(client.status.code(), Some(0), "{client:?}");
    stop(again);
}

/// A proxy to the engine whose connections can be cut.
struct CuttableProxy {
    path: String,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl CuttableProxy {
    fn start(env: &TestEnv) -> Self {
        let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let engine = host.strip_prefix("unix://").expect("the tests' engine is on a socket").to_owned();
        let path = env.dir.path().join("engine.sock").to_string_lossy().into_owned();
        let listener = UnixListener::bind(&path).unwrap();
        let proxy = Self { path, cut: Arc::default(), streams: Arc::default() };
        let (cut, streams) = (proxy.cut.clone(), proxy.streams.clone());
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
        proxy
    }

    fn restore(&self) {
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
    let env = TestEnv::new(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    let proxy = CuttableProxy::start(&env);
    let run = env
        .command(&["run"])
        .env("DOCKER_HOST", format!("unix://{}", proxy.path))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    env.wait_until_started();
    proxy.cut();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let view = env.latest();
    assert_eq!(failure_kind(&view, "slow"), "engine_failed", "{view:#}");
    assert!(text(&env.tidemill(&["logs", "slow", "--attempt", "1"]).stdout).contains("begun\n"));
}

#[test]
fn worker_without_an_engine_fails_no_job_and_resumes_with_it() {
    let mut env = TestEnv::new(TWO_JOBS);
    let proxy = CuttableProxy::start(&env);
    let (server, url) = start_server(&env, "0");
    let token = std::fs::read_to_string(env.data.join("token")).unwrap();
    let with_server = |mut command: Command| {
        command.env("TIDEMILL_SERVER", &url).env("TIDEMILL_TOKEN", &token).env("TIDEMILL_LOG", "off");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut worker = with_server(env.command(&["worker", "--notices", "off", "--jobs", "1"]))
        .env("DOCKER_HOST", format!("unix://{}", proxy.path))
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("working for"));
    proxy.cut();
    let run = with_server(env.command(&["run"])).spawn().unwrap();
    env.wait_for("the job is given back", |view| {
        !job(view, "slow")["attempts"].as_array().unwrap().is_empty()
    });
    proxy.restore();
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = env.latest();
    let attempts = job(&view, "slow")["attempts"].as_array().unwrap().clone();
    assert!(attempts.iter().all(|attempt| attempt["failure"]["kind"] == "given_back"), "{view:#}");
    assert_eq!(attempts.len(), 1, "no further job was taken until the engine was back: {view:#}");
    stop(worker);
    stop(server);
    env.wait_until_clean();
}

#[test]
fn run_without_engine_exits_3() {
    let env = TestEnv::new(TWO_JOBS);
    let run = env.command(&["run"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    assert!(text(&run.stderr).contains("engine"), "{run:?}");
    assert_eq!(env.latest(), Value::Null, "no execution was started");
}

/// A small tmpfs mount; it is unmounted on drop.
struct SmallFileSystem(std::path::PathBuf);

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn full_disk_fails_the_job_with_the_reason() {
    let env = TestEnv::new(
        r#"
name: chatty
stages: [a]
jobs:
  j: { stage: a, image: "IMAGE", script: ["head -c 60000000 /dev/urandom | od -x"] }
"#,
    );
    // Only the log directory is small: records must still be written.
    let logs = env.data.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&logs)
        .status()
        .is_ok_and(|status| status.success());
    assert!(mounted, "this test mounts a small tmpfs: run it as root, as CI does");
    let _small = SmallFileSystem(logs);
    let run = env.tidemill(&["run"]);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    assert_eq!(failure_kind(&env.latest(), "j"), "disk_full", "{:#}", env.latest());
}

#[test]
fn disk_too_full_for_records_ends_the_execution_with_the_reason() {
    let env = TestEnv::new(
        r#"
name: chatty
stages: [a, b]
jobs:
  j: { stage: a, image: "IMAGE", script: ["head -c 60000000 /dev/urandom | od -x"] }
  k: { stage: a, image: "IMAGE", script: ["head -c 60000000 /dev/urandom | od -x"] }
  after: { stage: b, image: "IMAGE", script: ["true"] }
"#,
    );
    std::fs::create_dir_all(&env.data).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(&env.data)
        .status()
        .is_ok_and(|status| status.success());
    assert!(mounted, "this test mounts a small tmpfs: run it as root, as CI does");
    let _small = SmallFileSystem(env.data.clone());
    // The filler takes all free space, so that not even a record can be written.
    let mut filler = std::fs::File::create(env.data.join("filler")).unwrap();
    let run = env.spawn(&["run"]);
    env.wait_for("output", |view| view["jobs"][0]["log_bytes"].as_u64().unwrap_or(0) > 0);
    while filler.write_all(&[0; 4096]).is_ok() {}
    let run = finish(run);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let last = env.latest();
    assert_eq!(
        (failure_kind(&last, "j"), failure_kind(&last, "k")),
        ("disk_full".into(), "disk_full".into()),
        "{last:#}"
    );
    assert!(has_ended(&last));
}

#[test]
fn second_interrupt_kills_the_job_and_records_the_cancel() {
    let mut env = TestEnv::new(IGNORES_SIGTERM);
    let mut run = env.spawn(&["run"]);
    env.wait_for("the job runs", |view| job(view, "deaf")["log_bytes"].as_u64().unwrap() > 0);
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    signal(&run, "INT");
    assert!(lines.any(|line| line.unwrap().contains("interrupt again to exit immediately")));
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    // Usually before the command exits; on a slow machine, the process in the background does it.
    let last = env.wait_for("the execution ends without another run", has_ended);
    assert_eq!(last["execution"]["status"], "CANCELED", "{last:#}");
    env.wait_until_clean();
}

#[test]
fn silent_worker_does_not_delay_a_cancel() {
    let mut env = TestEnv::new(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    // Longer than the test: only the cancel can end the lease.
    env.lease_ttl_ms = 600_000;
    let (first, url) = start_server(&env, "0");
    let token = std::fs::read_to_string(env.data.join("token")).unwrap();
    let env = env;
    let other = env.dir.path().join("worker");
    let mut worker = crate::support::binary(&env, &other)
        .args(["worker", "--name", "silent", "--server", &url, "--token", &token])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let client = env.spawn(&["run", "--server", &url, "--token", &token]);
    env.wait_until_started();
    signal(&worker, "STOP");
    let canceled = env.on_latest(&["cancel", "--server", &url, "--token", &token]);
    assert_eq!(canceled.status.code(), Some(0), "{canceled:?}");
    let client = finish(client);
    assert_eq!(client.status.code(), Some(130), "{client:?}");
    assert_eq!(job(&env.latest(), "slow")["status"], "CANCELED", "{:#}", env.latest());
    // When the worker resumes, its lease has expired, and it stops its job.
    signal(&worker, "CONT");
    let label = format!("label=tidemill.data={}", other.join("worker").canonicalize().unwrap().display());
    let running = || {
        let listed = Command::new("docker").args(["ps", "-q", "--filter", &label]).output().unwrap();
        text(&listed.stdout)
    };
    signal(&worker, "TERM");
    worker.wait().unwrap();
    wait_until(|| running().is_empty()).unwrap_or_else(|()| panic!("still running: {}", running()));
    stop(first);
}

/// Suspends `run` for longer than its leases, as a machine that sleeps does.
fn suspend(run: &Child) {
    signal(run, "STOP");
    thread::sleep(Duration::from_secs(8));
    signal(run, "CONT");
}

#[test]
fn case_real_13_suspended_run_continues_its_job_instead_of_repeating_it() {
    let env = TestEnv::new(&TWO_JOBS.replace("sleep 3", "sleep 5"));
    let run = env.spawn(&["run"]);
    env.wait_until_started();
    suspend(&run);
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let view = env.latest();
    assert_eq!(job(&view, "slow")["attempt"], 1, "{view:#}");
    assert!(env.log("slow").ends_with("\ndone\n"), "{}", env.log("slow"));
}

#[test]
fn lost_job_that_is_not_interruptible_is_not_repeated() {
    for key in ["interruptible: false", "retry: { when: [] }"] {
        let file = TWO_JOBS.replace("sleep 3", "sleep 600").replace("slow: {", &format!("slow: {{ {key},"));
        let mut env = TestEnv::new(&file);
        let mut run = env.spawn(&["run"]);
        env.wait_until_started();
        signal(&run, "KILL");
        run.wait().unwrap();
        let (server, _) = start_server(&env, "1");
        let view = env.wait_for("the execution ends", has_ended);
        assert_eq!(failure_kind(&view, "slow"), "worker_lost", "{view:#}");
        assert_eq!(job(&view, "slow")["attempt"], 1, "{view:#}");
        stop(server);
        env.wait_until_clean();
    }
}

#[test]
fn case_real_15_next_start_removes_the_workspace_of_a_killed_run() {
    let file = r#"
name: killed
jobs:
  big:
    image: "IMAGE"
    interruptible: false
    script: ["head -c 4194304 /dev/zero > big.bin", "echo begun", "sleep 600"]
"#;
    let mut env = TestEnv::new(file);
    let mut run = env.spawn(&["run"]);
    env.wait_for("the workspace has a file", |view| {
        job(view, "big")["log_bytes"].as_u64().unwrap() > 0 && env.log("big").contains("\nbegun\n")
    });
    let left = || {
        let listed =
            Command::new("find").arg(&env.data).args(["-name", "big.bin", "-size", "+4095k"]).output();
        text(&listed.unwrap().stdout)
    };
    signal(&run, "KILL");
    run.wait().unwrap();
    assert!(left().ends_with("/big.bin\n"), "nothing removes it while no worker runs");
    let (server, _) = start_server(&env, "1");
    wait_until(|| left().is_empty()).expect("the next start removes the workspace");
    stop(server);
    env.wait_until_clean();
}
