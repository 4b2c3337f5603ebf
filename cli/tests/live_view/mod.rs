//! The live view of an execution in a terminal, as a terminal emulator shows it.

mod server;

use crate::support::{Backend, TestEnv, signal, terminal::Terminal};
use serde_json::{Value, json};
use server::{ExecutionServer, ID, ago, execution, job};
use std::{process::Command, thread, time::Duration};
use unicode_width::UnicodeWidthStr;

const PLAIN: &str = "name: plain\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";
const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (200, 50)];

fn one_job() -> Value {
    execution(&["test"], &[job(1, "test", "unit", "RUNNING")])
}

/// Jobs of all kinds of states, with a matrix, a failure and an approval.
fn twelve_jobs() -> Value {
    let mut jobs = vec![job(1, "build", "compile", "SUCCESS"), job(2, "build", "docs", "SUCCESS")];
    for (number, (os, status)) in [
        ("alpine", "SUCCESS"),
        ("debian", "FAILED"),
        ("fedora", "RUNNING"),
        ("ubuntu", "QUEUED"),
        ("arch", "SUCCESS"),
    ]
    .into_iter()
    .enumerate()
    {
        jobs.push(job(3 + number, "test", &format!("unit [os={os}]"), status));
    }
    let mut pulling = job(8, "test", "integration", "RUNNING");
    pulling["phase"] = json!("pulling image (12.5 of 80.0 MiB): registry.example.org/team/database:15");
    let mut gpu = job(9, "test", "train-the-model-on-all-of-the-data", "QUEUED");
    gpu["runs_on"] = json!({ "gpu": "true" });
    let mut deploy = job(10, "deploy", "deploy to production", "PENDING");
    deploy["approval"] = json!("awaited");
    jobs.extend([
        pulling,
        gpu,
        deploy,
        job(11, "deploy", "notify", "PENDING"),
        job(12, "deploy", "clean", "SKIPPED"),
    ]);
    execution(&["build", "test", "deploy"], &jobs)
}

fn two_hundred_jobs() -> Value {
    let mut jobs = vec![job(1, "build", "compile", "SUCCESS")];
    for number in 2..=150 {
        let status = match number {
            2..=80 => "SUCCESS",
            81..=83 => "FAILED",
            84..=91 => "RUNNING",
            _ => "QUEUED",
        };
        jobs.push(job(number, "test", &format!("unit [shard={number}]"), status));
    }
    jobs.extend((151..=200).map(|number| job(number, "check", &format!("check-{number}"), "PENDING")));
    execution(&["build", "test", "check"], &jobs)
}

struct Fixture {
    env: TestEnv,
    server: ExecutionServer,
}

impl Fixture {
    fn new(view: Value) -> Self {
        Self { env: TestEnv::new(PLAIN), server: ExecutionServer::start(view) }
    }

    fn watch(&self) -> Command {
        let mut command = self.env.command(&["watch", ID]);
        command.env("TIDEMILL_SERVER", &self.server.url).env("TIDEMILL_TOKEN", "token");
        command
    }
}

/// Replaces what depends on the time: digits of durations, and the spinner.
fn normalized(screen: &[String]) -> String {
    let durations = regex::Regex::new(r"\b(\d+\.\d+s|\d+m\d\ds)\b").unwrap();
    let spinner = regex::Regex::new("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]").unwrap();
    let text = screen.join("\n");
    let text = durations.replace_all(&text, |found: &regex::Captures<'_>| {
        found[0].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>()
    });
    spinner.replace_all(&text, "⠋").into_owned()
}

fn totals_are_shown(screen: &[String]) -> bool {
    screen.last().is_some_and(|row| {
        row.contains("jobs:") || row.contains("1 job:") || row.contains(" 200:") || row.contains(" 12:")
    })
}

#[test]
fn live_view_fits_terminals_of_all_sizes() {
    for (name, view) in [("1", one_job()), ("12", twelve_jobs()), ("200", two_hundred_jobs())] {
        for (columns, rows) in SIZES {
            let fixture = Fixture::new(view.clone());
            let terminal = Terminal::run(&mut fixture.watch(), columns, rows, "");
            let screen = terminal.wait_for("the view", totals_are_shown);
            insta::assert_snapshot!(format!("{columns}x{rows}-{name}"), normalized(&screen));
            assert_eq!(terminal.scrollback(), 0, "{columns}x{rows} {name}");
        }
    }
}

