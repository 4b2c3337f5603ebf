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
mod protocol;
mod records;
mod state;
mod walk;

use cases::{Case, LARGE, SMALL};
use stateright::{Checker, Model};
use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

/// What is taken out is taken out of the whole process: the tests that want all guards hold this for reading.
static GUARDS: RwLock<()> = RwLock::new(());

fn all_guards() -> RwLockReadGuard<'static, ()> {
    GUARDS.read().unwrap_or_else(PoisonError::into_inner)
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
fn every_promise_holds_in_every_state_and_every_execution_ends() {
    let _all = all_guards();
    for case in SMALL {
        check(case);
    }
}

#[test]
fn every_promise_holds_in_every_state_of_the_large_cases() {
    if std::env::var_os("TIDEMILL_MODEL").is_none_or(|wanted| wanted != "full") {
        println!("skipped: `make model` checks these, in a release build");
        return;
    }
    let _all = all_guards();
    for case in LARGE {
        check(case);
    }
}

#[test]
fn the_state_machine_alone_keeps_its_promises() {
    let _all = all_guards();
    assert_eq!(walk::first_broken(), None);
}

#[test]
fn a_job_that_many_need_tells_each_of_them_once() {
    let _all = all_guards();
    assert_eq!(fan::first_broken(), None);
}

#[test]
fn the_models_records_come_to_the_same_as_stores_that_keep_the_contract() {
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
fn without_any_one_guard_a_promise_breaks() {
    let _alone = GUARDS.write().unwrap_or_else(PoisonError::into_inner);
    mutations::check_table();
}
