//! `GET /api/v1/dictionaries/{name}/snapshot`: a whole dictionary, for a replica that has nothing or is too far behind.
//!
//! Making one reads every entry, and many replicas ask at once when a server starts. So it is made once, into a file, and sent from
//! there piece by piece. Sending from the store would keep a moment of it, and with it the room of all that changes, for as long as
//! somebody reads slowly.
//!
//! One that is not of the newest batch serves too, if it is of the current epoch: Resume from its seq brings the rest. It serves until
//! it is [`SNAPSHOT_PAGES_MAX`] pages behind.

mod kept;

mod spool;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use keybook_core::{DictionaryName, Seq};
use keybook_store::StoreError;
use tokio::sync::OwnedSemaphorePermit;
use tower_http::compression::{CompressionLayer, Predicate};
use tracing::{error, warn};

pub(crate) use self::kept::Snapshots;
use self::spool::{Behind, Spool, SpoolError};
use super::problem::problem;
use crate::{
    Dictionary,
    limits::{CATCH_UP_BYTES, SEND_BYTES, SMALL_SNAPSHOT_BYTES_MAX, SNAPSHOT_PAGES_MAX},
    shared::Shared,
};

/// Serves the snapshot of a dictionary; one that does not exist is empty.
pub(crate) async fn serve(State(server): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let name = match DictionaryName::parse(&name) {
        Ok(name) => name,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "Bad name", &error.to_string()),
    };
    match snapshot(&server, name).await {
        Ok((bytes, body)) => respond(bytes, body, server.snapshots.pack()),
        Err(error) => refuse(&error),
    }
}

/// Says that a response may be compressed. It holds the right to be until its body ends.
#[derive(Clone, Debug)]
struct Packed;

/// Compresses what may be. Not by brotli, of which an encoder takes 12 MiB.
pub(super) fn compression() -> CompressionLayer<impl Predicate> {
    let may_be =
        |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| extensions.get::<Packed>().is_some();
    CompressionLayer::new().no_br().compress_when(may_be)
}

fn respond(bytes: u64, body: Body, pack: Option<OwnedSemaphorePermit>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/cbor-seq")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_LENGTH, bytes.into()),
    ];
    let Some(pack) = pack else { return (headers, body).into_response() };
    let body = body.into_data_stream().inspect(move |_| {
        // Held as long as this.
        let _ = &pack;
    });
    (headers, Extension(Packed), Body::from_stream(body)).into_response()
}

fn refuse(error: &SpoolError) -> Response {
    if let SpoolError::Room { .. } = error {
        warn!("{error}");
        return problem(StatusCode::SERVICE_UNAVAILABLE, "No room", "the server's disk is full");
    }
    if let SpoolError::Store(StoreError::Corrupt(_)) = error {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "Damaged", "this dictionary is damaged on the server's disk");
    }
    error!("reading fails: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "Cannot read", "the server cannot read its data")
}

/// A snapshot with its length.
async fn snapshot(server: &Shared, name: DictionaryName) -> Result<(u64, Body), Arc<SpoolError>> {
    let found = server.reader.read(&name, Dictionary::summary).await.map_err(broken)?;
    // Nothing is kept of what does not exist: there is no end of names.
    if found.counters.head == Seq(0) {
        let empty = server.reader.read(&name, Dictionary::snapshot).await;
        let (_, bytes) = empty.map_err(broken)?;
        return Ok((bytes.len() as u64, bytes.into()));
    }
    let kept = server.snapshots.find(&name).filter(|spool| spool.seq >= found.counters.horizon.seq);
    if let Some(spool) = kept
        && is_near(server, &name, &spool, found.counters.head).await.map_err(broken)?
    {
        return Ok((spool.bytes, spool.body()));
    }
    match make(server, &name).await {
        Ok(spool) => Ok((spool.bytes, spool.body())),
        Err(error) if matches!(*error, SpoolError::Room { .. }) => in_memory(server, &name).await?.ok_or(error),
        Err(error) => Err(error),
    }
}

