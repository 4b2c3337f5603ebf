//! Any bytes are read as a test report, or said to be none.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_worker::fuzzing::junit(bytes));
