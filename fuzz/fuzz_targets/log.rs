//! A log unpacks to what it names, or not at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_testkit::fuzzing::log(bytes));
