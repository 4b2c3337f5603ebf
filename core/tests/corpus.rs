//! The fuzzers' kept inputs, replayed without a fuzzer.

use crate::replay::replay;

#[test]
fn stored_inputs_of_pipeline_hold() {
    replay("pipeline", tidemill_core::fuzzing::pipeline);
}

#[test]
fn stored_inputs_of_webhook_hold() {
    replay("webhook", tidemill_core::fuzzing::webhook);
}

#[test]
fn stored_inputs_of_repository_address_hold() {
    replay("repository_address", tidemill_core::fuzzing::repository_address);
}
