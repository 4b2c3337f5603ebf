//! No body of a webhook is believed without its signature, or read into anything unbounded.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_core::fuzzing::webhook(bytes));
