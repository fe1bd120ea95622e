//! The page in Chromium. `cargo bench -p keybook-bench --bench page` after `scripts/setup.sh test` and `scripts/build.sh`;
//! `-- 20` for 20 edits, which prints and writes no page.
//!
//! What is measured, and how, is in `end2end/page.bench.mjs`: only a script in the page sees its frames.
#![allow(clippy::print_stdout, reason = "a benchmark's output")]

use std::{
    env,
    process::{Command, Stdio},
};

use keybook_bench::report;

const COMMAND: &str = "cargo bench -p keybook-bench --bench page";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../end2end/page.bench.mjs");

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut node = Command::new("node");
    let output = node.arg(SCRIPT).args(&arguments).stderr(Stdio::inherit()).output().expect("node can be started");
    assert!(output.status.success(), "{SCRIPT}: {}", output.status);
    let body = String::from_utf8(output.stdout).expect("the script prints text");
    println!("{body}");
    if arguments.is_empty() {
        let path = report::write_section("Page", COMMAND, &body).expect("docs/ can be written");
        println!("written to {}", path.display());
    }
}
