//! Documents that have to agree with the source: what they name is there, and what is made from the source is of today.

mod tree;

use std::{env, fmt::Write as _, fs};

/// What documents a newcomer reads, and so must name nothing that has gone.
const DOCUMENTS: &[&str] =
    &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "docs/protocol.md", "docs/storage.md"];

/// A name in backquotes that looks like a file or a folder is one, whole or from some folder on.
#[test]
fn documents_name_files_that_exist() {
    let files = tree::files();
    let exists = |name: &str| {
        let below = format!("/{name}");
        files.iter().any(|file| {
            if name.ends_with('/') {
                file.starts_with(name) || file.contains(&below)
            } else {
                file == name || file.ends_with(&below)
            }
        })
    };
    assert!(exists("tests/files.rs") && exists("files.rs") && exists("tests/") && !exists("iles.rs") && !exists("no/"));
    for document in DOCUMENTS {
        for name in quoted(&tree::read(document)).filter(|name| is_path(name)) {
            assert!(exists(name), "{document} names {name}, which is not there");
        }
    }
}

/// "`function` in `file`": the file has it.
#[test]
fn documents_name_functions_that_exist() {
    let mut found = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let text = tree::read(document);
        let parts: Vec<&str> = text.split('`').collect();
        for window in parts.windows(3).filter(|window| window[1].trim() == "in" && is_path(window[2])) {
            assert_has(window[2], window[0]);
            found += 1;
        }
    }
    assert!(found > 5, "only {found} are found");
}

/// Each row of a walk names a file, and functions that are in it.
#[test]
fn walks_name_functions_that_exist() {
    let walks = tree::read("docs/walks.md");
    let mut rows = 0;
    for row in walks.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let mut names = quoted(row);
        let file = names.next().expect("a row names a file");
        let functions: Vec<&str> = names.collect();
        assert!(!functions.is_empty(), "no function: {row}");
        functions.into_iter().for_each(|function| assert_has(file, function));
        rows += 1;
    }
    assert!(rows > 20, "the walks have {rows} steps");
}

/// A file has a function or a type, whose name may have a path before it.
fn assert_has(file: &str, name: &str) {
    let source = tree::read(file);
    let last = name.rsplit("::").next().unwrap_or(name);
    let mut words = source.split(|c: char| !c.is_alphanumeric() && c != '_');
    assert!(words.any(|word| word == last), "{file} has no {name}");
}

/// `KEYBOOK_WRITE=1 cargo nextest run --package keybook the_table_of_limits` writes it.
#[test]
fn the_table_of_limits_is_of_today() {
    const TABLE: &str = "docs/limits.md";
    let table = limits();
    if env::var_os("KEYBOOK_WRITE").is_some() {
        fs::write(tree::root().join(TABLE), &table).unwrap();
    }
    assert!(tree::read(TABLE) == table, "{TABLE} is not of today: run this test with KEYBOOK_WRITE=1");
}

/// Every limit of the source, as a document.
fn limits() -> String {
    let mut table = "# Limits\n\nMade from the source by tests/documents.rs: every constant of a file `limits.rs`, and elsewhere those whose names \
                     say that they are\nlimits or times. Those that a deployment may change are in `Limits`, in crates/core/src/limits.rs.\n"
        .to_owned();
    let (firsts, others): (Vec<_>, Vec<_>) =
        tree::files().into_iter().filter(|path| may_have_limits(path)).partition(|path| path.ends_with("limits.rs"));
    for path in firsts.into_iter().chain(others) {
        let limits = constants(&path);
        if limits.is_empty() {
            continue;
        }
        write!(table, "\n## {path}\n\n| limit | value | why |\n| --- | --- | --- |\n").unwrap();
        for Constant { name, value, about } in limits {
            writeln!(table, "| `{name}` | `{value}` | {} |", about.replace('|', "\\|")).unwrap();
        }
    }
    table
}

struct Constant {
    name: String,
    value: String,
    about: String,
}

fn may_have_limits(path: &str) -> bool {
    let is_source = path.starts_with("src/") || (path.starts_with("crates/") && path.contains("/src/"));
    let is_ours = !path.starts_with("crates/bench/") && !path.contains("/testing/") && !path.contains("test");
    is_source && is_ours && path.ends_with(".rs")
}

fn constants(path: &str) -> Vec<Constant> {
    const UNITS: &[&str] = &["MAX", "MIN", "DEFAULT", "MS", "S", "BYTES", "AFTER", "EVERY", "PERCENT"];
    let text = tree::read(path);
    let mut about = String::new();
    let mut constants = Vec::new();
    for line in text.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]") {
        if let Some(words) = line.strip_prefix("///") {
            about.push_str(words);
            continue;
        }
        let declared =
            line.split_once("const ").and_then(|(_, rest)| Some((rest.split_once(": ")?, rest.strip_suffix(';')?)));
        if let Some(((name, _), whole)) = declared {
            let (kind, value) = whole[name.len() + 2..].split_once(" = ").unwrap_or_default();
            let is_number = ["u8", "u16", "u32", "u64", "usize", "Duration"].contains(&kind);
            let is_limit =
                path.ends_with("limits.rs") || UNITS.iter().any(|unit| name.split('_').any(|word| word == *unit));
            if is_number && is_limit && !about.is_empty() {
                constants.push(Constant { name: name.into(), value: value.into(), about: about.trim().into() });
            }
        }
        about.clear();
    }
    constants
}

/// What stands in backquotes, but for blocks of code.
fn quoted(markdown: &str) -> impl Iterator<Item = &str> {
    let texts = markdown.split("```").step_by(2);
    texts.flat_map(|text| text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)))
}

/// Whether a quoted name means a file or a folder of the repository.
fn is_path(name: &str) -> bool {
    const ENDINGS: &[&str] = &[".rs", ".mjs", ".js", ".sh", ".toml", ".md", ".css", ".yml"];
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || "._-/".contains(c));
    let is_ours = !name.starts_with('/')
        && !name.starts_with("./")
        && !name.starts_with("target/")
        && !name.contains("node_modules");
    is_plain && is_ours && (ENDINGS.iter().any(|ending| name.ends_with(ending)) || name.ends_with('/'))
}
