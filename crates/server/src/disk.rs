//! How much room the disk has.

use std::{io, path::Path};

/// The bytes that a program without privileges can still write to the file system of `path`.
///
/// # Errors
/// When the system does not say.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
