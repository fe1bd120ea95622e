//! The server: pages, their files, the sockets of replicas and what is behind them.
//!
//! It takes its listener and its stop signal, so that a test runs it on port 0 and ends it when it likes. It knows of no
//! command line and no environment.
//!
//! A write goes from a `socket` through the queue of the `writer` into the `store`; when it is on the disk, an answer
//! goes back and the `feeds` tell everyone who follows the dictionary.

mod config;
mod router;

mod assets;
mod document;
mod errors;
mod hosts;
mod policy;
mod problem;
mod shell;

mod snapshots;
mod socket;

mod clock;
mod disk;
mod feeds;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    future::{Future, IntoFuture},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::serve::ListenerExt;
use keybook_core::Epoch;
use keybook_store::Store;
pub use keybook_store::{Corrupt, FORMAT, OpenError, StoreError};
use tokio::{net::TcpListener, sync::watch, task::spawn_blocking, time::timeout};
use tracing::{debug, info, warn};

pub use self::config::{Config, Timeouts};
use self::{
    feeds::{ConnectionNumber, Feeds},
    snapshots::Snapshots,
    writer::{Writer, WriterThread},
};

/// Serves on `listener` until `shutdown` completes. Then it accepts no more, commits and answers what it has taken, says
/// Bye to the sockets, and lets requests under way end.
///
/// Logs its address once it accepts connections.
///
/// # Errors
///
/// [`RunError`] says what could not be used. What was acknowledged before is on the disk in any case.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let store = Store::open(&config.data, random(), Epoch(random()))?;
    serve(listener, config, store, shutdown).await
}

/// Serves what is in an open store.
async fn serve(
    listener: TcpListener,
    config: Config,
    store: Store,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let address = listener.local_addr().map_err(RunError::Listener)?;
    let stop_timeout = config.timeouts.stop;
    let (shared, thread) = Shared::new(config, store)?;

    let mut stopping = shared.stop.subscribe();
    let stopped = async move {
        // An error: nobody is left who could stop.
        let _ = stopping.wait_for(|&stop| stop != Stop::No).await;
    };
    // A frame is a whole thought: nothing is gained by waiting for more of it.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!("a connection answers late: {error}");
        }
    });
    let server = axum::serve(listener, router::router(shared.clone())).with_graceful_shutdown(stopped);
    let mut server = pin!(server.into_future());
    info!("serving {} at http://{address}", shared.store.path().display());
    let reason = tokio::select! {
        served = &mut server => return served.map_err(RunError::Listener),
        () = shutdown => Stop::Shutdown,
        () = shared.writer.failed() => Stop::Failed,
    };

    info!("stopping");
    shared.stop.send_replace(reason);
    let ended = async {
        let served = server.await;
        // Upgraded connections are the server's no more.
        shared.stop.closed().await;
        served
    };
    match timeout(stop_timeout, ended).await {
        Ok(served) => served.map_err(RunError::Listener)?,
        Err(_) => warn!("stopped with connections still open after {stop_timeout:?}"),
    }
    shared.writer.stop().await;
    spawn_blocking(|| thread.join()).await.map_err(|_| RunError::WriterPanicked)?.map_err(RunError::Writer)
}

/// Whether the server stops, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// It was asked to.
    Shutdown,
    /// It cannot write any more.
    Failed,
}

/// What the handlers share.
struct Shared {
    config: Config,
    store: Arc<Store>,
    feeds: Arc<Feeds>,
    writer: Writer,
    snapshots: Snapshots,
    /// Each connection holds a receiver while it lives.
    stop: watch::Sender<Stop>,
    connections: AtomicU64,
}

impl Shared {
    /// Starts the writer.
    fn new(config: Config, store: Store) -> Result<(Arc<Self>, WriterThread), RunError> {
        let store = Arc::new(store);
        let feeds = Arc::new(Feeds::new(config.feed_events));
        let (writer, thread) = Writer::start(store.clone(), feeds.clone(), config.limits, config.disk_reserve_bytes)
            .map_err(RunError::Thread)?;
        let (snapshots, stop) = (Snapshots::default(), watch::Sender::new(Stop::No));
        let shared = Self { config, store, feeds, writer, snapshots, stop, connections: AtomicU64::new(0) };
        Ok((Arc::new(shared), thread))
    }

    /// Reads from the store on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
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

    fn next_connection(&self) -> ConnectionNumber {
        ConnectionNumber(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// A random number of the system's.
fn random() -> u64 {
    getrandom::u64().expect("every system that runs this has random numbers")
}

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The listener failed.
    #[error("cannot accept connections")]
    Listener(#[source] io::Error),
    /// The system has no thread to give.
    #[error("cannot start the writer's thread")]
    Thread(#[source] io::Error),
    /// A commit failed. What was acknowledged is on the disk; what was not may be.
    #[error("cannot write")]
    Writer(#[source] StoreError),
    /// A fault in the program ended the writer.
    #[error("the writer broke: the fault is ours")]
    WriterPanicked,
}
