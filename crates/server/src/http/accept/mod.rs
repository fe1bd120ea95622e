//! Accepts connections and serves HTTP on each: how many there may be, how long each may stay silent, how much it may send before
//! it is understood.
//!
//! hyper's own builder is used, since neither axum nor hyper-util's `auto` limits how long the first byte of a connection may take.

mod rarely;

mod room;

mod stream;

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use self::{rarely::Rarely, room::Room, stream::Stream};
use crate::{
    Config,
    limits::{ACCEPT_AGAIN, HEADER_BYTES_MAX},
};

/// Serves on `listener` until `stop` completes. Then it accepts no more, and ends when all requests under way have been answered.
/// Upgraded connections are not waited for.
pub(crate) async fn serve(listener: Arc<TcpListener>, router: Router, config: &Config, stop: impl Future<Output = ()>) {
    let room = Arc::new(Room::new(config.connections_max, config.connections_of_address_max));
    let timeouts = config.timeouts;
    let (mut refusals, mut failures) = (Rarely::default(), Rarely::default());
    // Each connection holds a receiver while it lives.
    let stopping = watch::Sender::new(());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                handle_failure(&error, &mut failures).await;
                continue;
            }
        };
        let place = match room.enter(address.ip()) {
            Ok(place) => place,
            Err(full) => {
                if let Some(lines) = refusals.line(Instant::now()) {
                    warn!("a connection from {address} is refused: {full}{lines}");
                }
                continue;
            }
        };
        // A frame is a whole thought: nothing is gained by waiting for more of it.
        if let Err(error) = stream.set_nodelay(true) {
            debug!("a connection answers late: {error}");
        }
        let stream = Stream::new(stream, place, timeouts.stall);
        tokio::spawn(serve_connection(stream, address, router.clone(), timeouts.request, stopping.subscribe()));
    }
    drop(listener);
    stopping.send_replace(());
    stopping.closed().await;
}

async fn serve_connection(
    stream: Stream<TcpStream>,
    address: SocketAddr,
    router: Router,
    request_timeout: Duration,
    mut stopping: watch::Receiver<()>,
) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // It runs whenever no request is under way, before the first byte and between requests too.
        .header_read_timeout(request_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!("a connection from {address} ends: {error}");
    }
}

/// Accepting has failed.
async fn handle_failure(error: &io::Error, failures: &mut Rarely) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    // It was the other end, before this one had seen it.
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    if let Some(lines) = failures.line(Instant::now()) {
        warn!("no connection can be accepted: {error}{lines}");
    }
    // Most often there are too many open files: it fails again at once until some have been closed.
    sleep(ACCEPT_AGAIN).await;
}
