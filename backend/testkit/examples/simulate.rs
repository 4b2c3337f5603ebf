//! Runs the simulation for many seeds on all cores: `simulate [SEEDS [SEED_START]]`. With `TRACE=1` it prints every event.
//!
//! Exits with status 1 if a promise is broken, and prints the seed.
#![allow(missing_docs)]

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tidemill_testkit::simulation::{faults::EventCounts, run::run};

#[derive(Default)]
struct Progress {
    next: AtomicU64,
    runs: AtomicU64,
    executions: AtomicU64,
    events: AtomicU64,
    broken: AtomicBool,
    done: AtomicBool,
}

fn argument(position: usize, default: u64) -> Result<u64, String> {
    std::env::args().nth(position).map_or(Ok(default), |text| {
        text.parse().map_err(|_| format!("invalid number `{text}`; usage: simulate [SEEDS [SEED_START]]"))
    })
}

fn main() -> ExitCode {
    let (seeds, start) = match (argument(1, 1_000), argument(2, 1)) {
        (Ok(seeds), Ok(start)) => (seeds, start),
        (Err(message), _) | (_, Err(message)) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let loud = std::env::var_os("TRACE").is_some_and(|value| value != "0" && !value.is_empty());
    let progress = Progress { next: AtomicU64::new(start), ..Progress::default() };
    let tally = Arc::new(EventCounts::default());
    let started = Instant::now();
    let cores = if loud { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| scope.spawn(|| work(&progress, start.saturating_add(seeds), loud, &tally)))
            .collect();
        scope.spawn(|| report_progress(&progress, seeds, started));
        for worker in workers {
            // A panic of the code under test is a violation.
            if worker.join().is_err() {
                progress.broken.store(true, Ordering::Relaxed);
            }
        }
        progress.done.store(true, Ordering::Relaxed);
    });
    let took = started.elapsed().as_secs_f64();
    let (runs, executions) =
        (progress.runs.load(Ordering::Relaxed), progress.executions.load(Ordering::Relaxed));
    println!(
        "{runs} runs from seed {start}, {executions} executions, {} events in {took:.1} s ({} executions/s)",
        progress.events.load(Ordering::Relaxed),
        executions * 1_000 / u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    );
    println!("events: {}", tally.to_string().trim_end_matches(", "));
    if progress.broken.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    println!("all promises hold");
    ExitCode::SUCCESS
}

fn work(progress: &Progress, end: u64, loud: bool, tally: &Arc<EventCounts>) {
    while !progress.broken.load(Ordering::Relaxed) {
        let seed = progress.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let outcome = run(seed, loud, tally);
        progress.runs.fetch_add(1, Ordering::Relaxed);
        progress.executions.fetch_add(outcome.executions, Ordering::Relaxed);
        progress.events.fetch_add(outcome.events, Ordering::Relaxed);
        if let Some((message, last)) = outcome.violation {
            progress.broken.store(true, Ordering::Relaxed);
            println!("seed {seed}: {message}\nlast events:\n{}", last.join("\n"));
            println!("to print all events: TRACE=1 make sim SEEDS=1 SEED_START={seed}");
        }
    }
}

fn report_progress(progress: &Progress, seeds: u64, started: Instant) {
    let mut last_report = Instant::now();
    while !progress.done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        if last_report.elapsed() > Duration::from_secs(10) {
            last_report = Instant::now();
            let runs = progress.runs.load(Ordering::Relaxed);
            println!("{runs} of {seeds} runs after {:.0} s", started.elapsed().as_secs_f64());
        }
    }
}
