//! No request makes the API fail.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_testkit::fuzzing::api(bytes));
