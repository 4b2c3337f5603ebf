//! Runs the simulation for many seeds on all cores: `simulate [SEEDS [SEED_START]]`; with `TRACE=1` every event is printed.
//!
//! Ends with 1 when a promise was broken, and prints the seed that shows it.
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

fn number(at: usize, otherwise: u64) -> Result<u64, String> {
    std::env::args().nth(at).map_or(Ok(otherwise), |text| {
        text.parse().map_err(|_| format!("`{text}` is no number; usage: simulate [SEEDS [SEED_START]]"))
    })
}

fn main() -> ExitCode {
    let (seeds, start) = match (number(1, 1_000), number(2, 1)) {
        (Ok(seeds), Ok(start)) => (seeds, start),
        (Err(words), _) | (_, Err(words)) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    let loud = std::env::var_os("TRACE").is_some_and(|wanted| wanted != "0" && !wanted.is_empty());
    let progress = Progress { next: AtomicU64::new(start), ..Progress::default() };
    let tally = Arc::new(EventCounts::default());
    let begun = Instant::now();
    let cores = if loud { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| scope.spawn(|| work(&progress, start.saturating_add(seeds), loud, &tally)))
            .collect();
        scope.spawn(|| tell(&progress, seeds, begun));
        for worker in workers {
            // A panic of the code under test is a violation, too.
            if worker.join().is_err() {
                progress.broken.store(true, Ordering::Relaxed);
            }
        }
        progress.done.store(true, Ordering::Relaxed);
    });
    let took = begun.elapsed().as_secs_f64();
    let (runs, executions) =
        (progress.runs.load(Ordering::Relaxed), progress.executions.load(Ordering::Relaxed));
    println!(
        "{runs} runs from seed {start}, {executions} executions, {} events in {took:.1} s ({} executions/s)",
        progress.events.load(Ordering::Relaxed),
        executions * 1_000 / u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    );
    println!("it happened that: {}", tally.to_string().trim_end_matches(", "));
    if progress.broken.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    println!("no promise was broken");
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
        if let Some((words, last)) = outcome.broken {
            progress.broken.store(true, Ordering::Relaxed);
            println!("seed {seed}: {words}\nlast events:\n{}", last.join("\n"));
            println!("again, with all events: TRACE=1 make sim SEEDS=1 SEED_START={seed}");
        }
    }
}

fn tell(progress: &Progress, seeds: u64, begun: Instant) {
    let mut told = Instant::now();
    while !progress.done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            let runs = progress.runs.load(Ordering::Relaxed);
            println!("{runs} of {seeds} runs after {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
}