/// A snapshot where the disk has no room for one: in memory, if it is small and not too many are being sent.
async fn in_memory(server: &Shared, name: &DictionaryName) -> Result<Option<(u64, Body)>, Arc<SpoolError>> {
    let Some(permit) = server.snapshots.hold() else { return Ok(None) };
    let made = server.reader.read(name, |dictionary| {
        let mut bytes = Vec::new();
        let written = dictionary.write_snapshot(|chunk| {
            if bytes.len() + chunk.len() > SMALL_SNAPSHOT_BYTES_MAX {
                return Err(SpoolError::Large);
            }
            bytes.extend_from_slice(chunk);
            Ok(())
        });
        written.map(|_| Bytes::from(bytes))
    });
    let bytes = match made.await {
        Ok(bytes) => bytes,
        Err(SpoolError::Large) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (length, mut rest) = (bytes.len() as u64, bytes);
    let pieces = std::iter::from_fn(move || {
        // Held until the last piece is taken.
        let _ = &permit;
        (!rest.is_empty()).then(|| Ok::<_, Infallible>(rest.split_to(SEND_BYTES.min(rest.len()))))
    });
    Ok(Some((length, Body::from_stream(stream::iter(pieces)))))
}

fn broken(error: StoreError) -> Arc<SpoolError> {
    Arc::new(error.into())
}

/// Whether a snapshot is at most [`SNAPSHOT_PAGES_MAX`] pages behind. Each change is looked at once for a snapshot, and those of an
/// open page again.
async fn is_near(server: &Shared, name: &DictionaryName, spool: &Spool, head: Seq) -> Result<bool, StoreError> {
    let mut behind = spool.behind();
    if behind.to < head {
        behind = server.reader.read(name, move |dictionary| count(dictionary, behind)).await?;
        spool.set_behind(behind);
    }
    Ok(behind.pages < SNAPSHOT_PAGES_MAX)
}

/// Counts full pages, until there are too many.
fn count(dictionary: &Dictionary, mut behind: Behind) -> Result<Behind, StoreError> {
    while behind.pages < SNAPSHOT_PAGES_MAX {
        let page = dictionary.catch_up(behind.to, CATCH_UP_BYTES)?;
        if !page.more {
            break;
        }
        behind = Behind { pages: behind.pages + 1, to: page.to };
    }
    Ok(behind)
}

/// Makes a snapshot, or waits for the one that is being made.
async fn make(server: &Shared, name: &DictionaryName) -> Result<Arc<Spool>, Arc<SpoolError>> {
    let (reader, reserve) = (server.reader.clone(), server.config.disk_reserve_bytes / 2);
    let (folder, of) = (server.config.data.clone(), name.clone());
    let flight = server
        .snapshots
        .make(name, async move { reader.read(&of, move |dictionary| Spool::make(dictionary, &folder, reserve)).await });
    flight.await
}

#[cfg(test)]
mod tests {
    use keybook_core::Epoch;
    use keybook_store::Store;

    use super::*;
    use crate::{Config, limits::PACKED_SNAPSHOTS_MAX};

    /// Names have no end, and each took a place among the snapshots that are kept.
    #[tokio::test]
    async fn nothing_is_kept_of_what_does_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
        let (shared, thread) = Shared::new(Config::new(folder.path()), store).unwrap();
        let name = DictionaryName::parse("nowhere").unwrap();
        let (bytes, _) = snapshot(&shared, name.clone()).await.unwrap();
        assert!(bytes > 0, "an empty dictionary has a header and an end");
        assert!(shared.snapshots.find(&name).is_none());
        shared.writer.stop();
        thread.join().unwrap();
    }

    /// 40 clients that asked for brotli and did not read took 600 MiB: each had an encoder.
    #[test]
    fn only_some_are_compressed_at_a_time() {
        let snapshots = Snapshots::default();
        let respond = || respond(1, Body::from("x"), snapshots.pack());
        let is_packed = |response: &Response| response.extensions().get::<Packed>().is_some();
        let mut sent: Vec<_> = (0..PACKED_SNAPSHOTS_MAX).map(|_| respond()).collect();
        assert!(sent.iter().all(is_packed));
        assert!(!is_packed(&respond()));
        sent.pop();
        assert!(is_packed(&respond()), "one has ended");
    }
}
