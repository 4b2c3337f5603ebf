//! `tidemill server` as a process: unauthenticated requests, shutdown, and lost records or disk space.

use crate::support::{TWO_JOBS, TestEnv, finish, has_ended, job, serve, signal, stop, text, wait_until};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).unwrap()
}

/// Returns status and body of a GET request.
fn get(url: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = connect(url);
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{token}\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn health(url: &str) -> (u16, Value) {
    let (status, body) = get(url, "/api/health", None);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// Returns the resident memory of a process in MiB.
fn resident_mib(process: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

#[test]
fn unfinished_webhook_bodies_take_little_memory_and_release_it() {
    const BODIES: usize = 40;
    let env = TestEnv::new(TWO_JOBS);
    let (server, url) = serve(&env, &env.data, "0");
    health(&url);
    let before = resident_mib(&server);
    let senders: Vec<_> = (0..BODIES)
        .map(|number| {
            let mut stream = connect(&url);
            thread::spawn(move || {
                // Half of them name an unknown repository.
                let hint = if number % 2 == 0 { "" } else { "?repo=https%3A%2F%2Fgit.example.org%2Fa%2Fb" };
                let length = 24 << 20;
                let head = format!(
                    "POST /api/webhook/github{hint} HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: sha256={}\r\n\
                     transfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n{length:x}\r\n",
                    "0".repeat(64)
                );
                let blanks = vec![b' '; 64 << 10];
                let mut sent = stream.write_all(head.as_bytes());
                // Send all but the last bytes; the server may reject the request earlier.
                for _ in 0..(length >> 16) - 1 {
                    if sent.is_err() {
                        break;
                    }
                    sent = stream.write_all(&blanks);
                }
                stream
            })
        })
        .collect();
    let streams: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let during = resident_mib(&server);
    assert!(during < before + 220, "{before} MiB before, {during} MiB during");
    assert_eq!(health(&url).0, 200);
    drop(streams);
    // Released memory is reused.
    let after = resident_mib(&server);
    assert!(after < before + 220, "{before} MiB before, {after} MiB after");
    println!(
        "resident: {before} MiB before, {during} MiB with {BODIES} unfinished bodies, {after} MiB after"
    );
    stop(server);
}

#[test]
fn webhook_body_without_a_signature_is_not_read() {
    let env = TestEnv::new(TWO_JOBS);
    let (server, url) = serve(&env, &env.data, "0");
    let mut stream = connect(&url);
    write!(stream, "POST /api/webhook/github HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        .unwrap();
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 401");
    stop(server);
}

/// A proxy to the engine that can stop forwarding while its connections stay open.
struct HangingEngine {
    address: String,
    frozen: Arc<AtomicBool>,
}

impl HangingEngine {
    fn start(env: &TestEnv) -> Self {
        let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let engine = host.strip_prefix("unix://").expect("the tests' engine is on a socket").to_owned();
        let path = env.dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let frozen = Arc::new(AtomicBool::new(false));
        let is_frozen = frozen.clone();
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let to = UnixStream::connect(&engine).unwrap();
                for (mut from, mut to) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
                    let is_frozen = is_frozen.clone();
                    thread::spawn(move || {
                        let mut buffer = [0; 16 << 10];
                        while let Ok(length @ 1..) = from.read(&mut buffer) {
                            while is_frozen.load(Ordering::SeqCst) {
                                thread::sleep(Duration::from_millis(50));
                            }
                            if to.write_all(&buffer[..length]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        Self { address: format!("unix://{}", path.display()), frozen }
    }
}

/// Starts a server whose engine hangs while a job runs. Returns the server, the client that waits for the job, and the engine.
fn start_with_hanging_engine(env: &TestEnv) -> (Child, Child, HangingEngine) {
    let engine = HangingEngine::start(env);
    let mut server = env
        .command(&["server", "--listen", "127.0.0.1:0", "--jobs", "1"])
        .env("DOCKER_HOST", &engine.address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',');
    let token = fs::read_to_string(env.data.join("token")).unwrap();
    let client = env.spawn(&["run", "--server", url, "--token", &token]);
    env.wait_until_started();
    engine.frozen.store(true, Ordering::SeqCst);
    (server, client, engine)
}

/// Waits until a process ends, and returns its exit code and the duration.
fn wait_for_exit(process: Child) -> (Option<i32>, Duration) {
    let start = Instant::now();
    let output = finish(process);
    (output.status.code(), start.elapsed())
}

#[test]
fn server_with_a_hanging_engine_ends_within_ten_seconds() {
    let env = TestEnv::new(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    let (server, mut client, engine) = start_with_hanging_engine(&env);
    signal(&server, "TERM");
    let (code, took) = wait_for_exit(server);
    assert_eq!(code, Some(0));
    // Ten seconds, and a margin for a loaded machine.
    assert!(took < Duration::from_secs(15), "{took:?}");
    println!("ended after {took:?}");
    engine.frozen.store(false, Ordering::SeqCst);
    client.kill().unwrap();
    client.wait().unwrap();
    // Once the engine answers, a background process removes the leftover containers.
    wait_until(|| env.containers().is_empty()).unwrap_or_else(|()| panic!("left: {:?}", env.containers()));
}

#[test]
fn second_signal_ends_a_server_immediately() {
    let env = TestEnv::new(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    let (server, mut client, engine) = start_with_hanging_engine(&env);
    signal(&server, "TERM");
    thread::sleep(Duration::from_millis(500));
    signal(&server, "TERM");
    let (code, took) = wait_for_exit(server);
    assert_eq!(code, Some(130));
    assert!(took < Duration::from_secs(4), "{took:?}");
    engine.frozen.store(false, Ordering::SeqCst);
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn open_connections_do_not_delay_shutdown() {
    let env = TestEnv::new(TWO_JOBS);
    let (server, url) = serve(&env, &env.data, "0");
    let mut streams = [connect(&url), connect(&url), connect(&url)];
    streams[1].write_all(b"GET /api/health HTTP/1.1\r\nx: ").unwrap();
    streams[2]
        .write_all(b"POST /api/webhook/github HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: a\r\ncontent-length: 9\r\n\r\n")
        .unwrap();
    // When a later request is answered, the server has accepted all of them.
    health(&url);
    signal(&server, "TERM");
    let (code, took) = wait_for_exit(server);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// Starts a server that must fail, and returns its error message.
fn startup_error(env: &TestEnv) -> String {
    let output = env.tidemill(&["server", "--listen", "127.0.0.1:0", "--jobs", "0"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    text(&output.stderr)
}

#[test]
fn server_with_a_lost_or_damaged_database_does_not_start_without_new_database() {
    let env = TestEnv::new(TWO_JOBS);
    let (mut server, _) = serve(&env, &env.data, "0");
    let created = env.tidemill(&["token", "create", "--name", "w", "--scope", "worker"]);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    server.kill().unwrap();
    server.wait().unwrap();
    let (database, wal) = (env.data.join("tidemill.db"), env.data.join("tidemill.db-wal"));
    let whole = fs::read(&wal).unwrap();
    assert!(!whole.is_empty());
    let mut damaged = whole.clone();
    let last = damaged.len() - 1_000;
    damaged[last] ^= 1;
    fs::write(&wal, damaged).unwrap();
    assert!(startup_error(&env).contains("were acknowledged"));
    // A local command does not create a new database either.
    assert_eq!(env.tidemill(&["status"]).status.code(), Some(3));
    fs::write(&wal, whole).unwrap();
    let backup = env.dir.path().join("backup.db");
    fs::rename(&database, &backup).unwrap();
    assert!(startup_error(&env).contains("--new-database"));
    assert!(!database.exists());
    fs::rename(&backup, &database).unwrap();
    let listed = env.tidemill(&["token", "list"]);
    assert!(text(&listed.stdout).contains("worker"), "nothing was lost: {listed:?}");
    fs::remove_file(&database).unwrap();
    let server = env
        .command(&["server", "--listen", "127.0.0.1:0", "--jobs", "0", "--new-database"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| database.exists()).unwrap();
    stop(server);
    let names = fs::read_dir(&env.data).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("replaced-")));
}

/// A small tmpfs mount; it is unmounted on drop.
struct SmallFileSystem(std::path::PathBuf);

impl SmallFileSystem {
    fn mount(at: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(at)
            .status()
            .is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small tmpfs: run it as root, as CI does");
        Self(at.to_owned())
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn full_disk_shows_in_health_and_rejects_new_work_until_space_is_free() {
    let script = r#"["for i in $(seq 50); do echo line $i; sleep 0.1; done"]"#;
    let pipeline = format!(
        "name: chatty\nstages: [a]\njobs:\n  slow: {{ stage: a, image: \"IMAGE\", script: {script} }}\n"
    );
    let env = TestEnv::new(&pipeline);
    let _small = SmallFileSystem::mount(&env.data, 32);
    let (server, url) = serve(&env, &env.data, "1");
    let token = fs::read_to_string(env.data.join("token")).unwrap();
    assert_eq!(health(&url).1["status"], "ok", "{}", health(&url).1);
    let run = env.spawn(&["run", "--server", &url, "--token", &token]);
    env.wait_for("output", |view| job(view, "slow")["log_bytes"].as_u64().unwrap_or(0) > 0);
    let filler = env.data.join("filler");
    let mut filling = fs::File::create(&filler).unwrap();
    // Fill the disk until the server cannot write records and has used up its reserve.
    wait_until(|| {
        while filling.write_all(&[0; 4_096]).is_ok() {}
        health(&url).0 == 503
    })
    .unwrap_or_else(|()| panic!("health never reported the full disk: {}", health(&url).1));
    let (_, report) = health(&url);
    assert_eq!(report["status"], "failing", "{report}");
    assert!(report["problems"].as_array().unwrap().contains(&"disk_full".into()), "{report}");
    let request = r#"{"repo":"https://git.example.org/a/b","source":{"kind":"none"},"pipeline":"name: n\njobs: { j: { image: i, script: [x] } }"}"#;
    let mut stream = connect(&url);
    write!(
        stream,
        "POST /api/pipeline/execute HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{request}",
        request.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 507") && reply.contains("no space is left"), "{reply}");
    fs::remove_file(&filler).unwrap();
    drop(filling);
    wait_until(|| health(&url).1["status"] == "ok").unwrap_or_else(|()| panic!("{}", health(&url).1));
    let last = env.wait_for("the execution ends", has_ended);
    println!("{}", last["execution"]["status"]);
    drop(finish(run));
    wait_until(|| fs::metadata(env.data.join("reserve")).is_ok_and(|meta| meta.len() == 8 << 20)).unwrap();
    let again = env.tidemill(&["run", "--server", &url, "--token", &token]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    stop(server);
}
