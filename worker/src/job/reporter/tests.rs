//! Tests of the reporter.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{FLUSH_SIZE, Pending, ReportOutcome, Reporter, Schedule, next_report};
use crate::{client::ApiClient, job::dispatcher::Event, log::mask::SecretMask, policy::Limits};
use std::time::Duration;
use tidemill_core::execution::assignment::LeaseGrant;
use tidemill_core::{
    api::AttemptEnd,
    ids::{JobId, LeaseToken},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::Instant};
use uuid::Uuid;

const HEARTBEAT: Duration = Duration::from_secs(10);

/// A schedule of a server where a report costs nothing, whose last report was at `last`.
const fn each_second(last: Instant, sent_log: bool, heartbeat: Duration) -> Schedule {
    Schedule { last, last_news: last, sent_log, interval: ms(1000), heartbeat }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A reporter whose server accepts connections but never answers, like a network that drops every packet.
struct Started {
    _silent: TcpListener,
    reporter: Reporter,
    reporting: JoinHandle<ReportOutcome>,
    events: mpsc::UnboundedReceiver<Event>,
}

async fn start(ttl_ms: u64, settings: (SecretMask, &Limits)) -> Started {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = ApiClient::new(&format!("http://{}", silent.local_addr().unwrap()), "");
    let (sender, events) = mpsc::unbounded_channel();
    let lease = LeaseGrant { token: LeaseToken(Uuid::nil()), ttl_ms, report_interval_ms: 1000 };
    let (reporter, reporting) = Reporter::start(api, JobId(Uuid::nil()), lease, settings, sender);
    Started { _silent: silent, reporter, reporting, events }
}

#[test]
fn first_output_is_sent_after_100_ms_then_every_second() {
    let start = Instant::now();
    let printed = Pending {
        log: b"$ true\n".to_vec(),
        log_since: Some(start + ms(400)),
        status_since: Some(start),
        ..Default::default()
    };
    assert_eq!(
        each_second(start, false, HEARTBEAT).due(printed.news()),
        Some(start + ms(500)),
        "the end may follow by then"
    );
    assert_eq!(each_second(start, true, HEARTBEAT).due(printed.news()), Some(start + ms(1000)));
    let later = Pending { log_since: Some(start + ms(5000)), status_since: None, ..printed };
    assert_eq!(each_second(start, true, HEARTBEAT).due(later.news()), Some(start + ms(5100)));
}

#[test]
fn phases_and_steps_wait_up_to_a_second() {
    let start = Instant::now();
    let changes = Pending { status_since: Some(start + ms(300)), ..Default::default() };
    assert_eq!(each_second(start, false, HEARTBEAT).due(changes.news()), Some(start + ms(1300)));
    assert_eq!(
        each_second(start, false, ms(700)).due(changes.news()),
        Some(start + ms(700)),
        "the heartbeat is due first"
    );
}

#[test]
fn end_and_full_buffer_are_sent_immediately_and_silence_is_a_heartbeat() {
    let start = Instant::now();
    let empty = Pending::default();
    assert_eq!(each_second(start, true, HEARTBEAT).due(empty.news()), Some(start + HEARTBEAT));
    let end = Some(AttemptEnd { failure: None, exit_code: Some(0), ..AttemptEnd::default() });
    assert_eq!(each_second(start, true, HEARTBEAT).due(Pending { end, ..Default::default() }.news()), None);
    let full = Pending { log: vec![0; FLUSH_SIZE], log_since: Some(start), ..Default::default() };
    assert_eq!(each_second(start, true, HEARTBEAT).due(full.news()), None);
}

#[test]
fn batched_output_waits_for_its_interval_while_heartbeats_go_on() {
    let start = Instant::now();
    let lease = LeaseGrant { token: LeaseToken(Uuid::nil()), ttl_ms: 60_000, report_interval_ms: 20_000 };
    let schedule = Schedule::new(start, &lease);
    let printed = Pending {
        log: b"line\n".to_vec(),
        log_since: Some(start + ms(100)),
        status_since: Some(start),
        ..Default::default()
    };
    assert_eq!(schedule.due(printed.news()), Some(start + ms(5_000)), "a cancel is seen in time");
    assert!(schedule.holds_back(printed.news(), start + ms(5_000)), "the heartbeat has none of the output");
    let late = Schedule { last: start + ms(15_000), ..schedule };
    assert_eq!(late.due(printed.news()), Some(start + ms(20_000)));
    assert!(!late.holds_back(printed.news(), start + ms(20_000)));
    // A user begins to read the log.
    let watched = late.with_pace(45_000, 3_000);
    assert_eq!(watched.due(printed.news()), Some(start + ms(3_000)), "it is sent at once");
    assert!(!watched.holds_back(printed.news(), start + ms(15_000)));
    let end = Some(AttemptEnd { failure: None, exit_code: Some(0), ..AttemptEnd::default() });
    let ended = Pending { end, ..Default::default() };
    assert!(
        schedule.due(ended.news()).is_none() && !schedule.holds_back(ended.news(), start),
        "the end does not wait"
    );
    let full = Pending { log: vec![0; FLUSH_SIZE], log_since: Some(start), ..Default::default() };
    assert!(schedule.due(full.news()).is_none() && !schedule.holds_back(full.news(), start));
    assert!(schedule.holds_back(Pending::default().news(), start + ms(60_000)), "silence is a heartbeat");
}

#[tokio::test]
async fn heartbeat_leaves_what_was_collected() {
    let settings = (SecretMask::default(), &Limits::default());
    let Started { reporter, reporting, .. } = start(60_000, settings).await;
    reporting.abort();
    reporter.log(b"some output\n").await;
    reporter.phase("running");
    let lease = LeaseGrant { token: LeaseToken(Uuid::nil()), ttl_ms: 60_000, report_interval_ms: 20_000 };
    let schedule = Schedule::new(Instant::now(), &lease);
    let (report, length) = next_report(&reporter.shared, JobId(Uuid::nil()), &lease, &schedule);
    assert!(report.is_heartbeat() && length == 0, "{report:?}");
    let watched = Schedule { last_news: Instant::now() - ms(4_000), ..schedule.with_pace(60_000, 3_000) };
    tokio::time::sleep(ms(150)).await;
    let (report, length) = next_report(&reporter.shared, JobId(Uuid::nil()), &lease, &watched);
    assert_eq!((report.phase.as_deref(), length), (Some("running"), 12));
}

#[tokio::test]
async fn log_over_its_limit_ends_with_message() {
    let limits = Limits { log_bytes: 10, ..Limits::default() };
    let Started { reporter, reporting, mut events, .. } =
        start(60_000, (SecretMask::default(), &limits)).await;
    reporter.log(b"12345").await;
    reporter.log(b"67890").await;
    reporter.log(b"1").await;
    reporter.log(b"never shown").await;
    assert!(events.try_recv().is_err(), "the job continues");
    let log = String::from_utf8(reporter.shared.lock().log.clone()).unwrap();
    assert!(log.starts_with("1234567890\n[tidemill] the log ends here: ") && log.ends_with('\n'), "{log}");
    assert!(!log.contains("never shown") && log.contains("10 bytes"), "{log}");
    reporting.abort();
}

#[tokio::test]
async fn line_of_the_worker_begins_a_line() {
    let settings = (SecretMask::default(), &Limits::default());
    let Started { reporter, reporting, .. } = start(60_000, settings).await;
    reporter.log_line("first").await;
    reporter.log(b"waiting ...").await;
    reporter.log_line("it took too long").await;
    reporter.log_line("last").await;
    let log = String::from_utf8(reporter.shared.lock().log.clone()).unwrap();
    assert_eq!(log, "first\nwaiting ...\nit took too long\nlast\n");
    reporting.abort();
}

#[tokio::test]
async fn step_has_the_offset_of_its_command_whatever_is_masked_before_it() {
    let settings = (SecretMask::new(["hunter2hunter2"]).unwrap(), &Limits::default());
    let Started { reporter, reporting, .. } = start(60_000, settings).await;
    // A secret, and bytes that may be the beginning of one.
    reporter.log(b"hunter2hunter2 hunter2hu").await;
    let first = reporter.begin_step(0, true, "$ true\n").await;
    let second = reporter.begin_step(1, false, "$ echo hunter2hunter2\n").await;
    let log = String::from_utf8(reporter.shared.lock().log.clone()).unwrap();
    let before = "[masked] hunter2hu\n";
    assert_eq!(log, format!("{before}$ true\n$ echo [masked]\n"));
    assert_eq!(first.log_offset, Some(before.len() as u64));
    assert_eq!(second.log_offset, Some(before.len() as u64 + 7));
    assert!(first.started_at.is_some() && first.started_at <= second.started_at);
    reporting.abort();
}

#[tokio::test]
async fn silent_server_loses_the_lease_at_its_expiry() {
    let started = Instant::now();
    let settings = (SecretMask::default(), &Limits::default());
    let Started { reporter, reporting, mut events, .. } = start(1_500, settings).await;
    reporter.log(b"some output\n").await;
    assert!(matches!(events.recv().await, Some(Event::LeaseLost)));
    assert_eq!(reporting.await.unwrap(), ReportOutcome::LeaseLost);
    let elapsed = started.elapsed();
    assert!(elapsed >= ms(1_400), "the lease was valid until then: {elapsed:?}");
    assert!(elapsed < ms(10_000), "another worker may run the job by then: {elapsed:?}");
}

#[tokio::test]
async fn lines_of_a_shell_divide_no_secret_and_use_no_room_of_the_job() {
    let limits = Limits { log_bytes: 40, ..Limits::default() };
    let settings = (SecretMask::new(["tok-98765-secret"]).unwrap(), &limits);
    let Started { reporter, reporting, .. } = start(60_000, settings).await;
    reporting.abort();
    reporter.log(b"tok-98").await;
    for _ in 0..20 {
        reporter.shell_line(b"[shell] a line of a shell").await;
    }
    reporter.log(b"765-secret and more\n").await;
    let log = String::from_utf8(reporter.shared.lock().log.clone()).unwrap();
    assert!(log.ends_with("[shell] a line of a shell\n[masked] and more\n"), "{log}");
    let long = vec![b'x'; 90_000];
    for _ in 0..100 {
        reporter.shell_line(&long).await;
    }
    let log = String::from_utf8(reporter.shared.lock().log.clone()).unwrap();
    assert_eq!(log.matches("the rest is not recorded").count(), 1);
    assert!(log.len() < (8 << 20) + 4096, "{}", log.len());
}
