//! Which snapshots are kept, and which are being made.
//!
//! Each is made in a task of its own, once, however many ask, and whether or not they wait for it. A cache with single flight by the
//! callers' futures (moka's, for one) begins anew when the caller hangs up that was first, and while the work of that one goes on.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use keybook_core::DictionaryName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::spool::{Spool, SpoolError};
use crate::limits::{HELD_SNAPSHOTS_MAX, KEPT_SNAPSHOTS_BYTES_MAX, PACKED_SNAPSHOTS_MAX, SNAPSHOTS_BYTES_MAX};

/// What comes of making a snapshot; for all who asked.
pub(super) type Made = Result<Arc<Spool>, Arc<SpoolError>>;

/// A snapshot that is being made.
pub(super) type Flight = Shared<BoxFuture<'static, Made>>;

/// The snapshots that are kept, all of the current epoch: an epoch ends with the process.
#[derive(Debug)]
pub(crate) struct Snapshots {
    shelf: Mutex<Shelf>,
    /// One is made at a time: it reads the whole dictionary.
    turn: Semaphore,
    /// Those that may be compressed.
    packs: Arc<Semaphore>,
    /// Those that may be held in memory.
    held: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Shelf {
    kept: HashMap<DictionaryName, Slot>,
    flights: HashMap<DictionaryName, Flight>,
    /// All that take room, oldest first: some are no longer kept, and still being sent.
    all: Vec<Weak<Spool>>,
    /// Counts what was asked for.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    spool: Arc<Spool>,
    asked_at: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        let [packs, held] = [PACKED_SNAPSHOTS_MAX, HELD_SNAPSHOTS_MAX].map(|max| Arc::new(Semaphore::new(max)));
        Self { shelf: Mutex::default(), turn: Semaphore::new(1), packs, held }
    }
}

impl Snapshots {
    /// The snapshot that is kept of a dictionary.
    pub(super) fn find(&self, name: &DictionaryName) -> Option<Arc<Spool>> {
        let mut shelf = self.shelf();
        shelf.clock += 1;
        let now = shelf.clock;
        let slot = shelf.kept.get_mut(name)?;
        slot.asked_at = now;
        Some(slot.spool.clone())
    }

    /// Has a snapshot made, unless it is being made already. It is kept then, even if nobody waits any more.
    pub(super) fn make(
        self: &Arc<Self>,
        name: &DictionaryName,
        make: impl Future<Output = Result<Spool, SpoolError>> + Send + 'static,
    ) -> Flight {
        let mut shelf = self.shelf();
        if let Some(flight) = shelf.flights.get(name) {
            return flight.clone();
        }
        let landing = Landing { snapshots: self.clone(), name: name.clone() };
        let task = tokio::spawn(async move {
            let _turn = landing.snapshots.turn.acquire().await.expect("it is never closed");
            let spool = Arc::new(make.await.map_err(Arc::new)?);
            landing.snapshots.keep(&landing.name, &spool);
            Ok(spool)
        });
        let flight = async { task.await.unwrap_or_else(|_| Err(Arc::new(SpoolError::Broke))) }.boxed().shared();
        shelf.flights.insert(name.clone(), flight.clone());
        flight
    }

    /// The right to be compressed, if it can be had now.
    pub(super) fn pack(&self) -> Option<OwnedSemaphorePermit> {
        self.packs.clone().try_acquire_owned().ok()
    }

    /// The right to be held in memory, if it can be had now.
    pub(super) fn hold(&self) -> Option<OwnedSemaphorePermit> {
        self.held.clone().try_acquire_owned().ok()
    }

