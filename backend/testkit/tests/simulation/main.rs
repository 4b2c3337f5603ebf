//! Runs of the simulation with fixed seeds, with fresh seeds, and without each guard.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, clippy::print_stdout)]

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex},
};
use tidemill_core::scheduler::guard::{Guard, remove};
use tidemill_testkit::simulation::{faults::EventCounts, run::run};

/// Maximum runs until a missing guard is detected.
const MAX_SEEDS: u64 = 1_000;
/// Guards whose removal the simulation does not detect. The services check before the first two, so that these reject nothing.
/// The third matters only if a worker dies just after a report that came between two reads of one sweep; the fourth, if a server
/// dies between two batches of one arrival, and few pipelines are so wide. The others limit counts and durations, which the
/// auditor does not check. The model detects all of them.
const UNREACHED_GUARDS: [Guard; 8] = [
    Guard::ReleaseOnlyPending,
    Guard::ExpireOnlyPastExpiry,
    Guard::RunningStaysDue,
    Guard::PartlyNotifiedStaysDue,
    Guard::CanceledRenewalIsLimited,
    Guard::CancelShortensLease,
    Guard::LossesAreLimited,
    Guard::RetriesAreLimited,
];

fn check(seeds: impl IntoIterator<Item = u64>) {
    let _alone = EXCLUSIVE.lock();
    let tally = Arc::new(EventCounts::default());
    let (mut runs, mut executions) = (0, 0);
    for seed in seeds {
        let outcome = run(seed, false, &tally);
        if let Some((message, last)) = outcome.violation {
            panic!("seed {seed}: {message}\n{}\nTRACE=1 SEEDS=1 SEED_START={seed} make sim", last.join("\n"));
        }
        runs += 1;
        executions += outcome.executions;
    }
    println!("{runs} runs, {executions} executions; {tally}");
    assert!(executions >= runs, "each run has at least one execution");
}

/// A guard is removed for the whole process, so tests run one at a time.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

/// The promises that break without the guards of scheduling, by number.
const PROMISES: [(u32, &str); 9] = [
    (3, "an attempt starts only when its needs hold"),
    (4, "every execution ends"),
    (11, "no job runs before its approval, and only an execution that lacks one is canceled for that"),
    (12, "executions of a group run one after another, in the order of creation"),
    (13, "a job is assigned only to a worker with its labels"),
    (14, "an execution over its timeout fails, in time"),
    (15, "a job runs, or is skipped, as its `when` requires"),
    (16, "each time of a schedule starts one execution"),
    (17, "no more jobs of a group have a place than its limit allows"),
];

/// Seeds that detect missing guards, tried first: without them, two guards take a minute each. When the simulation changes, replace
/// those that detect nothing any more by what the tests print.
const KNOWN_SEEDS: [u64; 14] = [1, 6, 7, 25, 31, 40, 49, 50, 71, 80, 108, 488, 762, 1291];

/// Returns the first violation without a guard.
fn violation_without(guard: Guard, tally: &Arc<EventCounts>) -> Option<String> {
    let started = std::time::Instant::now();
    remove(Some(guard));
    let violation = KNOWN_SEEDS
        .into_iter()
        .chain(1..=MAX_SEEDS)
        .find_map(|seed| Some((seed, run(seed, false, tally).violation?.0)));
    remove(None);
    let (seed, message) = violation?;
    println!("{guard:?}: seed {seed}: {message} ({:.1?})", started.elapsed());
    Some(message)
}

#[test]
fn removing_any_guard_is_detected() {
    let _alone = EXCLUSIVE.lock();
    let tally = Arc::new(EventCounts::default());
    let guards = Guard::PROTOCOL.into_iter().filter(|guard| !UNREACHED_GUARDS.contains(guard));
    let missed: Vec<Guard> = guards.filter(|guard| violation_without(*guard, &tally).is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// The table in the documentation matches the results; `UPDATE_MODEL=1` writes it.
#[test]
fn removing_any_scheduling_guard_breaks_its_promise() {
    let _alone = EXCLUSIVE.lock();
    let tally = Arc::new(EventCounts::default());
    let mut missed = Vec::new();
    let mut table = String::from("| without | breaks |\n| --- | --- |\n");
    for guard in Guard::SCHEDULING {
        let message = violation_without(guard, &tally).unwrap_or_default();
        let number: Option<u32> = message.split([':', ',']).next().and_then(|number| number.parse().ok());
        match PROMISES.iter().find(|(promise, _)| Some(*promise) == number) {
            Some((number, promise)) => writeln!(table, "| `{guard:?}` | {number}. {promise} |").unwrap(),
            None => missed.push((guard, message)),
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("<!-- scheduling -->\n").unwrap();
    let (old, tail) = rest.split_once("<!-- end of scheduling -->").unwrap();
    if std::env::var_os("UPDATE_MODEL").is_some() {
        let new = format!("{head}<!-- scheduling -->\n{table}<!-- end of scheduling -->{tail}");
        std::fs::write(&path, new).unwrap();
    } else {
        assert_eq!(old, table, "docs/reliability.md is outdated; run this test with UPDATE_MODEL=1");
    }
}

#[test]
fn fixed_seeds_keep_promises() {
    check(1..=400);
}

#[test]
fn fresh_seeds_keep_promises() {
    let first = u64::from(uuid::Uuid::new_v4().as_fields().0) << 8;
    println!("seeds {first} to {}", first + 99);
    check(first..first + 100);
}

#[test]
fn run_is_reproducible_from_seed() {
    let _alone = EXCLUSIVE.lock();
    for seed in 1..=20 {
        let tally = Arc::new(EventCounts::default());
        let (one, other) = (run(seed, false, &tally), run(seed, false, &tally));
        assert_eq!((one.hash, one.events), (other.hash, other.events), "seed {seed}");
        assert!(one.events > 10, "seed {seed} did nothing");
    }
}