#[test]
fn frames_leave_nothing_behind_from_any_row() {
    for start_row in [0_u16, 12, 23] {
        let fixture = Fixture::new(twelve_jobs());
        let before = format!("{}$ tidemill watch\r\n", "an earlier line\r\n".repeat(usize::from(start_row)));
        let terminal = Terminal::run(&mut fixture.watch(), 80, 24, &before);
        terminal.wait_for("the view", totals_are_shown);
        let first = terminal.scrollback();
        for round in 0..20 {
            // The number of rows changes with what the execution waits for.
            fixture.server.change(|view| {
                let approval = if round % 2 == 0 { json!(null) } else { json!("awaited") };
                view["jobs"][9]["approval"] = approval;
            });
            thread::sleep(Duration::from_millis(120));
        }
        let screen = terminal.wait_for("the view", totals_are_shown);
        assert!(terminal.scrollback() <= first + 3, "row {start_row}: {} rows", terminal.scrollback());
        let titles = screen.iter().filter(|row| row.starts_with("ci #12 of ")).count();
        assert_eq!(titles, 1, "row {start_row}:\n{}", screen.join("\n"));
        let written = terminal.written();
        for clear in ["\u{1b}[2J", "\u{1b}[3J", "\u{1b}[H", "\u{1b}[J", "\u{1b}[0J"] {
            assert!(!written.contains(clear), "{clear:?}");
        }
    }
}

#[test]
fn view_follows_the_size_of_the_terminal() {
    let fixture = Fixture::new(two_hundred_jobs());
    let terminal = Terminal::run(&mut fixture.watch(), 80, 24, "");
    terminal.wait_for("the view", totals_are_shown);
    for (columns, rows) in [(60, 15), (120, 40), (30, 10), (200, 50)] {
        terminal.resize(columns, rows);
        let fits = |screen: &[String]| {
            totals_are_shown(screen)
                && screen.len() == usize::from(rows) - 1
                && screen.iter().filter(|row| row.starts_with("ci #12")).count() == 1
        };
        terminal.wait_for("the view fits", fits);
    }
}

/// Jobs with names that are wide, long, or hostile.
fn unusual_names() -> Value {
    let long = "a-very-long-name-".repeat(12);
    let names =
        ["日本語のとても長いジョブの名前です", "🚀 deploy", &long, "e\u{301}tude", "tab\tand\u{1b}[2J"];
    let statuses = ["RUNNING", "FAILED", "FAILED", "QUEUED", "PENDING"];
    let jobs: Vec<Value> = (1..)
        .zip(names.iter().zip(statuses))
        .map(|(number, (name, status))| job(number, "ステージ", name, status))
        .collect();
    execution(&["ステージ"], &jobs)
}

#[test]
fn unusual_names_and_tiny_terminals_keep_every_row_in_the_terminal() {
    for (columns, rows) in [(60, 15), (20, 5), (10, 3), (5, 2), (200, 50)] {
        let fixture = Fixture::new(unusual_names());
        let terminal = Terminal::run(&mut fixture.watch(), columns, rows, "");
        let screen =
            terminal.wait_for("the view", |screen| screen.last().is_some_and(|row| row.contains('5')));
        assert!(screen.len() < usize::from(rows).max(2), "{columns}x{rows}:\n{}", screen.join("\n"));
        for row in &screen {
            assert!(row.width() < usize::from(columns), "{columns}x{rows}: {row}");
        }
        if columns >= 60 {
            let text = screen.join("\n");
            for shown in ["日本語の", "deploy", "a-very-long-name", "e\u{301}tude", "ステージ"] {
                assert!(text.contains(shown), "{shown}:\n{text}");
            }
        }
        assert_eq!(terminal.scrollback(), 0, "{columns}x{rows}");
        assert!(!terminal.written().contains("\u{1b}[2J"));
        terminal.resize(20, 5);
        terminal.wait_for("the view fits", |screen| {
            screen.len() <= 4
                && screen.last().is_some_and(|row| row.contains('5'))
                && screen.iter().all(|row| row.width() < 20)
        });
    }
}

