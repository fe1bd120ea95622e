//! The local store: what this device keeps of a dictionary, in an IndexedDB database of its own.
//!
//! | object store | key | value |
//! | --- | --- | --- |
//! | `base` | 0, 1, 2, … | the Deltas since the snapshot, in order |
//! | | `header`, `snapshot` | see [`keybook_core::client::Stored`] |
//! | `outbox` | replica (16 hexadecimal digits), a space, key of an entry | that replica's outbox, with its decisions about conflicts |
//! | `undo` | replica | what can be undone and redone there |
//!
//! All tabs share the base: each adds the Deltas that are missing there. In `outbox` and `undo` each tab has rows of its own. A
//! change is one transaction of strict durability: when it has completed, it is on the disk.
//!
//! A tab lets go of the database when another wants to change its version or to delete it.

use js_sys::{Array, Uint8Array};
use keybook_core::{
    Key, ReplicaId,
    client::{BaseChange, LocalChange, Verdict},
    device::{Found, Kept, Left},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{IdbDatabase, IdbKeyRange, IdbObjectStore, IdbTransaction};

use super::database::{self, Write, done, list};

const BASE: &str = "base";
const OUTBOX: &str = "outbox";
const UNDO: &str = "undo";

/// An open database.
#[derive(Clone)]
pub(super) struct LocalStore {
    database: IdbDatabase,
    replica: ReplicaId,
}

impl LocalStore {
    /// Opens the database of a dictionary, which is made if there is none, and reads it. Calls `closed` when the database is
    /// closed later.
    pub(super) async fn open(
        name: &str,
        replica: ReplicaId,
        closed: impl FnOnce() + 'static,
    ) -> Result<(Self, Found), JsValue> {
        let database = database::open(&database_name(name), &[BASE, OUTBOX, UNDO]).await.map_err(explain)?;
        let closing = database.clone();
        let close = Closure::once_into_js(move || {
            closing.close();
            closed();
        });
        database.set_onversionchange(Some(close.unchecked_ref()));
        database.set_onclose(Some(close.unchecked_ref()));
        let store = Self { database, replica };
        let found = store.read().await?;
        Ok((store, found))
    }

    /// Deletes the database of a dictionary, once all tabs have let go of it.
    pub(super) fn forget(name: &str) -> Result<(), JsValue> {
        database::factory()?.delete_database(&database_name(name))?;
        Ok(())
    }

    async fn read(&self) -> Result<Found, JsValue> {
        // The base has a transaction of its own, since an error ends a transaction. A base that cannot be read is fetched
        // again from the server; edits could not be.
        let base = self.database.transaction_with_str(BASE)?.object_store(BASE)?.get_all()?;
        let transaction = self.database.transaction_with_str_sequence(&all())?;
        let keys = [OUTBOX, UNDO].map(|store| transaction.object_store(store)?.get_all_keys());
        let mut found = Found::default();
        if let Ok(base) = list(&base).await {
            // Values come in the order of their keys: numbers, then "header", then "snapshot".
            let mut base: Vec<Vec<u8>> = base.iter().map(|value| bytes(&value)).collect();
            if base.len() >= 2 {
                found.stored.snapshot = base.pop().unwrap_or_default();
                found.stored.header = base.pop().unwrap_or_default();
                found.stored.deltas = base;
            }
        }
        for keys in keys {
            for key in list(&keys?).await?.iter().filter_map(|key| key.as_string()) {
                let replica = parse_replica(key.split(' ').next().unwrap_or_default());
                found.replicas.extend(replica.filter(|replica| !found.replicas.contains(replica)));
            }
        }
        Ok(found)
    }

    /// What a page has left that has ended.
    pub(super) async fn left(&self, replica: ReplicaId) -> Result<Left, JsValue> {
        let transaction = self.database.transaction_with_str_sequence(&all())?;
        let (outbox, range) = (transaction.object_store(OUTBOX)?, range_of(replica)?);
        let requests = [outbox.get_all_keys_with_key(&range)?, outbox.get_all_with_key(&range)?];
        let steps = transaction.object_store(UNDO)?.get(&replica.to_string().into())?;
        let (keys, rows) = (list(&requests[0]).await?, list(&requests[1]).await?);
        let rows = keys.iter().zip(rows.iter()).filter_map(|(key, rows)| Some((parse_key(&key)?, bytes(&rows))));
        let steps = done(&steps).await?;
        Ok(Left { outbox: rows.collect(), steps: (!steps.is_undefined()).then(|| bytes(&steps)) })
    }

    /// Keeps a change, and deletes what the pages `forget` have left, since the change contains it.
    pub(super) async fn keep(&self, change: &LocalChange, forget: &[ReplicaId]) -> Result<Kept, JsValue> {
        let write = Write::begin(&self.database, &all())?;
        let written = self.write(&write, change, forget).await;
        let ended = write.end(written.is_ok()).await;
        let kept = written?;
        ended?;
        Ok(kept)
    }

    async fn write(
        &self,
        transaction: &IdbTransaction,
        change: &LocalChange,
        forget: &[ReplicaId],
    ) -> Result<Kept, JsValue> {
        let (outbox, undo) = (transaction.object_store(OUTBOX)?, transaction.object_store(UNDO)?);
        for (key, rows) in &change.outbox {
            let key = JsValue::from(outbox_key(self.replica, key.as_str()));
            match rows {
                Some(rows) => outbox.put_with_key(&Uint8Array::from(&rows[..]), &key)?,
                None => outbox.delete(&key)?,
            };
        }
        for &replica in forget {
            outbox.delete(&range_of(replica)?)?;
            undo.delete(&replica.to_string().into())?;
        }
        if let Some(steps) = &change.steps {
            undo.put_with_key(&Uint8Array::from(&steps[..]), &self.replica.to_string().into())?;
        }
        let Some(change) = &change.base else { return Ok(Kept::Whole) };
        let base = transaction.object_store(BASE)?;
        let stored = done(&base.get(&"header".into())?).await?;
        let verdict = change.onto(&bytes_or_empty(&stored));
        if verdict == Verdict::Keep {
            keep_base(&base, change).await?;
        }
        Ok(if verdict == Verdict::Gap { Kept::Gap } else { Kept::Whole })
    }
}

async fn keep_base(base: &IdbObjectStore, change: &BaseChange) -> Result<(), JsValue> {
    if let Some(snapshot) = &change.snapshot {
        base.clear()?;
        base.put_with_key(&Uint8Array::from(&snapshot[..]), &"snapshot".into())?;
    }
    base.put_with_key(&Uint8Array::from(&change.header[..]), &"header".into())?;
    // Header and snapshot are the two that are no Deltas.
    let count = done(&base.count()?).await?.as_f64().unwrap_or(2.0) - 2.0;
    for (number, delta) in change.deltas.iter().enumerate() {
        base.put_with_key(&Uint8Array::from(&delta[..]), &JsValue::from(count + number as f64))?;
    }
    Ok(())
}

fn outbox_key(replica: ReplicaId, key: &str) -> String {
    format!("{replica} {key}")
}

/// The keys of a replica's rows.
fn range_of(replica: ReplicaId) -> Result<JsValue, JsValue> {
    // `!` is the character after the space, so the range has every key that begins with the replica and a space.
    Ok(IdbKeyRange::bound(&format!("{replica} ").into(), &format!("{replica}!").into())?.into())
}

fn parse_key(key: &JsValue) -> Option<Key> {
    Key::parse(key.as_string()?.split_once(' ')?.1).ok()
}

fn parse_replica(text: &str) -> Option<ReplicaId> {
    u64::from_str_radix(text, 16).ok().map(ReplicaId)
}

/// Says in plain words that a newer build has changed the database; other reasons stay as they are.
fn explain(error: JsValue) -> JsValue {
    match error.dyn_ref::<js_sys::Error>() {
        Some(exception) if exception.name() == "VersionError" => {
            "a newer version of this page keeps it: reload the page".into()
        }
        _ => error,
    }
}

fn database_name(name: &str) -> String {
    format!("keybook {name}")
}

fn all() -> JsValue {
    Array::of3(&BASE.into(), &OUTBOX.into(), &UNDO.into()).into()
}

/// The bytes of a key; empty if it has none.
fn bytes_or_empty(value: &JsValue) -> Vec<u8> {
    if value.is_undefined() { Vec::new() } else { bytes(value) }
}

fn bytes(value: &JsValue) -> Vec<u8> {
    Uint8Array::new(value).to_vec()
}
