//! What the server thinks an address names is what git contacts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidemill_core::fuzzing::repository_address(bytes));
