//! The fuzzers' kept inputs, replayed without a fuzzer.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

/// Gives each kept input of `target` to `check`, which panics when what must hold of it does not.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    for input in inputs {
        // Shown only when the check panics.
        println!("{}", input.display());
        check(&fs::read(&input).unwrap());
    }
}

#[test]
fn the_kept_inputs_of_artifact_hold() {
    replay("artifact", tidemill_worker::fuzzing::artifact);
}
