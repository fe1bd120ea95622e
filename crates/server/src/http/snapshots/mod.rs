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

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use keybook_core::{DictionaryName, Seq};
use keybook_store::{Engine, StoreError};
use tracing::{error, warn};

pub(crate) use self::kept::Snapshots;
use self::spool::{Behind, Spool, SpoolError};
use super::problem::problem;
use crate::{
    limits::{CATCH_UP_BYTES, SNAPSHOT_PAGES_MAX},
    shared::Shared,
};

/// Serves the snapshot of a dictionary; one that does not exist is empty.
pub(crate) async fn serve(State(server): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let name = match DictionaryName::parse(&name) {
        Ok(name) => name,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "Bad name", &error.to_string()),
    };
    match snapshot(&server, name).await {
        Ok((bytes, body)) => {
            let cbor = HeaderValue::from_static("application/cbor-seq");
            let headers = [
                (header::CONTENT_TYPE, cbor),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::CONTENT_LENGTH, bytes.into()),
            ];
            (headers, body).into_response()
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &SpoolError) -> Response {
    if let SpoolError::Room { .. } = error {
        warn!("{error}");
        return problem(StatusCode::SERVICE_UNAVAILABLE, "No room", "the server's disk is full");
    }
    error!("reading fails: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "Cannot read", "the server cannot read its data")
}

/// A snapshot with its length.
async fn snapshot(server: &Shared, name: DictionaryName) -> Result<(u64, Body), Arc<SpoolError>> {
    let found = {
        let name = name.clone();
        server.reader.read(move |store| store.summary(&name)).await.map_err(broken)?
    };
    // Nothing is kept of what does not exist: there is no end of names.
    if found.counters.head == Seq(0) {
        let empty = server.reader.read(move |store| store.snapshot(&name)).await;
        let (_, bytes) = empty.map_err(broken)?;
        return Ok((bytes.len() as u64, bytes.into()));
    }
    let kept = server.snapshots.find(&name).filter(|spool| spool.seq >= found.counters.horizon.seq);
    if let Some(spool) = kept
        && is_near(server, &name, &spool, found.counters.head).await.map_err(broken)?
    {
        return Ok((spool.bytes, spool.body()));
    }
    let spool = make(server, &name).await?;
    Ok((spool.bytes, spool.body()))
}

fn broken(error: StoreError) -> Arc<SpoolError> {
    Arc::new(error.into())
}

/// Whether a snapshot is at most [`SNAPSHOT_PAGES_MAX`] pages behind. Each change is looked at once for a snapshot, and those of an
/// open page again.
async fn is_near(server: &Shared, name: &DictionaryName, spool: &Spool, head: Seq) -> Result<bool, StoreError> {
    let (name, mut behind) = (name.clone(), spool.behind());
    if behind.to < head {
        behind = server.reader.read(move |store| count(store, &name, behind)).await?;
        spool.set_behind(behind);
    }
    Ok(behind.pages < SNAPSHOT_PAGES_MAX)
}

/// Counts full pages, until there are too many.
fn count<E: Engine>(store: &E, name: &DictionaryName, mut behind: Behind) -> Result<Behind, E::Error> {
    while behind.pages < SNAPSHOT_PAGES_MAX {
        let page = store.catch_up(name, behind.to, CATCH_UP_BYTES)?;
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
        .make(name, async move { reader.read(move |store| Spool::make(store, &of, &folder, reserve)).await });
    flight.await
}
