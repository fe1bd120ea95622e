//! Any bytes to all decoders: none panics, what decodes survives the way, and none takes much more memory than it was sent.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

mod memory;

use support::fuzzed::{decode, message};

/// A snapshot's key may take 3 bytes and have 512; everything else is far below.
const BYTES_PER_BYTE_MAX: usize = 400;
/// Error messages, and the first steps of lists.
const BYTES_MIN: usize = 16 * 1024;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let message = message(bytes);
    let taken = memory::peak_of(|| decode(&message));
    let limit = BYTES_MIN + BYTES_PER_BYTE_MAX * message.len();
    assert!(taken <= limit, "{} bytes made it take {taken}, limit is {limit}", message.len());
});
