//! The server: pages, their files and, for programs, the state of the process.
//!
//! It takes its listener and its stop signal, so that a test runs it on port 0 and ends it when it likes. It knows of no
//! command line and no environment.

mod assets;
mod config;
mod document;
mod errors;
mod policy;
mod router;

use std::{
    future::{Future, IntoFuture},
    io,
    path::PathBuf,
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tracing::{info, warn};

pub use self::config::Config;

/// How long requests that are under way may take to end after the stop signal: a client that stopped reading must not
/// keep the process alive, and whoever supervises it kills it soon after (systemd in 90 s, Kubernetes in 30 s).
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves on `listener` until `shutdown` completes, then lets the requests under way end.
///
/// Logs its address once it accepts connections.
///
/// # Errors
///
/// [`RunError`] says what could not be used.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    std::fs::create_dir_all(&config.data)
        .map_err(|source| RunError::DataFolder { path: config.data.clone(), source })?;
    let address = listener.local_addr().map_err(RunError::Listener)?;

    let (stopping, stop_begun) = oneshot::channel::<()>();
    let server = axum::serve(listener, router::router()).with_graceful_shutdown(async move {
        shutdown.await;
        info!("stopping");
        drop(stopping);
    });
    let timeout = async {
        // Nothing is ever sent: the channel closes when the stop begins.
        let _closed = stop_begun.await;
        sleep(STOP_TIMEOUT).await;
    };

    info!("serving {} at http://{address}", config.data.display());
    tokio::select! {
        served = server.into_future() => served.map_err(RunError::Listener),
        () = timeout => {
            warn!("stopped with requests still under way after {} s", STOP_TIMEOUT.as_secs());
            Ok(())
        }
    }
}

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data folder neither exists nor can be made.
    #[error("cannot use the data folder {path}", path = path.display())]
    DataFolder {
        /// The folder as it was configured.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The listener failed.
    #[error("cannot accept connections")]
    Listener(#[source] io::Error),
}
