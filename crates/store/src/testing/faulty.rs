//! A store whose disk fails when a test wants it to.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use keybook_core::Epoch;
use redb::{Database, StorageBackend, backends::InMemoryBackend};

use crate::disk::Store;

/// A store in memory, and the switch that makes its disk fail from then on.
pub fn store() -> (Store, Arc<AtomicBool>) {
    let fails = Arc::<AtomicBool>::default();
    let disk = Disk { memory: InMemoryBackend::new(), fails: fails.clone() };
    let database = Database::builder().create_with_backend(disk).unwrap();
    (Store::over(database, Epoch(1)).unwrap(), fails)
}

#[derive(Debug)]
struct Disk {
    memory: InMemoryBackend,
    fails: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}
