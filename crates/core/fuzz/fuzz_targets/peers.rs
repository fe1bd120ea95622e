//! Two clients and a server, in whose world the bytes decide what happens: they come to equality, and nothing is lost.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::fuzzed::peers(bytes));
