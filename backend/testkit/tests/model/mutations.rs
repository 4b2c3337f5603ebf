//! Removes each guard in turn: a promise must break, or the guard is useless.

use super::{
    cases::{CHAIN, Case, DIAMOND, NO_FAULTS},
    fan, liveness,
    promise::Promise,
    state::FaultBudget,
    walk,
};
use stateright::{Checker, HasDiscoveries, Model};
use std::{collections::BTreeMap, fmt::Write as _, path::Path};
use tidemill_core::scheduler::guard::{Guard, remove};

/// Cases in the order of size.
const CASES_BY_SIZE: &[Case] = &[
    case("chain, no faults", CHAIN, 1, NO_FAULTS),
    case("chain, lost operation", CHAIN, 1, FaultBudget { operation_crashes: 1, ..NO_FAULTS }),
    case("chain, cut off", CHAIN, 1, FaultBudget { disconnects: 1, heartbeats: 1, ..NO_FAULTS }),
    case("chain, failure", CHAIN, 1, FaultBudget { failures: 1, ..NO_FAULTS }),
    case("chain, given up", CHAIN, 1, FaultBudget { dead_letters: 1, ..NO_FAULTS }),
    case(
        "chain, canceled",
        CHAIN,
        1,
        FaultBudget { cancels: 1, operation_crashes: 1, failures: 1, ..NO_FAULTS },
    ),
    case("diamond, failure", DIAMOND, 1, FaultBudget { failures: 1, ..NO_FAULTS }),
    case("chain, requested twice at once", CHAIN, 2, FaultBudget { executes: 2, ..NO_FAULTS }),
    case("chain, two at once", CHAIN, 2, NO_FAULTS),
    case("chain, two at once, lost worker", CHAIN, 2, FaultBudget { worker_crashes: 1, ..NO_FAULTS }),
    case("chain, two at once, canceled", CHAIN, 2, FaultBudget { cancels: 1, ..NO_FAULTS }),
    case("chain, two at once, cut off", CHAIN, 2, FaultBudget { disconnects: 1, heartbeats: 1, ..NO_FAULTS }),
    case("diamond, two at once", DIAMOND, 2, NO_FAULTS),
    case("chain, two at once, two lost workers", CHAIN, 2, FaultBudget { worker_crashes: 2, ..NO_FAULTS }),
];

const fn case(name: &'static str, file: &'static str, at_once: usize, budget: FaultBudget) -> Case {
    Case { name, file, budget, max_operations: at_once, check_liveness: true }
}

/// Returns what breaks without a guard: the promise, the case, and the number of steps.
fn violation_without(guard: Guard) -> Option<(String, &'static str, usize)> {
    remove(Some(guard));
    let violation = find_violation();
    remove(None);
    violation
}

fn find_violation() -> Option<(String, &'static str, usize)> {
    if let Some((promise, length)) = walk::first_violation() {
        return Some((promise.description().to_owned(), "the state machine alone", length as usize));
    }
    if let Some((promise, length)) = fan::first_violation() {
        return Some((promise.description().to_owned(), "a job that many need", length));
    }
    for case in CASES_BY_SIZE {
        let checker = case.model().checker().finish_when(HasDiscoveries::Any).spawn_bfs().join();
        if let Some((promise, path)) = checker.discoveries().into_iter().next() {
            return Some((promise.to_owned(), case.name, path.into_actions().len()));
        }
        if let Some(path) = liveness::explore(&case.model()).stuck {
            return Some((Promise::Ends.description().to_owned(), case.name, path.len()));
        }
    }
    None
}

/// Checks that the table in the documentation matches the results; `UPDATE_MODEL=1` writes it.
pub fn check_table() {
    let mut rows = BTreeMap::new();
    for guard in Guard::PROTOCOL {
        let started = std::time::Instant::now();
        let violation = violation_without(guard);
        println!("{guard:?}: {violation:?} in {:.1?}", started.elapsed());
        rows.insert(guard, violation);
    }
    let missed: Vec<Guard> =
        rows.iter().filter(|(_, violation)| violation.is_none()).map(|(guard, _)| *guard).collect();
    assert!(missed.is_empty(), "no check detects the removal of {missed:?}");
    let mut table = String::from("| without | breaks | found in | steps |\n| --- | --- | --- | --- |\n");
    for (guard, violation) in &rows {
        let Some((promise, case, steps)) = violation else { continue };
        let _ = writeln!(table, "| `{guard:?}` | {promise} | {case} | {steps} |");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("<!-- mutations -->\n").unwrap();
    let (old, tail) = rest.split_once("<!-- end of mutations -->").unwrap();
    if std::env::var_os("UPDATE_MODEL").is_some() {
        let new = format!("{head}<!-- mutations -->\n{table}<!-- end of mutations -->{tail}");
        std::fs::write(&path, new).unwrap();
    } else {
        assert_eq!(old, table, "docs/reliability.md is outdated; run this test with UPDATE_MODEL=1");
    }
}
