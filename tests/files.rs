//! Files that have to agree with each other, and rules about files that a machine can check.

mod tree;

use std::fs;

#[test]
fn the_options_of_leptos_agree() {
    let options =
        |path: &str| tree::read(path).parse::<toml::Table>().unwrap()["package"]["metadata"]["leptos"].clone();
    assert_eq!(options("Leptos.toml"), options("Cargo.toml"));
}

#[test]
fn the_glue_is_of_the_version_of_the_page() {
    let version = |path: &str, name: &str| {
        let dependency = &tree::read(path).parse::<toml::Table>().unwrap()["dependencies"][name];
        dependency.as_str().or_else(|| dependency["version"].as_str()).expect("a version").to_owned()
    };
    let page = version("Cargo.toml", "wasm-bindgen");
    assert!(page.starts_with('='), "{page}");
    assert_eq!(version("scripts/bindgen/Cargo.toml", "wasm-bindgen-cli-support"), page);
    let setup = format!("wasm_bindgen{page} ");
    assert!(tree::read("scripts/setup.sh").contains(&setup), "scripts/setup.sh has no line that begins with {setup}");
}

/// A clone has to build wherever it is, from whichever mirror its owner has set up.
#[test]
fn no_file_names_the_host_of_a_package_registry() {
    // In two parts each, or this file would name them.
    let hosts = [
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["registry.npmjs", ".org"],
        ["registry.yarnpkg", ".com"],
        ["deb.debian", ".org"],
        ["proxy.golang", ".org"],
        ["pypi", ".org"],
    ]
    .map(|parts| parts.concat());
    for path in tree::files() {
        let bytes = fs::read(tree::root().join(&path)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for host in &hosts {
            assert!(!text.contains(host), "{path} names {host}");
        }
        assert!(!(path.ends_with("package-lock.json") && text.contains("\"resolved\"")), "{path} names a registry");
    }
}

#[test]
fn every_package_says_its_licence() {
    for path in tree::files().into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        let manifest = tree::read(&path).parse::<toml::Table>().unwrap();
        let license = &manifest["package"]["license"];
        let inherited = license.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert!(inherited || license.as_str() == Some("MIT OR Apache-2.0"), "{path}: {license:?}");
    }
}

/// A module that has others is the file mod.rs in a folder of its name.
#[test]
fn module_files_are_named_in_one_way() {
    let files = tree::files();
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        let folder = format!("{}/", path.trim_end_matches(".rs"));
        let modules = files.iter().any(|file| file.starts_with(&folder) && file.ends_with(".rs"));
        assert!(!modules, "{path} has a folder beside it: it should be {folder}mod.rs");
    }
}

#[test]
fn no_file_is_too_long_without_a_reason() {
    const LINES_MAX: usize = 500;
    let is_source = |path: &str| [".rs", ".mjs", ".js", ".sh"].iter().any(|ending| path.ends_with(ending));
    for path in tree::files().into_iter().filter(|path| is_source(path)) {
        let text = tree::read(&path);
        let lines = text.lines().count();
        let says_why = text.lines().take(30).any(|line| line.contains("500 lines"));
        assert!(
            lines <= LINES_MAX || says_why,
            "{path} has {lines} lines, and its head does not say why it has more than 500 lines"
        );
    }
}
