//! Watching executions on a deployment: polling, interrupts and outages.

use crate::support::{
    Backend, GATED, IGNORES_SIGTERM, TWO_JOBS, TestEnv, finish, has_ended, job, signal, text, wait_until,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A proxy proxy client and server that records status requests, disables long polls, and can cut its connections.
#[derive(Clone)]
struct RecordingProxy {
    url: String,
    requests: Arc<Mutex<Vec<Instant>>>,
    is_truncated: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl RecordingProxy {
    fn start(env: &TestEnv) -> Self {
        let server = env.deployment.as_ref().unwrap().server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy =
            Self { url, requests: Arc::default(), is_truncated: Arc::default(), streams: Arc::default() };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let Ok(to) = TcpStream::connect(&server) else { continue };
                if accepting.is_truncated.load(Ordering::SeqCst) {
                    continue;
                }
                accepting
                    .streams
                    .lock()
                    .unwrap()
                    .extend([from.try_clone().unwrap(), to.try_clone().unwrap()]);
                let (back_from, back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
                let upstream = accepting.clone();
                thread::spawn(move || upstream.copy(from, to));
                thread::spawn(move || drop(std::io::copy(&mut &back_from, &mut &back_to)));
            }
        });
        proxy
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut bytes = buffer[..length].to_vec();
            if bytes.starts_with(b"GET /api/pipeline/status/") {
                self.requests.lock().unwrap().push(Instant::now());
            }
            // The replacement must have the same length.
            let long_poll = b"wait_ms=15000";
            if let Some(at) = bytes.windows(long_poll.len()).position(|part| part == long_poll) {
                bytes[at..at + long_poll.len()].copy_from_slice(b"wait_ms=00000");
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    fn cut(&self) {
        self.is_truncated.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn restore(&self) {
        self.is_truncated.store(false, Ordering::SeqCst);
    }
}

#[test]
fn server_without_long_poll_is_polled_once_a_second_at_most() {
    let env = Backend::Server.test_env(&TWO_JOBS.replace("sleep 3", "sleep 12"));
    let proxy = RecordingProxy::start(&env);
    let run = env.tidemill(&["run", "--server", &proxy.url]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let requests = proxy.requests.lock().unwrap().clone();
    let gaps: Vec<Duration> = requests.windows(2).map(|two| two[1] - two[0]).collect();
    let lasted: Duration = gaps.iter().sum();
    assert!(requests.len() as u64 <= lasted.as_secs() + 2, "at most one request per second: {gaps:?}");
    assert!(
        gaps.iter().any(|gap| *gap > Duration::from_secs(2)),
        "the interval grows without changes: {gaps:?}"
    );
}

#[test]
fn watch_tolerates_a_short_outage() {
    let env = Backend::Server.test_env(&TWO_JOBS.replace("sleep 3", GATED));
    let proxy = RecordingProxy::start(&env);
    let mut run = env.spawn(&["run", "--server", &proxy.url]);
    env.wait_until_started();
    proxy.cut();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("is unreachable; retrying")), "the outage is reported");
    env.open_gate();
    env.wait_for("the execution ends during the outage", has_ended);
    proxy.restore();
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("is reachable again")), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("succeeded in")), "{rest:?}");
    assert_eq!(
        rest.iter().filter(|line| line.contains("is unreachable")).count(),
        0,
        "the outage is reported once: {rest:?}"
    );
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}

#[test]
fn watch_can_be_left_and_resumed() {
    let env = Backend::Server.test_env(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    let run = env.spawn(&["run"]);
    env.wait_until_started();
    let execution = env.latest()["execution"]["id"].as_str().unwrap().to_owned();
    let mut watch = env.spawn(&["watch", &execution]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("slow: started")));
    signal(&watch, "INT");
    let left = finish(watch);
    assert_eq!(left.status.code(), Some(130), "{left:?}");
    assert!(text(&left.stderr).contains(&format!("tidemill watch {execution}")), "{left:?}");
    assert!(!has_ended(&env.latest()), "the execution continues");

    // With --cancel, an interrupt cancels the execution.
    let number = env.latest()["execution"]["run_number"].to_string();
    let mut watch = env.spawn(&["watch", &number, "--pipeline", &env.pipeline, "--cancel"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("slow: started")));
    signal(&watch, "INT");
    assert!(lines.any(|line| line.unwrap().contains("was canceled")));
    assert_eq!(finish(watch).status.code(), Some(130));
    assert_eq!(finish(run).status.code(), Some(130));
    let last = env.latest();
    assert_eq!(job(&last, "slow")["status"], "CANCELED", "{last:#}");
    // An execution that has ended can be watched too.
    let ended = env.tidemill(&["watch", &execution]);
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
}

#[test]
fn second_interrupt_of_a_run_names_the_watch_command() {
    let env = Backend::Server.test_env(IGNORES_SIGTERM);
    let mut run = env.spawn(&["run"]);
    env.wait_for("the job runs", |_| env.log("deaf").contains("ready\n"));
    let execution = env.latest()["execution"]["id"].as_str().unwrap().to_owned();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    signal(&run, "INT");
    assert!(lines.any(|line| line.unwrap().contains("interrupt again to exit immediately")));
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    assert!(text(&run.stderr).contains(&format!("tidemill watch {execution}")), "{run:?}");
    wait_until(|| has_ended(&env.latest())).expect("the cancel reached the job");
}

