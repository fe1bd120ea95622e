//! The file system that is measured, and how long it takes to make a page durable.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Names the folder under which the data is written.
pub const FOLDER_VARIABLE: &str = "KEYBOOK_BENCH_FOLDER";
/// Enough for three beyond the 99th percentile.
const PROBES: usize = 300;
/// Of redb's and most file systems' pages.
const PAGE_BYTES: usize = 4096;
/// They keep nothing when the power goes, so a sync is nothing.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// A folder for the data that goes with the benchmark, on a file system whose kind it says.
#[derive(Debug)]
pub struct Disk {
    /// Goes when this is dropped.
    pub folder: TempDir,
    file_system: String,
}

/// How long a page takes: appended and synced.
#[derive(Clone, Copy, Debug)]
pub struct Syncs {
    p50: Duration,
    p99: Duration,
}

impl Disk {
    /// A new folder under the one that the environment names, or else beside the benchmark's program.
    ///
    /// # Errors
    /// When there is none, or it is in memory.
    pub fn new() -> io::Result<Self> {
        let parent = match env::var_os(FOLDER_VARIABLE) {
            Some(folder) => PathBuf::from(folder),
            None => env::current_exe()?.parent().expect("a program is in a folder").to_owned(),
        };
        let file_system = file_system(&parent.canonicalize()?)?;
        if VOLATILE.contains(&file_system.as_str()) {
            let message = format!(
                "{} is on {file_system}, where nothing is durable: set {FOLDER_VARIABLE} to a folder on a disk",
                parent.display()
            );
            return Err(io::Error::other(message));
        }
        Ok(Self { folder: TempDir::with_prefix_in("keybook-", parent)?, file_system })
    }

    /// What it is, and how long it took at two times.
    pub fn describe(&self, before: Syncs, after: Syncs) -> String {
        let millis = |syncs: Syncs| [syncs.p50, syncs.p99].map(|time| time.as_secs_f64() * 1e3);
        let ([p50, p99], [p50_after, p99_after]) = (millis(before), millis(after));
        format!(
            "File system {}; appending 4 KiB and syncing takes {p50:.2} ms (p50) and {p99:.2} ms (p99) before, \
             {p50_after:.2} ms and\n{p99_after:.2} ms after.",
            self.file_system
        )
    }

    /// Appends pages to a file, and syncs each.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn probe(&self) -> io::Result<Syncs> {
        let path = self.folder.path().join("probe");
        let mut file = File::create(&path)?;
        let mut times = Vec::with_capacity(PROBES);
        for _ in 0..PROBES {
            let start = Instant::now();
            file.write_all(&[0x6b; PAGE_BYTES])?;
            file.sync_data()?;
            times.push(start.elapsed());
        }
        fs::remove_file(path)?;
        times.sort_unstable();
        Ok(Syncs { p50: times[PROBES / 2], p99: times[PROBES * 99 / 100] })
    }
}

/// The kind of the file system that is mounted deepest above `path`; of several at one place the last.
fn file_system(path: &Path) -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    let deepest = above.max_by_key(|(length, _)| *length);
    deepest.map(|(_, kind)| kind.to_owned()).ok_or_else(|| io::Error::other("no file system is mounted there"))
}
