//! Any text is answered, and what is accepted can be planned.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_core::fuzzing::pipeline(bytes));
