//! How much room the disk has, and for what that is enough.
//!
//! Of a disk that fills up people remove things. So what only removes or resolves is taken for longer than what adds.

use std::{
    io,
    path::{Path, PathBuf},
};

use tracing::warn;

use crate::Config;

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing is written.
    Nothing,
    /// Removes, and what else takes the place of something.
    Removes,
    /// All that is asked for.
    Everything,
}

impl Room {
    /// What is refused, for people; none if nothing is.
    pub(crate) fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Nothing => Some("the disk is full: nothing can be edited"),
            Self::Removes => Some("the disk is nearly full: nothing can be added, only removed"),
            Self::Everything => None,
        }
    }
}

/// The disk of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    reserve_bytes: u64,
    last_reserve_bytes: u64,
}

impl Disk {
    pub(crate) fn new(config: &Config) -> Self {
        let Config { data, disk_reserve_bytes, disk_last_reserve_bytes, .. } = config;
        Self { folder: data.clone(), reserve_bytes: *disk_reserve_bytes, last_reserve_bytes: *disk_last_reserve_bytes }
    }

    /// What there is room for now.
    pub(crate) fn room(&self) -> Room {
        match free_bytes(&self.folder) {
            Ok(free) if free < self.last_reserve_bytes => Room::Nothing,
            Ok(free) if free < self.reserve_bytes => Room::Removes,
            Ok(_) => Room::Everything,
            Err(error) => {
                // The commit will tell.
                warn!("cannot find out how much room the disk has: {error}");
                Room::Everything
            }
        }
    }

    /// What is refused now, for people; none if nothing is.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.room().trouble().map(str::to_owned)
    }
}

/// The bytes that a program without privileges can still write to the file system of `path`.
///
/// # Errors
/// When the system does not say.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
