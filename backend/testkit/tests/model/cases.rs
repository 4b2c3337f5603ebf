//! The cases: small pipelines and their faults.

use super::{protocol::Protocol, state::FaultBudget};

/// Two jobs, and one that needs both. One of them is retried.
pub const DIAMOND: &str = "
name: m
jobs:
  a: { image: i, script: x, needs: [], retry: 1 }
  b: { image: i, script: x, needs: [] }
  c: { image: i, script: x, needs: [a, b] }
";
/// A gate between two stages, and a tolerated failure.
pub const STAGES: &str = "
name: m
stages: [one, two]
jobs:
  a: { stage: one, image: i, script: x, allow_failure: true }
  b: { stage: one, image: i, script: x }
  c: { stage: two, image: i, script: x }
";
/// Two jobs, one after another.
pub const CHAIN: &str = "
name: m
jobs:
  a: { image: i, script: x, needs: [], retry: 1 }
  b: { image: i, script: x, needs: [a] }
";
/// An `on_failure` job and an `always` job.
pub const CONDITIONAL_JOBS: &str = "
name: m
jobs:
  a: { image: i, script: x, needs: [] }
  b: { image: i, script: x, needs: [a], when: on_failure }
  c: { image: i, script: x, needs: [a, b], when: always }
";

/// A case to check.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub file: &'static str,
    pub budget: FaultBudget,
    /// Maximum concurrent operations.
    pub max_operations: usize,
    /// Whether to check also that every execution ends.
    pub check_liveness: bool,
}

impl Case {
    pub fn model(&self) -> Protocol {
        Protocol::new(self.file, self.budget, self.max_operations)
    }
}

/// No faults.
pub const NO_FAULTS: FaultBudget = FaultBudget {
    worker_crashes: 0,
    disconnects: 0,
    operation_crashes: 0,
    failures: 0,
    give_backs: 0,
    dead_letters: 0,
    cancels: 0,
    cancel_job: 0,
    executes: 0,
    heartbeats: 0,
};

const fn case(name: &'static str, file: &'static str, at_once: usize, budget: FaultBudget) -> Case {
    Case { name, file, budget, max_operations: at_once, check_liveness: true }
}

/// Cases that every test run checks.
pub const SMALL: &[Case] = &[
    case(
        "diamond, lost workers and operations",
        DIAMOND,
        1,
        FaultBudget { worker_crashes: 1, operation_crashes: 1, ..NO_FAULTS },
    ),
    case("diamond, cut off", DIAMOND, 1, FaultBudget { disconnects: 1, heartbeats: 1, ..NO_FAULTS }),
    case("diamond, failures", DIAMOND, 1, FaultBudget { failures: 2, give_backs: 1, ..NO_FAULTS }),
    case("diamond, canceled", DIAMOND, 1, FaultBudget { cancels: 1, operation_crashes: 1, ..NO_FAULTS }),
    case(
        "diamond, canceled, lost worker",
        DIAMOND,
        1,
        FaultBudget { cancels: 1, worker_crashes: 1, ..NO_FAULTS },
    ),
    case("diamond, canceled, cut off", DIAMOND, 1, FaultBudget { cancels: 1, disconnects: 1, ..NO_FAULTS }),
    case(
        "diamond, a job canceled, cut off",
        DIAMOND,
        1,
        FaultBudget { cancel_job: 1, disconnects: 1, ..NO_FAULTS },
    ),
    case(
        "diamond, a job canceled",
        DIAMOND,
        1,
        FaultBudget { cancel_job: 1, operation_crashes: 1, ..NO_FAULTS },
    ),
    case("diamond, given up", DIAMOND, 1, FaultBudget { dead_letters: 1, operation_crashes: 1, ..NO_FAULTS }),
    case("stages, failures", STAGES, 1, FaultBudget { failures: 2, operation_crashes: 1, ..NO_FAULTS }),
    case(
        "endings, failures",
        CONDITIONAL_JOBS,
        1,
        FaultBudget { failures: 2, operation_crashes: 1, ..NO_FAULTS },
    ),
    case(
        "endings, canceled",
        CONDITIONAL_JOBS,
        1,
        FaultBudget { failures: 1, cancels: 1, operation_crashes: 1, ..NO_FAULTS },
    ),
    case("endings, two at once", CONDITIONAL_JOBS, 2, FaultBudget { failures: 1, ..NO_FAULTS }),
    case("diamond, two at once", DIAMOND, 2, NO_FAULTS),
    case("chain, two at once, lost worker", CHAIN, 2, FaultBudget { worker_crashes: 1, ..NO_FAULTS }),
    case("chain, two at once, lost operation", CHAIN, 2, FaultBudget { operation_crashes: 1, ..NO_FAULTS }),
    case("chain, two at once, cut off", CHAIN, 2, FaultBudget { disconnects: 1, ..NO_FAULTS }),
    case("chain, two at once, canceled", CHAIN, 2, FaultBudget { cancels: 1, ..NO_FAULTS }),
    case("chain, requested twice at once", CHAIN, 2, FaultBudget { executes: 2, ..NO_FAULTS }),
];

/// Cases that `make model` checks.
pub const LARGE_CASES: &[Case] = &[
    case(
        "diamond, every fault",
        DIAMOND,
        1,
        FaultBudget {
            worker_crashes: 1,
            disconnects: 1,
            operation_crashes: 1,
            failures: 1,
            give_backs: 1,
            heartbeats: 1,
            ..NO_FAULTS
        },
    ),
    case(
        "diamond, canceled, lost worker and operation, failure",
        DIAMOND,
        1,
        FaultBudget { cancels: 1, worker_crashes: 1, operation_crashes: 1, failures: 1, ..NO_FAULTS },
    ),
    case("diamond, two at once, lost worker", DIAMOND, 2, FaultBudget { worker_crashes: 1, ..NO_FAULTS }),
    case(
        "diamond, two at once, lost operation",
        DIAMOND,
        2,
        FaultBudget { operation_crashes: 1, ..NO_FAULTS },
    ),
    case(
        "diamond, two at once, cut off",
        DIAMOND,
        2,
        FaultBudget { disconnects: 1, heartbeats: 1, ..NO_FAULTS },
    ),
    case("diamond, two at once, failures", DIAMOND, 2, FaultBudget { failures: 1, ..NO_FAULTS }),
    case("stages, two at once", STAGES, 2, FaultBudget { failures: 1, ..NO_FAULTS }),
    case("diamond, two at once, canceled", DIAMOND, 2, FaultBudget { cancels: 1, ..NO_FAULTS }),
    case(
        "chain, two at once, canceled, lost operation",
        CHAIN,
        2,
        FaultBudget { cancels: 1, operation_crashes: 1, ..NO_FAULTS },
    ),
    case(
        "chain, two at once, cut off and lost",
        CHAIN,
        2,
        FaultBudget { disconnects: 1, worker_crashes: 1, ..NO_FAULTS },
    ),
];
