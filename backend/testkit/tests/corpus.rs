//! Replays the stored inputs of the fuzzers.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn stored_inputs_of_api_hold() {
    replay("api", tidemill_testkit::fuzzing::api);
}

#[test]
fn stored_inputs_of_log_hold() {
    replay("log", tidemill_testkit::fuzzing::log);
}
