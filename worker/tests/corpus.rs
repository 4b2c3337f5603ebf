//! Replays the fuzzers' corpora without a fuzzer.

use crate::replay::replay;

#[test]
fn artifact_corpus_passes() {
    replay("artifact", tidemill_worker::fuzzing::artifact);
}

#[test]
fn junit_corpus_passes() {
    replay("junit", tidemill_worker::fuzzing::junit);
}

#[test]
fn discovery_corpus_passes() {
    replay("discovery", tidemill_worker::fuzzing::discovery);
}
