//! docs/benchmarks.md: a section a benchmark, each with its own command and hardware, because they may be run apart.

use std::{fmt::Write as _, fs, io, path::PathBuf, process::Command};

const TITLE: &str = "# Benchmarks\n\nWritten by `make bench`. Times are medians over rounds in which the subjects alternate, in \
brackets the shortest\nand the longest. Compare within a row: the machine's own speed drifts.\n";

/// A Markdown table.
#[derive(Debug)]
pub struct Table(String);

impl Table {
    /// A table with these columns, the first of them text.
    pub fn new<'a>(columns: impl Iterator<Item = &'a str>) -> Self {
        let columns: Vec<_> = columns.collect();
        let rule = " --- |".repeat(columns.len());
        Self(format!("| {} |\n|{rule}\n", columns.join(" | ")))
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        writeln!(self.0, "| {} |", cells.join(" | ")).expect("writing to memory does not fail");
    }

    /// The table's text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Replaces the section `name`, or adds it, and leaves the others.
///
/// # Errors
/// When the page cannot be read or written.
pub fn write_section(name: &str, command: &str, body: &str) -> io::Result<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?.join("docs/benchmarks.md");
    let page = if path.exists() { fs::read_to_string(&path)? } else { TITLE.to_owned() };
    let section = format!("## {name}\n\n`{command}` on {}.\n\n{body}", hardware());
    let mut sections: Vec<String> = page.split("\n## ").map(str::to_owned).collect();
    sections.iter_mut().skip(1).for_each(|section| section.insert_str(0, "## "));
    sections.iter_mut().for_each(|section| section.truncate(section.trim_end().len()));
    let heading = format!("## {name}\n");
    match sections.iter_mut().find(|section| section.starts_with(&heading)) {
        Some(old) => *old = section,
        None => sections.push(section),
    }
    fs::write(&path, sections.join("\n\n").trim_end().to_owned() + "\n")?;
    Ok(path)
}

/// The machine, the day and the compiler. What cannot be found out is left out.
fn hardware() -> String {
    let field = |file: &str, name: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let output = |program: &str, argument: &str| -> Option<String> {
        let output = Command::new(program).arg(argument).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| Some(text.split(' ').next()?.to_owned()));
    let parts = [
        field("/proc/cpuinfo", "model name"),
        Some(format!("{cores} cores")),
        memory.map(|kib| format!("{:.0} GiB", kib as f64 / f64::from(1 << 20))),
        output("uname", "-sr"),
        output("rustc", "--version"),
        output("date", "-I"),
        load.map(|load| format!("load {load} at its end")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
