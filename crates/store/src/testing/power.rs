//! A disk that loses power: what was written since the last sync is then there, or not, or in part, sector by sector.
//!
//! kill -9 proves nothing about syncs, because the system keeps what a dead process wrote. This stands for the disk below
//! the system. Until a sync, each sector of 512 bytes has a history; when the power is lost a seeded choice takes one
//! moment of it, or tears it: the beginning of one moment and the end of another. The length of the file has a history too.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use keybook_core::Epoch;
use redb::{Database, StorageBackend};

use crate::disk::{CACHE_BYTES, Store};

/// What a disk writes at once, or tears.
const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// A disk that outlives the process which has it open. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    /// What a read finds.
    current: Vec<u8>,
    /// What each sector has held since the last sync, oldest first, the current content excluded. Never empty lists.
    past: BTreeMap<usize, Vec<Sector>>,
    /// The lengths of the file since the last sync, likewise.
    past_lengths: Vec<usize>,
    /// Writes, syncs and changes of the length.
    steps: u64,
    /// Those until the power is lost in the next one; zero: it is lost.
    until_cut: u64,
    /// Syncs until one that says it is done and does nothing.
    until_lie: Option<u64>,
    rng: fastrand::Rng,
}

/// Opens the store on a disk, as production does, and begins the epoch.
///
/// # Errors
/// When the power is lost meanwhile, or the store does not open.
pub fn open(disk: &Disk, epoch: Epoch) -> Result<Store, Box<dyn std::error::Error>> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(disk.clone())?;
    Ok(Store::over(database, epoch)?)
}

/// Compacts what is on a disk.
///
/// # Errors
/// When the power is lost meanwhile.
pub fn compact(disk: &Disk) -> Result<(), Box<dyn std::error::Error>> {
    let mut database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(disk.clone())?;
    let compacted = database.compact();
    drop(database);
    compacted?;
    Ok(())
}

/// What became of the sectors that were not synced when the power was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// They hold what was written last.
    pub kept: u64,
    /// They hold what they held at some moment before.
    pub dropped: u64,
    /// They hold the beginning of one moment and the end of another.
    pub torn: u64,
}

impl Disk {
    /// A disk with a file of these bytes. All that chance decides follows from the seed.
    pub fn new(file: Vec<u8>, seed: u64) -> Self {
        let (past, past_lengths) = Default::default();
        let (steps, until_cut, until_lie, rng) = (0, u64::MAX, None, fastrand::Rng::with_seed(seed));
        Self(Arc::new(Mutex::new(Platter { current: file, past, past_lengths, steps, until_cut, until_lie, rng })))
    }

    /// The bytes of the file.
    pub fn file(&self) -> Vec<u8> {
        self.platter().current.clone()
    }

    /// The writes, syncs and changes of the length so far.
    pub fn steps(&self) -> u64 {
        self.platter().steps
    }

    /// After `steps` writes, syncs and changes of the length the power is lost, in the middle of the next.
    pub fn cut_after(&self, steps: u64) {
        self.platter().until_cut = steps + 1;
    }

    /// After `syncs` syncs one does nothing, and soon after it the power is lost.
    pub fn lie_after(&self, syncs: u64) {
        self.platter().until_lie = Some(syncs);
    }

    /// Whether the power is lost.
    pub fn is_cut(&self) -> bool {
        self.platter().until_cut == 0
    }

    /// Loses the power, if it is not lost already: from here on nobody who has the disk open can change it.
    pub fn cut(&self) {
        self.platter().until_cut = 0;
    }

    /// The power is back. Returns the disk for its next user; the one before still has a disk without power.
    pub fn restart(&self) -> (Self, Losses) {
        let mut platter = self.platter();
        platter.until_cut = 0;
        let losses = platter.lose();
        let seed = platter.rng.u64(..);
        (Self::new(platter.current.clone(), seed), losses)
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platter {
    /// Counts a step. Returns whether the power is lost in this one, which is an error before and after its effect.
    fn step(&mut self) -> io::Result<bool> {
        if self.until_cut == 0 {
            return Err(no_power());
        }
        self.steps += 1;
        self.until_cut -= 1;
        Ok(self.until_cut == 0)
    }

    /// A sector; zeros behind the end of the file.
    fn sector(&self, number: usize) -> Sector {
        let mut sector = [0; SECTOR];
        let start = (number * SECTOR).min(self.current.len());
        let end = (start + SECTOR).min(self.current.len());
        sector[..end - start].copy_from_slice(&self.current[start..end]);
        sector
    }

    /// Remembers what the sectors of a range hold before they change.
    fn remember(&mut self, range: std::ops::Range<usize>) {
        for number in range.start / SECTOR..range.end.div_ceil(SECTOR) {
            let sector = self.sector(number);
            self.past.entry(number).or_default().push(sector);
        }
    }

    fn set_len(&mut self, length: usize) {
        self.past_lengths.push(self.current.len());
        // What is cut off reads as zeros if the file grows again.
        self.remember(length..self.current.len().max(length));
        self.current.resize(length, 0);
    }

    fn sync(&mut self) {
        if let Some(left) = &mut self.until_lie {
            if *left == 0 {
                self.until_lie = None;
                // The next sync makes up for it. So that it shows, the power is lost before.
                self.until_cut = self.rng.u64(1..6);
                return;
            }
            *left -= 1;
        }
        self.past.clear();
        self.past_lengths.clear();
    }

    /// What is on the disk after the power was lost.
    fn lose(&mut self) -> Losses {
        let mut losses = Losses::default();
        self.past_lengths.push(self.current.len());
        let length = self.past_lengths[self.rng.usize(..self.past_lengths.len())];
        self.past_lengths.clear();
        self.current.resize(length, 0);
        // A third of the times all or nothing of what is unsynced got through, save for chance in single sectors: the
        // order in which a disk writes is not random either.
        let bias = self.rng.u8(..6);
        for (number, mut moments) in std::mem::take(&mut self.past) {
            let start = number * SECTOR;
            if start >= length {
                continue;
            }
            let last = moments.len();
            moments.push(self.sector(number));
            let choice = self.rng.u8(..12);
            let sector = match (bias, choice) {
                (0, 2..) | (2.., 0..5) => {
                    losses.kept += 1;
                    moments[last]
                }
                (1, 2..) | (2.., 5..9) => {
                    losses.dropped += 1;
                    moments[self.rng.usize(..last)]
                }
                _ => {
                    losses.torn += 1;
                    let (mut begins, ends) = (moments[self.rng.usize(..=last)], moments[self.rng.usize(..=last)]);
                    let tear = self.rng.usize(1..SECTOR);
                    begins[tear..].copy_from_slice(&ends[tear..]);
                    begins
                }
            };
            let end = (start + SECTOR).min(length);
            self.current[start..end].copy_from_slice(&sector[..end - start]);
        }
        losses
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is lost")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        let start = offset as usize;
        let bytes = platter.current.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut platter = self.platter();
        let is_cut = platter.step()?;
        platter.set_len(length as usize);
        if is_cut { Err(no_power()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.step()? {
            return Err(no_power());
        }
        platter.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        let is_cut = platter.step()?;
        let range = offset as usize..offset as usize + data.len();
        platter.remember(range.clone());
        platter.current.get_mut(range).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        if is_cut { Err(no_power()) } else { Ok(()) }
    }
}
