//! What the device keeps, in Chromium. `cargo bench -p keybook-bench --bench device` after `scripts/setup.sh test` and
//! `scripts/build.sh`; `-- 20` for 20 edits, which prints and writes no page.
//!
//! What is measured, and how, is in `end2end/device.bench.mjs`.

use std::io;

use keybook_bench::script;

fn main() -> io::Result<()> {
    script::run("Device", "device")
}
