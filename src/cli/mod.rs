//! The command line: what it accepts, and which exit code comes of it. Each subcommand is a file.

mod compact;
mod load;
mod log;
mod serve;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{compact::Compact, load::Load, serve::Serve, verify::Verify};

/// Does what the command line asks.
///
/// The exit code is 0 when it is done and 1 when it failed, with the reason on standard error. A wrong command line ends
/// the process here, with its usage and exit code 2.
pub fn run() -> ExitCode {
    let Arguments { command, serve } = Arguments::parse();
    let command = command.unwrap_or(Command::Serve(serve));
    let checked = match &command {
        Command::Serve(serve) => serve.check(),
        Command::Load(load) => load.check(),
        Command::Compact(_) | Command::Verify(_) => Ok(()),
    };
    if let Err(refusal) = checked {
        Arguments::command().error(clap::error::ErrorKind::ValueValidation, refusal).exit();
    }
    raise_open_files();
    let done = match command {
        Command::Serve(serve) => serve.run(),
        Command::Load(load) => load.run(),
        Command::Compact(compact) => compact.run(),
        Command::Verify(verify) => verify.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keybook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the command's output")]
fn print(text: &str) {
    println!("{text}");
}

/// Lets the process have as many open files as it may: a socket is one, and the usual limit is 1024 unless one asks.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        eprintln!("keybook: the limit of open files stays as it is: {error}");
    }
}

/// A shared dictionary that many people and programs edit at once, online or off.
#[derive(Parser)]
#[command(name = "keybook", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the dictionaries of a folder; this is what runs when no command is named
    Serve(Serve),
    /// Load a server, and print what it does: writes and deliveries a second, and the times that they take
    Load(Load),
    /// Read all that a data folder holds, and say whether it is what was written; changes nothing
    Verify(Verify),
    /// Make a data file as short as it can be
    Compact(Compact),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serve_is_what_runs_when_nothing_is_named() {
        for line in [&["keybook", "--listen", "127.0.0.1:0"][..], &["keybook", "serve", "--listen", "127.0.0.1:0"]] {
            let Arguments { command, serve } = Arguments::parse_from(line);
            let Command::Serve(serve) = command.unwrap_or(Command::Serve(serve)) else { panic!("{line:?}") };
            assert_eq!(serve.listen.to_string(), "127.0.0.1:0", "{line:?}");
        }
    }
}