#[test]
fn terminal_without_a_size_is_taken_for_a_usual_one() {
    let fixture = Fixture::new(twelve_jobs());
    let terminal = Terminal::run_without_size(&mut fixture.watch(), 80, 24);
    let screen = terminal.wait_for("the view", totals_are_shown);
    assert!(screen.len() < 24 && screen.iter().all(|row| row.width() < 80), "{}", screen.join("\n"));
}

#[test]
fn simple_terminals_and_ci_get_lines_and_never_a_frame() {
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "true")] {
        let fixture = Fixture::new(twelve_jobs());
        let terminal = Terminal::run(fixture.watch().env(name, value), 100, 50, "");
        terminal.wait_for("the events", |screen| screen.iter().any(|row| row.contains("gpu=true")));
        thread::sleep(Duration::from_millis(500));
        let written = terminal.written();
        for sequence in ["\u{1b}[K", "\u{1b}[?", "\u{1b}[2K", "A\r", "⠋"] {
            assert!(!written.contains(sequence), "{name}: {written:?}");
        }
        for event in ["compile: succeeded", "integration: started", "failed after", "waits for approval"] {
            assert_eq!(written.matches(event).count(), 1, "{name}: {event}: {written}");
        }
    }
}

#[test]
fn end_shows_failures_critical_path_and_page() {
    let fixture = Fixture::new(twelve_jobs());
    let mut terminal = Terminal::run(&mut fixture.watch(), 80, 60, "");
    terminal.wait_for("the view", totals_are_shown);
    fixture.server.change(|view| {
        for job in view["jobs"].as_array_mut().unwrap() {
            if !["SUCCESS", "FAILED", "SKIPPED"].contains(&job["status"].as_str().unwrap()) {
                job["status"] = json!("SKIPPED");
                job["start_time"] = json!(null);
            }
        }
        view["execution"]["status"] = json!("FAILED");
        view["execution"]["end_time"] = json!(ago(0));
    });
    assert_eq!(terminal.finish(), Some(1));
    let screen =
        terminal.wait_for("the page", |screen| screen.iter().any(|row| row.contains("/executions/")));
    let text = screen.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    // The reason is complete, although it does not fit in a row.
    assert!(text.contains("its last lines are in the log"), "{text}");
    assert!(text.contains("file not found: tests/unit"), "{text}");
    assert!(text.contains("critical path: "), "{text}");
    assert!(text.contains(&format!("{}/executions/{ID}", fixture.server.url)), "{text}");
    assert_eq!(text.matches("ci #12 failed in").count(), 1, "{text}");
}

#[test]
fn interrupt_of_a_watch_leaves_a_usable_terminal() {
    let fixture = Fixture::new(one_job());
    let mut terminal = Terminal::run(&mut fixture.watch(), 80, 24, "");
    terminal.wait_for("the view", totals_are_shown);
    signal(terminal.child(), "INT");
    assert_eq!(terminal.finish(), Some(130));
    let screen =
        terminal.wait_for("the hint", |screen| screen.iter().any(|row| row.contains("tidemill watch")));
    assert!(screen.iter().any(|row| row.contains("the execution continues")), "{screen:?}");
}

/// Real jobs: the terminal is as it was before, and what stays is the record of the run.
#[test]
fn real_run_in_a_small_terminal_scrolls_only_its_result() {
    let jobs = (1..=12).map(|n| format!("  j{n}: {{ stage: a, image: \"IMAGE\", script: [\"sleep 1\"] }}\n"));
    let jobs = jobs.collect::<Vec<_>>().concat();
    let env = Backend::Embedded.test_env(&format!("name: many\nstages: [a]\njobs:\n{jobs}"));
    let mut terminal = Terminal::run(&mut env.command(&["run"]), 60, 15, "");
    terminal.wait_for("a job runs", |screen| screen.iter().any(|row| row.contains("running")));
    assert_eq!(terminal.scrollback(), 0);
    assert_eq!(terminal.finish(), Some(0));
    terminal.wait_for("the result", |screen| screen.iter().any(|row| row.contains("12 succeeded")));
    // A title, a stage, 12 jobs, the verdict and the critical path.
    assert!(terminal.scrollback() <= 6, "{} rows", terminal.scrollback());
}
