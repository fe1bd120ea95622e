//! `GET /api/v1/dictionaries/{name}/snapshot`: a whole dictionary, for a replica that has nothing or is too far behind.
//!
//! Making one reads every entry, and many replicas ask at once when a server starts. So snapshots are kept. One that is not of
//! the newest batch serves too, if it is of the current epoch: Resume from its seq brings the rest. It serves until it is
//! [`SNAPSHOT_BATCHES_MAX`] batches old; then the rest could be more than the snapshot itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use keybook_core::{DictionaryName, Seq};
use keybook_store::{Engine, StoreError};
use tracing::error;

use super::problem::problem;
use crate::{
    limits::{SNAPSHOT_BATCHES_MAX, SNAPSHOTS_BYTES_MAX},
    shared::Shared,
};

/// A snapshot as it is sent, before compression.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The head of the dictionary at its moment.
    pub(crate) seq: Seq,
    /// All of it.
    pub(crate) bytes: Bytes,
}

/// The snapshots that are kept, all of the current epoch: an epoch ends with the process.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    kept: Mutex<Cache>,
    /// Held while one is made. One at a time: it takes memory, and many want the same.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Cache {
    by_name: HashMap<DictionaryName, Slot>,
    /// Counts what was asked for.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    made: Made,
    asked_at: u64,
}

/// Serves the snapshot of a dictionary; one that does not exist is empty.
pub(crate) async fn serve(State(server): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let name = match DictionaryName::parse(&name) {
        Ok(name) => name,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "Bad name", &error.to_string()),
    };
    match find_or_make(&server, name).await {
        Ok(bytes) => {
            let cbor = HeaderValue::from_static("application/cbor-seq");
            ([(header::CONTENT_TYPE, cbor), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], bytes)
                .into_response()
        }
        Err(error) => {
            error!("reading fails: {error}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "Cannot read", "the server cannot read its data")
        }
    }
}

async fn find_or_make(server: &Shared, name: DictionaryName) -> Result<Bytes, StoreError> {
    let found = {
        let name = name.clone();
        server.reader.read(move |store| store.summary(&name)).await?
    };
    let counters = found.counters;
    let fresh = |seq: Seq| seq.0 + SNAPSHOT_BATCHES_MAX >= counters.head.0 && seq >= counters.horizon.seq;
    let find = || server.snapshots.find(&name).filter(|made| fresh(made.seq));
    if let Some(made) = find() {
        return Ok(made.bytes);
    }
    let _making = server.snapshots.making.lock().await;
    // Whoever waited for the lock may find the snapshot that its last holder made.
    if let Some(made) = find() {
        return Ok(made.bytes);
    }
    let (seq, bytes) = {
        let name = name.clone();
        server.reader.read(move |store| store.snapshot(&name)).await?
    };
    let made = Made { seq, bytes: bytes.into() };
    server.snapshots.keep(name, made.clone());
    Ok(made.bytes)
}

impl Snapshots {
    fn find(&self, name: &DictionaryName) -> Option<Made> {
        let mut kept = self.kept();
        kept.clock += 1;
        let now = kept.clock;
        let slot = kept.by_name.get_mut(name)?;
        slot.asked_at = now;
        Some(slot.made.clone())
    }

    fn keep(&self, name: DictionaryName, made: Made) {
        if made.bytes.len() > SNAPSHOTS_BYTES_MAX {
            return;
        }
        let mut kept = self.kept();
        kept.clock += 1;
        let asked_at = kept.clock;
        kept.by_name.insert(name, Slot { made, asked_at });
        while kept.by_name.values().map(|slot| slot.made.bytes.len()).sum::<usize>() > SNAPSHOTS_BYTES_MAX {
            let oldest = kept.by_name.iter().min_by_key(|(_, slot)| slot.asked_at).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            kept.by_name.remove(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Cache> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
