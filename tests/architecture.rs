//! The rules of the house that a machine can check: who may import whom. Rules about files are in files.rs.
//!
//! The rules read source text, not types: an alias could hide from them. They are there against drift, not malice.

mod tree;

use std::{collections::BTreeSet, path::Path};

/// Code below `scope` must not name `module`, unless it is below one of `except`.
struct Rule {
    scope: &'static str,
    module: &'static str,
    except: &'static [&'static str],
}

const fn never(scope: &'static str, module: &'static str) -> Rule {
    Rule { scope, module, except: &[] }
}

const fn only(except: &'static [&'static str], module: &'static str) -> Rule {
    Rule { scope: "", module, except }
}

/// main → cli → pages → app → model → core; browser → model. Between packages Cargo draws the walls; here are those within
/// the root package, and what Cargo cannot say.
const RULES: &[Rule] = &[
    never("src/model", "app"),
    never("src/model", "browser"),
    never("src/model", "pages"),
    never("src/model", "cli"),
    never("src/model", "leptos"),
    never("src/model", "js_sys"),
    never("src/app", "browser"),
    never("src/app", "pages"),
    never("src/app", "cli"),
    never("src/browser", "app"),
    never("src/browser", "pages"),
    never("src/browser", "cli"),
    never("src/pages", "browser"),
    never("src/pages", "cli"),
    never("src/cli", "browser"),
    // What the server's side of the root package has of other packages.
    only(&["src/pages", "src/cli", "crates"], "keybook_server"),
    only(&["src/pages", "src/cli", "crates"], "keybook_store"),
    only(&["src/pages", "crates"], "axum"),
    only(&["src/cli", "crates"], "keybook_client"),
    // One place for each thing that could be exchanged.
    only(&["crates/store"], "redb"),
    only(&["src/browser"], "web_sys"),
    // Core is pure: time and files are arguments. What else it could wait for, it does not depend on.
    never("crates/core/src", "SystemTime"),
    never("crates/core/src", "Instant"),
    never("crates/core/src", "fs"),
    never("crates/core/src", "net"),
];

#[test]
fn imports_follow_the_arrows() {
    let sources: Vec<(String, String)> = tree::files()
        .into_iter()
        .filter(|path| path.ends_with(".rs") && path.contains("src/"))
        .map(|path| (path.clone(), tree::read(&path)))
        .collect();
    assert!(sources.iter().any(|(path, _)| path == "src/main.rs"), "the sources are found");
    let violations: Vec<String> = sources.iter().flat_map(|(path, source)| violations(path, source)).collect();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn a_planted_violation_is_found() {
    let check = |path: &str, source: &str, expected: bool| {
        let found = violations(path, source);
        assert_eq!(!found.is_empty(), expected, "{path}: {source}: {found:?}");
    };
    check("src/app/page.rs", "use crate::pages::PAGES;", true);
    check("src/app/page.rs", "use crate::{\n    model,\n    browser,\n};", true);
    check("src/app/page.rs", "fn f() { super::super::cli::run() }", true);
    check("src/app/page.rs", "//! What the cli::run serves.\nlet server = \"browser::go\";", false);
    check("src/pages/mod.rs", "use axum::Router;", false);
    check("src/cli/serve.rs", "fn f(router: axum::Router) {}", true);
    check("crates/store/src/disk/tables.rs", "use redb::Database;", false);
    check("crates/server/src/writer/mod.rs", "use redb::Database;", true);
    check("crates/server/src/writer/mod.rs", "fn f(store: Redb, redb_error: u8) -> impl Fn() + use<> { redb }", false);
    check("src/browser/socket.rs", "use web_sys::WebSocket;", false);
    check("src/app/page.rs", "use leptos::{prelude::*, web_sys};", true);
    check("crates/core/src/clock.rs", "let now = std::time::Instant::now();", true);
    check("crates/core/src/clock.rs", "use std::{collections::BTreeMap, time::SystemTime};", true);
    check("crates/core/src/clock.rs", "/* std::time::Instant */ let brand = 'r'; // fs::read()", false);
    check("crates/core/src/clock.rs", "let text = \"a \\\" quote\"; fs::read()", true);
}

/// Each rule that `source`, as the file at `path`, breaks.
fn violations(path: &str, source: &str) -> Vec<String> {
    let code = code(source);
    let named = named(&code);
    RULES
        .iter()
        .filter(|rule| Path::new(path).starts_with(rule.scope))
        .filter(|rule| !rule.except.iter().any(|except| Path::new(path).starts_with(except)))
        .filter(|rule| named.contains(rule.module))
        .map(|rule| format!("{path} names {}", rule.module))
        .collect()
}

/// The words of `code` that are part of a path (`a::b`) or of an import.
fn named(code: &str) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    let mut importing = false;
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let (gap, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
        // `use<>` in a return type captures lifetimes and imports nothing.
        let begins_import = word == "use" && !after.starts_with('<');
        importing = begins_import || (importing && !gap.contains(';'));
        if importing || gap.ends_with("::") || after.starts_with("::") {
            named.insert(word);
        }
        rest = after;
    }
    named
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The source without its comments and the contents of its strings. A rough reading: raw strings with quotes in them and
/// nested comments are beyond it.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if character == '"' {
            string_length(rest)
        } else {
            code.push(character);
            character.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of the string literal that `text` begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}
