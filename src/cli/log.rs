//! What is logged, and where: the directives of `RUST_LOG` on standard error.
//!
//! They change what the default says, and do not replace it. So a wrong one silences nothing: where it cannot be read, and where it
//! can be, but names a level that does not exist, which stands for a module of that name.

use std::{env, io, io::IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter,
    filter::{Directive, ParseError},
};

const VARIABLE: &str = "RUST_LOG";
const DEFAULT: &str = "info";

/// Logs from now on.
pub(super) fn start() {
    let directives = env::var_os(VARIABLE).unwrap_or_default();
    let (filter, doubts) = filter(&directives.to_string_lossy());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    // Whatever the directives let through.
    for doubt in doubts {
        eprintln!("keybook: {VARIABLE}: {doubt}");
    }
}

/// What the directives ask for, and what is wrong with them.
fn filter(directives: &str) -> (EnvFilter, Vec<String>) {
    // Of two that say the same thing the later one counts.
    let all = EnvFilter::try_new(format!("{DEFAULT},{directives}"));
    // A comma may also stand within a directive; then all of them could be read.
    let each = directives.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let doubt = |directive: &str| {
        let parsed: Result<Directive, ParseError> = directive.parse();
        match parsed {
            Err(error) if all.is_err() => Some(format!("{directive:?} is left out: {error}")),
            Ok(_) if is_word(directive) && directive.parse::<LevelFilter>().is_err() => {
                Some(format!("{directive:?} is no level, and stands for a module of that name"))
            }
            _ => None,
        }
    };
    let doubts = each.clone().filter_map(doubt).collect();
    let filter = all.unwrap_or_else(|_| {
        let good = each.filter_map(|directive| directive.parse().ok());
        good.fold(EnvFilter::new(DEFAULT), EnvFilter::add_directive)
    });
    (filter, doubts)
}

/// Whether a directive is a single word: a level, or a module at the top.
fn is_word(directive: &str) -> bool {
    directive.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RUST_LOG=inf` was a module that does not exist, and a server that says nothing.
    #[test]
    fn no_directive_silences_by_mistake() {
        let check = |directives: &str, expected: &str, doubts: &[&str]| {
            let (filter, found) = filter(directives);
            let mut parts: Vec<_> = filter.to_string().split(',').map(str::to_owned).collect();
            parts.sort();
            assert_eq!(parts.join(","), expected, "{directives:?}");
            let begins = |(found, doubt): (&String, &&str)| found.starts_with(doubt);
            assert!(found.len() == doubts.len() && found.iter().zip(doubts).all(begins), "{directives:?}: {found:?}");
        };
        check("", "info", &[]);
        check("warn", "warn", &[]);
        check("WARN,", "warn", &[]);
        check("off", "off", &[]);
        check("keybook_server=debug, hyper=off", "hyper=off,info,keybook_server=debug", &[]);
        check("inf", "inf=trace,info", &[r#""inf" is no level, and stands for a module of that name"#]);
        check("keybook_server=lots,debug", "debug", &[r#""keybook_server=lots" is left out: "#]);
        check("info=[", "info", &[r#""info=[" is left out: "#]);
    }
}
