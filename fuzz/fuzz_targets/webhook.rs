//! A body is believed with its signature only, and says no more than it holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_backend::fuzzing::webhook(bytes));
