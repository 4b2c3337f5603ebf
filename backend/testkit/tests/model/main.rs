//! The protocol, checked exhaustively for small pipelines: the functions that decide are those that run in production.
//!
//! `TIDEMILL_MODEL=full` checks the large cases too, which want a release build: `make model`.
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

/// What is taken out is taken out of the whole process: the tests that want all guards hold this for reading.
static GUARDS_LOCK: RwLock<()> = RwLock::new(());

fn all_guards() -> RwLockReadGuard<'static, ()> {
    GUARDS_LOCK.read().unwrap_or_else(PoisonError::into_inner)
}

/// Checks a case wholly, and says how large it is.
fn check(case: &Case) {
    let begun = Instant::now();
    let checked = case.model().checker().threads(2).spawn_bfs().join();
    let found: Vec<_> =
        checked.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    assert!(found.is_empty(), "{}: {found:#?}", case.name);
    let states = checked.unique_state_count();
    let safe = begun.elapsed();
    if !case.ends {
        println!("{}: {states} states in {safe:.1?}: safe", case.name);
        return;
    }
    let live = liveness::explore(&case.model());
    assert_eq!(live.states, states, "{}: both explore the same", case.name);
    assert!(live.stuck.is_none(), "{}: no way to an end after {:#?}", case.name, live.stuck);
    let (transitions, all) = (live.transitions, begun.elapsed());
    println!("{}: {states} states, {transitions} transitions in {all:.1?}: safe, and ends", case.name);
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
    if std::env::var_os("TIDEMILL_MODEL").is_none_or(|wanted| wanted != "full") {
        println!("skipped: `make model` checks these, in a release build");
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
    assert_eq!(walk::first_broken(), None);
}

#[test]
fn job_notifies_each_dependent_once() {
    let _all = all_guards();
    assert_eq!(fan::first_broken(), None);
}

#[test]
fn model_records_match_conformant_stores() {
    let _all = all_guards();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut done, mut refused) = (0, 0);
    for seed in 0..500 {
        let (more_done, more_refused) = runtime.block_on(contract::compare(seed));
        (done, refused) = (done + more_done, refused + more_refused);
    }
    assert!(done > 5_000 && refused > 2_000, "{done} batches were made, {refused} refused");
}

#[test]
fn removing_any_guard_breaks_an_invariant() {
    let _alone = GUARDS_LOCK.write().unwrap_or_else(PoisonError::into_inner);
    mutations::check_table();
}