#[test]
fn followed_log_without_long_poll_is_complete() {
    let env = Backend::Server.test_env(&TWO_JOBS.replace("sleep 3", "sleep 5"));
    let proxy = RecordingProxy::start(&env);
    let run = env.spawn(&["run"]);
    env.wait_until_started();
    let job_log = ["logs", "slow", "--follow", "--pipeline", &env.pipeline, "--server", &proxy.url];
    let followed = env.tidemill(&job_log);
    assert_eq!(followed.status.code(), Some(0), "{followed:?}");
    assert!(
        text(&followed.stdout).contains("begun\n") && text(&followed.stdout).ends_with("done\n"),
        "{followed:?}"
    );
    assert_eq!(finish(run).status.code(), Some(0));
}

#[test]
fn case_real_15_piped_run_reports_each_event_and_each_wait_once() {
    // A registry that accepts connections, and never answers.
    let registry = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let image = format!("{}/slow:1", registry.local_addr().unwrap());
    let env = Backend::Embedded.test_env(&format!(
        r#"
name: story
stages: [a]
defaults: {{ image: "IMAGE" }}
jobs:
  flaky: {{ stage: a, retry: 1, allow_failure: true, script: ["exit 3"] }}
  "deploy to production": {{ stage: a, when: manual, script: ["true"] }}
  pull: {{ stage: a, image: "{image}", script: ["true"] }}
"#
    ));
    let mut run = env.command(&["run", "--jobs", "3"]);
    run.env("CI", "true").stdin(Stdio::null());
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let shared = Arc::new(Mutex::new(Vec::<String>::new()));
    let (reader, lines) = (BufReader::new(run.stdout.take().unwrap()), shared.clone());
    let reading = thread::spawn(move || {
        reader.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line));
    });
    let has = |part: &str| shared.lock().unwrap().iter().filter(|line| line.contains(part)).count();
    for expected in ["waits for approval: tidemill approve", "flaky: failed (allowed)", "is pulling image"] {
        wait_until(|| has(expected) > 0)
            .unwrap_or_else(|()| panic!("{expected}: {:?}", shared.lock().unwrap()));
    }
    // The command can be pasted.
    let hint =
        shared.lock().unwrap().iter().find_map(|line| line.split_once("approval: ")).unwrap().1.to_owned();
    let pasted = hint.replacen("tidemill", env!("CARGO_BIN_EXE_tidemill"), 1);
    let mut approve = Command::new("sh");
    approve.args(["-c", &pasted]).current_dir(env.repo());
    approve.envs(env.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    let approved = approve.output().unwrap();
    assert_eq!(approved.status.code(), Some(0), "{hint}: {approved:?}");
    wait_until(|| has("deploy to production: succeeded") > 0).unwrap();
    signal(&run, "INT");
    let run = finish(run);
    reading.join().unwrap();
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    let lines = shared.lock().unwrap().clone();
    for (expected, count) in [
        (" #1 of ", 1),
        ("flaky: started", 2),
        ("flaky: started (attempt 2)", 1),
        ("! flaky: attempt 1 failed after", 1),
        ("! flaky: failed (allowed) after", 1),
        ("waits for approval", 1),
        ("deploy to production: started", 1),
        ("deploy to production: succeeded after", 1),
        ("job pull is pulling image", 1),
        ("pull: started", 1),
        ("canceling; interrupt again", 1),
        ("pull: canceled", 1),
        (" was canceled in ", 1),
        ("\u{1b}", 0),
    ] {
        assert_eq!(
            lines.iter().filter(|line| line.contains(expected)).count(),
            count,
            "{expected}: {lines:#?}"
        );
    }
}

#[test]
fn case_real_15_interrupt_of_a_run_that_joined_another_only_leaves() {
    let env = Backend::Embedded.test_env(&TWO_JOBS.replace("sleep 3", "sleep 600"));
    let first = env.spawn(&["run"]);
    env.wait_until_started();
    let mut second = env.spawn(&["run"]);
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("attaching to it")));
    assert!(lines.any(|line| line.unwrap().contains("slow: started")));
    signal(&second, "INT");
    let second = finish(second);
    assert_eq!(second.status.code(), Some(130), "{second:?}");
    assert!(
        text(&second.stderr).contains("the execution continues; watch it with: tidemill watch"),
        "{second:?}"
    );
    let view = env.latest();
    assert!(!has_ended(&view) && view["execution"]["cancel_requested"] == false, "{view:#}");
    assert_eq!(job(&view, "slow")["status"], "RUNNING", "{view:#}");
    signal(&first, "INT");
    assert_eq!(finish(first).status.code(), Some(130));
    assert_eq!(job(&env.latest(), "slow")["status"], "CANCELED");
}

#[test]
fn run_that_follows_a_job_reports_what_it_waits_for_beside_the_log() {
    let env = TestEnv::new(
        "name: held\njobs:\n  deploy: { image: \"IMAGE\", when: manual, script: [\"echo deployed\"] }\n",
    );
    let mut run = env.spawn(&["run", "--follow", "deploy"]);
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waits for approval: tidemill approve")));
    let approved = finish(env.spawn(&["approve"]));
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    let run = finish(run);
    assert_eq!((run.status.code(), text(&run.stdout).contains("deployed\n")), (Some(0), true), "{run:?}");
    assert!(!text(&run.stdout).contains("approval"), "{run:?}");
}
