//! Nothing is written outside of the place that an artifact is unpacked in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_worker::fuzzing::artifact(bytes));
