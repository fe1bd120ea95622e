//! The lock of a data folder: a process takes it before it looks at anything else there, and has it until it ends.
//!
//! The lock of the data file is not enough. While a new file is made, and until it has its name, two processes could each
//! make one; one of them would then serve a file that has no name.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

/// The file that is locked. It is left behind: were it removed, one process could lock the removed file and another one a new
/// file of the same name.
const FILE: &str = "keybook.lock";
/// What is read of it: a process and the name of a host are shorter.
const HOLDER_BYTES_MAX: u64 = 256;

/// The system frees it when the process ends, in whatever way.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is locked while it is open")] File);

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum NoLock {
    /// Another process has it.
    Held {
        /// As it calls itself; empty in the moment between its taking the lock and its writing that down.
        holder: String,
    },
    /// The system refuses.
    Refused {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl Lock {
    /// Takes the lock of a folder, and notes in it who has it.
    pub(super) fn take(folder: &Path) -> Result<Self, NoLock> {
        let path = folder.join(FILE);
        let refused = |error| NoLock::Refused { path: path.clone(), error };
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = options().map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // A message without a name is better than none.
                let _ = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
                return Err(NoLock::Held { holder });
            }
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        // Who held it before is nobody's concern now. On a full disk the name does not fit, and the lock holds without it.
        file.set_len(0).map_err(refused)?;
        let _ = file.write_all(own_name().as_bytes());
        Ok(Self(file))
    }
}

/// How this process is found. In containers many processes have the same number.
fn own_name() -> String {
    let system = rustix::system::uname();
    format!("process {} on {}", process::id(), system.nodename().to_string_lossy())
}
