//! What all requests and connections share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use keybook_store::Store;
use tokio::sync::watch;

use crate::{
    Config, Reader, RunError,
    damage::Damage,
    disk::Disk,
    feeds::{ConnectionNumber, Feeds},
    http::snapshots::Snapshots,
    writer::{Writer, WriterThread},
};

/// Whether the server stops, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    /// It was asked to.
    Shutdown,
    /// It cannot write any more.
    Failed,
}

/// What the handlers share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) reader: Reader,
    pub(crate) damage: Arc<Damage>,
    pub(crate) disk: Disk,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) writer: Writer,
    pub(crate) snapshots: Arc<Snapshots>,
    /// Each connection holds a receiver while it lives.
    pub(crate) stop: watch::Sender<Stop>,
    connections: AtomicU64,
}

impl Shared {
    /// Starts the writer.
    pub(crate) fn new(config: Config, store: Store) -> Result<(Arc<Self>, WriterThread), RunError> {
        let (store, damage, disk) = (Arc::new(store), Arc::<Damage>::default(), Disk::new(&config));
        let reader = Reader::with(store.clone(), damage.clone());
        let feeds = Arc::new(Feeds::new(config.feed_events));
        let (writer, thread) = Writer::start(store, damage.clone(), feeds.clone(), config.limits, disk.clone())
            .map_err(RunError::Thread)?;
        let (snapshots, stop) = (Arc::default(), watch::Sender::new(Stop::No));
        let shared =
            Self { config, reader, damage, disk, feeds, writer, snapshots, stop, connections: AtomicU64::new(0) };
        Ok((Arc::new(shared), thread))
    }

    pub(crate) fn next_connection(&self) -> ConnectionNumber {
        ConnectionNumber(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
