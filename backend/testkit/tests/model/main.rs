//! Checks the protocol exhaustively for small pipelines, with the scheduler's production code.
//!
//! `TIDEMILL_MODEL=full` also checks the large cases, which need a release build: `make model`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, clippy::print_stdout)]

mod cases;
mod contract;
mod fan;
mod judge;
mod liveness;
mod mutations;
mod operation;
mod promise;
mod protocol;
mod records;
mod state;
mod walk;

use cases::{Case, LARGE_CASES, SMALL};
use stateright::{Checker, Model};
use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

/// A guard is removed for the whole process: tests that need all guards hold this lock for reading.
static GUARDS_LOCK: RwLock<()> = RwLock::new(());

fn all_guards() -> RwLockReadGuard<'static, ()> {
    GUARDS_LOCK.read().unwrap_or_else(PoisonError::into_inner)
}

/// Checks all states of a case, and prints their number.
fn check(case: &Case) {
    let started = Instant::now();
    let checked = case.model().checker().threads(2).spawn_bfs().join();
    let violations: Vec<_> =
        checked.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    assert!(violations.is_empty(), "{}: {violations:#?}", case.name);
    let states = checked.unique_state_count();
    let safe = started.elapsed();
    if !case.check_liveness {
        println!("{}: {states} states in {safe:.1?}: no violation", case.name);
        return;
    }
    let liveness_result = liveness::explore(&case.model());
    assert_eq!(liveness_result.states, states, "{}: both explorations must reach the same states", case.name);
    assert!(
        liveness_result.stuck.is_none(),
        "{}: no end is reachable after {:#?}",
        case.name,
        liveness_result.stuck
    );
    let (transitions, all) = (liveness_result.transitions, started.elapsed());
    println!(
        "{}: {states} states, {transitions} transitions in {all:.1?}: no violation, and every execution ends",
        case.name
    );
}

#[test]
fn invariants_hold_in_all_states() {
    let _all = all_guards();
    for case in SMALL {
        check(case);
    }
}

#[test]
fn invariants_hold_in_large_cases() {
    if std::env::var_os("TIDEMILL_MODEL").is_none_or(|value| value != "full") {
        println!("skipped: run `make model`, which uses a release build");
        return;
    }
    let _all = all_guards();
    for case in LARGE_CASES {
        check(case);
    }
}

#[test]
fn job_state_machine_keeps_invariants() {
    let _all = all_guards();
    assert_eq!(walk::first_violation(), None);
}

#[test]
fn job_notifies_each_dependent_once() {
    let _all = all_guards();
    assert_eq!(fan::first_violation(), None);
}

#[test]
fn model_records_match_conformant_stores() {
    let _all = all_guards();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut committed, mut conflicts) = (0, 0);
    for seed in 0..500 {
        let (new_committed, new_conflicts) = runtime.block_on(contract::compare(seed));
        (committed, conflicts) = (committed + new_committed, conflicts + new_conflicts);
    }
    assert!(committed > 5_000 && conflicts > 2_000, "{committed} batches committed, {conflicts} conflicts");
}

#[test]
fn removing_any_guard_breaks_an_invariant() {
    let _alone = GUARDS_LOCK.write().unwrap_or_else(PoisonError::into_inner);
    mutations::check_table();
}
