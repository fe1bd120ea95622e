//! The `keybook` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    keybook::cli::run()
}
