//! Benchmarks that are scripts for Node, since only a script in a page sees what happens there.

use std::{
    env, io,
    path::Path,
    process::{Command, Stdio},
};

use crate::report;

/// Runs `end2end/{bench}.bench.mjs` with the arguments of this program, prints what it prints, and makes that the section
/// `name`; a run with arguments is a trial, and writes nothing.
///
/// # Errors
/// When Node cannot be started, the script fails, or the page cannot be written.
#[allow(clippy::print_stdout, reason = "a benchmark's output")]
pub fn run(name: &str, bench: &str) -> io::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../end2end/{bench}.bench.mjs"));
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let output = Command::new("node").arg(&script).args(&arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{}: {}", script.display(), output.status)));
    }
    let body = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    println!("{body}");
    if arguments.is_empty() {
        let path = report::write_section(name, &format!("cargo bench -p keybook-bench --bench {bench}"), &body)?;
        println!("written to {}", path.display());
    }
    Ok(())
}
