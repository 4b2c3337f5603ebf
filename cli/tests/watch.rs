//! Watching a deployment: how often it is asked, and what an interrupt or an outage does.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{Backend, IGNORES_SIGTERM, Place, TWO, finish, is_over, job, signal, text, wait_until};

/// Between a client and a server: notes when an execution's state is asked for, makes the server one that does not hold
/// its replies, and can be cut.
#[derive(Clone)]
struct RecordingProxy {
    url: String,
    asked: Arc<Mutex<Vec<Instant>>>,
    is_cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl RecordingProxy {
    fn of(place: &Place) -> Self {
        let server = place.deployment.as_ref().unwrap().server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let between = Self { url, asked: Arc::default(), is_cut: Arc::default(), streams: Arc::default() };
        let of = between.clone();
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let Ok(to) = TcpStream::connect(&server) else { continue };
                if of.is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                of.streams.lock().unwrap().extend([from.try_clone().unwrap(), to.try_clone().unwrap()]);
                let (back_from, back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
                let of = of.clone();
                thread::spawn(move || of.copy(from, to));
                thread::spawn(move || drop(std::io::copy(&mut &back_from, &mut &back_to)));
            }
        });
        between
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut bytes = buffer[..length].to_vec();
            if bytes.starts_with(b"GET /api/pipeline/status/") {
                self.asked.lock().unwrap().push(Instant::now());
            }
            // As long as what it stands for.
            let waits = b"wait_ms=15000";
            if let Some(at) = bytes.windows(waits.len()).position(|part| part == waits) {
                bytes[at..at + waits.len()].copy_from_slice(b"wait_ms=00000");
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

#[test]
fn server_without_long_poll_is_polled_once_a_second_at_most() {
    let place = Backend::Server.place(&TWO.replace("sleep 3", "sleep 12"));
    let between = RecordingProxy::of(&place);
    let run = place.tidemill(&["run", "--server", &between.url]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let asked = between.asked.lock().unwrap().clone();
    let gaps: Vec<Duration> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    let lasted: Duration = gaps.iter().sum();
    assert!(asked.len() as u64 <= lasted.as_secs() + 2, "at most one a second: {gaps:?}");
    assert!(gaps.iter().any(|gap| *gap > Duration::from_secs(2)), "nothing changes for long: {gaps:?}");
}

#[test]
fn watch_tolerates_a_short_outage() {
    let place = Backend::Server.place(TWO);
    let between = RecordingProxy::of(&place);
    let mut run = place.spawn(&["run", "--server", &between.url]);
    place.wait_until_begun();
    between.cut();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("is unreachable; retrying")), "the outage is said");
    place.wait_for("the execution ends meanwhile", is_over);
    between.mend();
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("is reachable again")), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("succeeded in")), "{rest:?}");
    assert_eq!(rest.iter().filter(|line| line.contains("is unreachable")).count(), 0, "said once: {rest:?}");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}

#[test]
fn watch_can_be_left_and_resumed() {
    let place = Backend::Server.place(&TWO.replace("sleep 3", "while [ ! -e /tmp/go ]; do sleep 0.1; done"));
    let run = place.spawn(&["run"]);
    place.wait_until_begun();
    let execution = place.latest()["execution"]["id"].as_str().unwrap().to_owned();
    let mut watch = place.spawn(&["watch", &execution]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("slow: started")));
    signal(&watch, "INT");
    let left = finish(watch);
    assert_eq!(left.status.code(), Some(130), "{left:?}");
    assert!(text(&left.stderr).contains(&format!("tidemill watch {execution}")), "{left:?}");
    assert!(!is_over(&place.latest()), "it goes on");

    // Once more, and this time an interrupt is meant for the execution.
    let number = place.latest()["execution"]["run_number"].to_string();
    let mut watch = place.spawn(&["watch", "--run", &number, "--pipeline", &place.pipeline, "--cancel"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("slow: started")));
    signal(&watch, "INT");
    assert!(lines.any(|line| line.unwrap().contains("was canceled")));
    assert_eq!(finish(watch).status.code(), Some(130));
    assert_eq!(finish(run).status.code(), Some(130));
    let last = place.latest();
    assert_eq!(job(&last, "slow")["status"], "CANCELED", "{last:#}");
    // What is over is shown as it ended.
    let over = place.tidemill(&["watch", &execution]);
    assert_eq!(over.status.code(), Some(130), "{over:?}");
}

#[test]
fn second_interrupt_of_a_run_names_the_watch_command() {
    let place = Backend::Server.place(IGNORES_SIGTERM);
    let mut run = place.spawn(&["run"]);
    place.wait_for("the job runs", |_| place.log("deaf").contains("ready\n"));
    let execution = place.latest()["execution"]["id"].as_str().unwrap().to_owned();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    signal(&run, "INT");
    assert!(lines.any(|line| line.unwrap().contains("interrupt again to exit immediately")));
    signal(&run, "INT");
    let run = finish(run);
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    assert!(text(&run.stderr).contains(&format!("tidemill watch {execution}")), "{run:?}");
    wait_until(|| is_over(&place.latest())).expect("the cancel reached the job");
}

#[test]
fn followed_log_without_long_poll_is_complete() {
    let place = Backend::Server.place(TWO);
    let between = RecordingProxy::of(&place);
    let run = place.spawn(&["run"]);
    place.wait_until_begun();
    let job_log = ["logs", "--job", "slow", "-f", "--pipeline", &place.pipeline, "--server", &between.url];
    let followed = place.tidemill(&job_log);
    assert_eq!(followed.status.code(), Some(0), "{followed:?}");
    assert!(
        text(&followed.stdout).contains("begun\n") && text(&followed.stdout).ends_with("done\n"),
        "{followed:?}"
    );
    assert_eq!(finish(run).status.code(), Some(0));
}
