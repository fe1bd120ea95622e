//! The life of a server: it opens the store, serves until it is told to stop or cannot write any more, and ends in order.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use keybook_core::Epoch;
use keybook_store::{Compacted, Folder, OpenError, Store, StoreError};
use tokio::{
    net::TcpListener,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    Config, Pages,
    disk::{Disk, Room},
    expiry, http,
    shared::{Shared, Stop},
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
    pages: Pages,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let folder = Folder::take(&config.data)?;
    let disk = Disk::new(&config);
    let source = Source {
        open: || folder.open(random(), Epoch(random())),
        open_to_read: || folder.open_to_read(),
        has_room: || disk.room() != Room::Nothing,
    };
    run_with(listener, config, pages, source, shutdown).await
}

/// Where a server has its store from.
pub(crate) struct Source<O, R, H> {
    /// Opens it.
    pub(crate) open: O,
    /// Opens it without writing anything.
    pub(crate) open_to_read: R,
    /// Whether it is worth trying again to open it, after there was no room.
    pub(crate) has_room: H,
}

/// Opens the store and serves it. As long as it cannot be opened for want of room, it is read, and tried again.
pub(crate) async fn run_with(
    listener: TcpListener,
    config: Config,
    pages: Pages,
    mut source: Source<
        impl FnMut() -> Result<Store, OpenError>,
        impl FnMut() -> Result<Store, OpenError>,
        impl Fn() -> bool,
    >,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let (listener, mut shutdown) = (Arc::new(listener), pin!(shutdown));
    loop {
        let error = match (source.open)() {
            Ok(store) => return serve(listener, config, pages, store, shutdown).await,
            Err(error) => error,
        };
        if !error.is_no_room() {
            return Err(error.into());
        }
        let Ok(store) = (source.open_to_read)() else { return Err(error.into()) };
        warn!("{error}: the dictionaries are only read until there is room");
        let room = until(&source.has_room, config.timeouts.room);
        if serve_to_read(listener.clone(), config.clone(), pages, store, room, &mut shutdown).await? == Until::Shutdown
        {
            return Ok(());
        }
    }
}

/// Why a server that only reads has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Room,
    Shutdown,
}

/// Serves what can be read until there is room. Opening a store for writing writes its new epoch, and nobody may be told of an epoch
/// that the file does not know. So the last one goes on, in which nothing more is written.
async fn serve_to_read(
    listener: Arc<TcpListener>,
    config: Config,
    pages: Pages,
    store: Store,
    room: impl Future<Output = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<Until, RunError> {
    let full = Config { disk_reserve_bytes: u64::MAX, disk_last_reserve_bytes: u64::MAX, ..config };
    let mut until = Until::Shutdown;
    let ended = async {
        tokio::select! {
            () = shutdown => {}
            () = room => until = Until::Room,
        }
    };
    serve(listener, full, pages, store, ended).await?;
    Ok(until)
}

/// Returns once something is so; it is looked at so often.
async fn until(is_so: impl Fn() -> bool, every: Duration) {
    loop {
        sleep(every).await;
        if is_so() {
            return;
        }
    }
}

/// Serves what is in an open store.
pub(crate) async fn serve(
    listener: Arc<TcpListener>,
    config: Config,
    pages: Pages,
    store: Store,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let address = listener.local_addr().map_err(RunError::Listener)?;
    let (file, stop_timeout) = (store.path().to_owned(), config.timeouts.stop);
    if let Some(Compacted { before, after }) = store.compacted() {
        info!("most of the data file was free: it had {before} bytes, and has {after}");
    }
    let (shared, thread) = Shared::new(config, store)?;

    let mut stopping = shared.stop.subscribe();
    let stopped = async move {
        // It fails when the sender is gone: then nobody is left who could say stop.
        let _ = stopping.wait_for(|&stop| stop != Stop::No).await;
    };
    let router = http::router(shared.clone(), pages);
    let mut server = pin!(http::accept::serve(listener, router, &shared.config, stopped));
    info!("serving {} at http://{address}", file.display());
    let reason = tokio::select! {
        () = &mut server => unreachable!("nobody has said stop"),
        () = shutdown => Stop::Shutdown,
        () = shared.writer.failed() => Stop::Failed,
        () = expiry::run(&shared) => unreachable!("it never ends"),
    };

    info!("stopping");
    shared.stop.send_replace(reason);
    let ended = async {
        server.await;
        // Upgraded connections are no longer waited for there.
        shared.stop.closed().await;
    };
    if timeout(stop_timeout, ended).await.is_err() {
        warn!("stopped with connections still open after {stop_timeout:?}");
    }
    shared.writer.stop();
    spawn_blocking(|| thread.join()).await.map_err(|_| RunError::WriterPanicked)?.map_err(RunError::Writer)
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
