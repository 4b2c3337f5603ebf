//! The fuzzers' kept inputs, replayed without a fuzzer.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn the_kept_inputs_of_artifact_hold() {
    replay("artifact", tidemill_worker::fuzzing::artifact);
}

#[test]
fn the_kept_inputs_of_junit_hold() {
    replay("junit", tidemill_worker::fuzzing::junit);
}

#[test]
fn kept_inputs_of_discovery_hold() {
    replay("discovery", tidemill_worker::fuzzing::discovery);
}
