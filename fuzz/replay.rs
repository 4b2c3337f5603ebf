//! Replays the fuzzers' corpora without a fuzzer; included in tests as a module.

use std::{fs, path::Path};

/// Passes each file of the corpus of `target` to `check`, which panics when a property is violated.
pub fn replay(target: &str, check: fn(&[u8])) {
    let ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let corpus = ancestors.map(|dir| dir.join("fuzz/corpus").join(target)).find(|dir| dir.is_dir()).unwrap();
    let mut inputs: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    for input in inputs {
        // Shown only when the check panics.
        println!("{}", input.display());
        check(&fs::read(&input).unwrap());
    }
}