    fn keep(&self, name: &DictionaryName, spool: &Arc<Spool>) {
        let mut shelf = self.shelf();
        shelf.clock += 1;
        let asked_at = shelf.clock;
        shelf.kept.insert(name.clone(), Slot { spool: spool.clone(), asked_at });
        shelf.all.push(Arc::downgrade(spool));
        shelf.make_room(KEPT_SNAPSHOTS_BYTES_MAX, SNAPSHOTS_BYTES_MAX);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// The one that was asked for longest ago leaves first, until those that are kept take `kept_bytes` or it is the last. If all that
    /// take room, since some are still being sent, take more than `all_bytes`, the oldest is cut.
    fn make_room(&mut self, kept_bytes: u64, all_bytes: u64) {
        while self.kept.len() > 1 && self.kept.values().map(|slot| slot.spool.bytes).sum::<u64>() > kept_bytes {
            let oldest = self.kept.iter().min_by_key(|(_, slot)| slot.asked_at).map(|(name, _)| name.clone());
            self.kept.remove(&oldest.expect("there are two at least"));
        }
        self.all.retain(|spool| spool.strong_count() > 0);
        let mut all: Vec<_> = self.all.iter().filter_map(Weak::upgrade).collect();
        let kept = |spool: &Arc<Spool>| self.kept.values().any(|slot| Arc::ptr_eq(&slot.spool, spool));
        while all.iter().map(|spool| spool.bytes).sum::<u64>() > all_bytes
            && let Some(oldest) = all.iter().position(|spool| !kept(spool))
        {
            let spool = all.remove(oldest);
            self.all.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&spool)));
            match spool.cut() {
                Ok(()) => debug!("a snapshot of {} bytes is cut that somebody reads slowly", spool.bytes),
                Err(error) => warn!("an old snapshot keeps its room on the disk: {error}"),
            }
        }
    }
}

/// Ends a flight, however its task ends.
struct Landing {
    snapshots: Arc<Snapshots>,
    name: DictionaryName,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.snapshots.shelf().flights.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use keybook_core::Epoch;
    use keybook_store::Store;

    use super::*;
    use crate::Reader;

    fn name(name: &str) -> DictionaryName {
        DictionaryName::parse(name).unwrap()
    }

    /// A snapshot of an empty dictionary.
    fn spool() -> Result<Spool, SpoolError> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
        Spool::make(&Reader::new(Arc::new(store)).dictionary(&name("main")), folder.path(), 0)
    }

    fn shelved(shelf: &mut Shelf, of: &str) -> Arc<Spool> {
        let spool = Arc::new(spool().unwrap());
        shelf.clock += 1;
        shelf.kept.insert(name(of), Slot { spool: spool.clone(), asked_at: shelf.clock });
        shelf.all.push(Arc::downgrade(&spool));
        spool
    }

    /// 40 clients asked for a snapshot of 194 MiB and hung up: each had one made, and the server took 4.9 GiB.
    #[tokio::test]
    async fn a_snapshot_is_made_once_although_all_who_asked_have_hung_up() {
        let snapshots = Arc::new(Snapshots::default());
        // Nothing is made before this goes.
        let turn = snapshots.turn.acquire().await.unwrap();
        for _ in 0..40 {
            let flight = snapshots.make(&name("main"), async { spool() });
            assert!(flight.now_or_never().is_none(), "it is being made");
        }
        let flight = snapshots.make(&name("main"), async { unreachable!("it is being made") });
        drop(turn);
        let made = flight.await.unwrap();
        assert!(Arc::ptr_eq(&made, &snapshots.find(&name("main")).expect("it is kept")));
        assert_eq!(snapshots.shelf().all.len(), 1, "one was made");
        assert!(snapshots.shelf().flights.is_empty());
    }

    #[tokio::test]
    async fn what_breaks_is_told_to_all_and_tried_again() {
        let snapshots = Arc::new(Snapshots::default());
        let broken = [0; 2].map(|_| snapshots.make(&name("main"), async { panic!("on purpose") }));
        for flight in broken {
            assert!(matches!(*flight.await.unwrap_err(), SpoolError::Broke));
        }
        assert!(snapshots.make(&name("main"), async { spool() }).await.is_ok());
    }

    /// Whoever reads slowly held a copy for ever, and there was no end of copies.
    #[test]
    fn what_is_kept_and_what_is_still_sent_is_bounded() {
        let mut shelf = Shelf::default();
        let first = shelved(&mut shelf, "a");
        let size = first.bytes;
        let (second, third) = (shelved(&mut shelf, "b"), shelved(&mut shelf, "c"));
        shelf.make_room(2 * size, 3 * size);
        assert_eq!(shelf.kept.len(), 2, "the oldest is kept no more");
        assert!(first.read(0).is_ok(), "and is sent to its end");
        shelf.make_room(size, 2 * size);
        assert!(first.read(0).is_err(), "it was cut");
        assert!(second.read(0).is_ok() && third.read(0).is_ok());
        // Nobody sends it: it takes no room.
        drop(second);
        shelf.make_room(0, size);
        assert_eq!((shelf.kept.len(), shelf.all.len()), (1, 1), "the last is kept, however large it is");
        assert!(third.read(0).is_ok());
    }
}
