//! Any bytes to all decoders: none panics, what decodes survives the way, and none takes much more memory than it was sent.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

mod memory;

use support::fuzzed::{decode, message};

/// An entry of a snapshot may take 9 bytes, and about 900 in memory: nearly all of a key of 512 bytes is the one before's.
const BYTES_PER_BYTE_MAX: usize = 200;
/// Error messages, and the first steps of lists.
const BYTES_MIN: usize = 16 * 1024;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let message = message(bytes);
    let taken = memory::peak_of(|| decode(&message));
    let limit = BYTES_MIN + BYTES_PER_BYTE_MAX * message.len();
    assert!(taken <= limit, "{} bytes made it take {taken}, limit is {limit}", message.len());
});
