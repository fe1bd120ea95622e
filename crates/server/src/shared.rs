//! What all requests and connections share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use keybook_store::Store;
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    Config, RunError,
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
        let store = Arc::new(store);
        let feeds = Arc::new(Feeds::new(config.feed_events));
        let (writer, thread) = Writer::start(store.clone(), feeds.clone(), config.limits, config.disk_reserve_bytes)
            .map_err(RunError::Thread)?;
        let (reader, snapshots, stop) = (Reader::new(store), Arc::default(), watch::Sender::new(Stop::No));
        let shared = Self { config, reader, feeds, writer, snapshots, stop, connections: AtomicU64::new(0) };
        Ok((Arc::new(shared), thread))
    }

    pub(crate) fn next_connection(&self) -> ConnectionNumber {
        ConnectionNumber(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Reads the dictionaries, off the threads that serve. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    store: Arc<Store>,
}

impl Reader {
    /// Reads from an open store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Reads from the store on a thread that may block.
    ///
    /// # Errors
    /// When `read` fails.
    pub async fn read<T: Send + 'static, E: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let store = self.store.clone();
        match spawn_blocking(move || read(&store)).await {
            Ok(read) => read,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
