//! Runs of the simulation: the same seeds each time, some fresh ones, and those that found something once.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, clippy::print_stdout)]

mod sim;

use sim::{faults::Tally, run::run};
use std::sync::{Arc, Mutex};
use tidemill_core::guard::{Guard, take_out};

/// In so many runs each missing guard is noticed.
const MOST_SEEDS: u64 = 1_000;
/// The first two are second lines: the services look before, so that they never come to what these refuse. Without the third, a
/// worker would have to die just after a report that came between two reads of one sweep; without the fourth, a server between
/// two batches of one end, and few pipelines are so wide. The others bound how often and how long, which the auditor does not
/// count. The model finds all of them.
const UNREACHED: [Guard; 8] = [
    Guard::ReleaseOnlyPending,
    Guard::ExpireOnlyRunOut,
    Guard::RunningStaysDue,
    Guard::HalfToldStaysDue,
    Guard::CanceledIsNotRenewed,
    Guard::CancelShortensLease,
    Guard::LossesEnd,
    Guard::RetriesEnd,
];

fn check(seeds: impl IntoIterator<Item = u64>) {
    let _alone = ALONE.lock();
    let tally = Arc::new(Tally::default());
    let (mut runs, mut executions) = (0, 0);
    for seed in seeds {
        let outcome = run(seed, false, &tally);
        if let Some((words, last)) = outcome.broken {
            panic!("seed {seed}: {words}\n{}\nTRACE=1 SEEDS=1 SEED_START={seed} make sim", last.join("\n"));
        }
        runs += 1;
        executions += outcome.executions;
    }
    println!("{runs} runs, {executions} executions; {tally}");
    assert!(executions >= runs, "each run has at least one execution");
}

/// What is taken out is taken out of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn without_any_one_guard_the_auditor_finds_something() {
    let _alone = ALONE.lock();
    let tally = Arc::new(Tally::default());
    let mut missed = Vec::new();
    for guard in Guard::ALL.into_iter().filter(|guard| !UNREACHED.contains(guard)) {
        take_out(Some(guard));
        let found = (1..=MOST_SEEDS).find_map(|seed| Some((seed, run(seed, false, &tally).broken?.0)));
        take_out(None);
        match found {
            Some((seed, words)) => println!("{guard:?}: seed {seed}: {words}"),
            None => missed.push(guard),
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn the_same_seeds_each_time() {
    check(1..=400);
}

#[test]
fn a_handful_of_fresh_seeds() {
    let first = u64::from(uuid::Uuid::new_v4().as_fields().0) << 8;
    println!("seeds {first} to {}", first + 99);
    check(first..first + 100);
}

#[test]
fn a_run_is_its_seed() {
    let _alone = ALONE.lock();
    for seed in 1..=20 {
        let tally = Arc::new(Tally::default());
        let (one, other) = (run(seed, false, &tally), run(seed, false, &tally));
        assert_eq!((one.hash, one.events), (other.hash, other.events), "seed {seed}");
        assert!(one.events > 10, "seed {seed} did nothing");
    }
}
