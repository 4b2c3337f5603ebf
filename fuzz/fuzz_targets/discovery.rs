//! Any bytes are read as what git prints of a commit, and as its pipeline files with their includes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_worker::fuzzing::discovery(bytes));
