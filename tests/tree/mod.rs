//! The files of the repository, for tests that read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every file, as a path from the root with `/` between its parts.
///
/// Cargo.lock is left out: it names its registry's index by an identifier that looks like an address and is none.
pub(crate) fn files() -> Vec<String> {
    const SKIPPED: &[&str] = &[".git", "data", "end2end/results", "Cargo.lock"];
    const SKIPPED_ANYWHERE: &[&str] = &["target", "node_modules"];
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if SKIPPED.iter().any(|skipped| path == Path::new(skipped))
                || SKIPPED_ANYWHERE.iter().any(|skipped| path.ends_with(skipped))
            {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                files.push(path.to_str().expect("file names are UTF-8").replace('\\', "/"));
            }
        }
    }
    files.sort();
    files
}

/// The text of a file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
