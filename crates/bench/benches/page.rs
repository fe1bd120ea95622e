//! The page in Chromium. `cargo bench -p keybook-bench --bench page` after `scripts/setup.sh test` and `scripts/build.sh`;
//! `-- 20` for 20 edits, which prints and writes no page.
//!
//! What is measured, and how, is in `end2end/page.bench.mjs`.

use std::io;

use keybook_bench::script;

fn main() -> io::Result<()> {
    script::run("Page", "page")
}
