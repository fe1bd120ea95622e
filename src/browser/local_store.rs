//! The local store: what this device keeps of a dictionary, in an IndexedDB database of its own.
//!
//! | object store | key | value |
//! | --- | --- | --- |
//! | `base` | 0, 1, 2, … | the Deltas since the snapshot, in order |
//! | | `header`, `snapshot` | see [`Stored`] |
//! | `outbox` | replica (16 hexadecimal digits), a space, key of an entry | that replica's outbox, with its decisions about conflicts |
//!
//! All tabs share the base: each brings it as far as it has come itself. Of the outbox each tab has its own part. A change is
//! one transaction of strict durability: when it has completed, it is on the disk.
//!
//! web-sys and no crate above it: strict durability is one binding of our own, and each kilobyte counts.

use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use keybook_core::{
    client::{BaseChange, LocalChange, Stored, Verdict},
    key::Key,
    stamp::ReplicaId,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{IdbDatabase, IdbKeyRange, IdbObjectStore, IdbOpenDbRequest, IdbRequest, IdbTransaction};

use super::window;

const VERSION: u32 = 1;
const BASE: &str = "base";
const OUTBOX: &str = "outbox";

#[wasm_bindgen]
extern "C" {
    /// web-sys has a transaction's options behind its unstable interfaces.
    type DatabaseWithOptions;
    #[wasm_bindgen(method, catch)]
    fn transaction(
        this: &DatabaseWithOptions,
        stores: &JsValue,
        mode: &str,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;
}

/// An open database.
#[derive(Clone)]
pub(super) struct LocalStore {
    database: IdbDatabase,
    replica: ReplicaId,
}

/// What was found in a database.
#[derive(Default)]
pub(super) struct Found {
    /// The base.
    pub(super) stored: Stored,
    /// The pages that have rows in the outbox: gone, or still open.
    pub(super) replicas: Vec<ReplicaId>,
}

impl LocalStore {
    /// Opens the database of a dictionary, which is made if there is none, and reads it.
    pub(super) async fn open(name: &str, replica: ReplicaId) -> Result<(Self, Found), JsValue> {
        let factory = window().indexed_db()?.ok_or("this browser has no IndexedDB")?;
        let request: IdbOpenDbRequest = factory.open_with_u32(&format!("keybook {name}"), VERSION)?;
        let opening = request.clone();
        let upgrade = Closure::once(move || -> Result<(), JsValue> {
            let database: IdbDatabase = opening.result()?.unchecked_into();
            database.create_object_store(BASE)?;
            database.create_object_store(OUTBOX)?;
            Ok(())
        });
        request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
        let database: IdbDatabase = done(&request).await?.unchecked_into();
        let store = Self { database, replica };
        let found = store.read().await?;
        Ok((store, found))
    }

    async fn read(&self) -> Result<Found, JsValue> {
        let transaction = self.database.transaction_with_str_sequence(&both())?;
        // In a base numbers come before texts.
        let requests = [transaction.object_store(BASE)?.get_all()?, transaction.object_store(OUTBOX)?.get_all_keys()?];
        let mut base: Vec<Vec<u8>> = list(&requests[0]).await?.iter().map(|value| bytes(&value)).collect();
        let mut found = Found::default();
        if base.len() >= 2 {
            found.stored.snapshot = base.pop().unwrap_or_default();
            found.stored.header = base.pop().unwrap_or_default();
            found.stored.deltas = base;
        }
        let keys = list(&requests[1]).await?;
        found.replicas = keys.iter().filter_map(|key| Some(parse(&key)?.0)).collect();
        // A replica's rows are side by side.
        found.replicas.dedup();
        Ok(found)
    }

    /// The outbox that a page has left: the rows of each key.
    pub(super) async fn outbox(&self, replica: ReplicaId) -> Result<Vec<(Key, Vec<u8>)>, JsValue> {
        let transaction = self.database.transaction_with_str_sequence(&both())?;
        let (outbox, range) = (transaction.object_store(OUTBOX)?, range_of(replica)?);
        let requests = [outbox.get_all_keys_with_key(&range)?, outbox.get_all_with_key(&range)?];
        let (keys, rows) = (list(&requests[0]).await?, list(&requests[1]).await?);
        Ok(keys.iter().zip(rows.iter()).filter_map(|(key, rows)| Some((parse(&key)?.1, bytes(&rows)))).collect())
    }

    /// Keeps a change, and forgets the outboxes of pages whose rows are part of it. Returns whether the store lacks something
    /// of the base that is in no change.
    pub(super) async fn keep(&self, change: &LocalChange, forget: &[ReplicaId]) -> Result<bool, JsValue> {
        let options = Object::new();
        Reflect::set(&options, &"durability".into(), &"strict".into())?;
        let transaction =
            self.database.unchecked_ref::<DatabaseWithOptions>().transaction(&both(), "readwrite", &options)?;
        let completed = promise(|resolve, reject| {
            transaction.set_oncomplete(Some(resolve));
            transaction.set_onabort(Some(reject));
        });
        let [base, outbox] = [transaction.object_store(BASE)?, transaction.object_store(OUTBOX)?];
        for (key, rows) in &change.outbox {
            let key = JsValue::from(outbox_key(self.replica, key.as_str()));
            match rows {
                Some(rows) => outbox.put_with_key(&Uint8Array::from(&rows[..]), &key)?,
                None => outbox.delete(&key)?,
            };
        }
        for &replica in forget {
            outbox.delete(&range_of(replica)?)?;
        }
        let mut lacks = false;
        if let Some(change) = &change.base {
            let stored = done(&base.get(&"header".into())?).await?;
            match change.onto(&if stored.is_undefined() { Vec::new() } else { bytes(&stored) }) {
                Verdict::Keep => keep_base(&base, change).await?,
                Verdict::Leave => {}
                Verdict::Gap => lacks = true,
            }
        }
        JsFuture::from(completed).await?;
        Ok(lacks)
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
    // What follows a space, whatever comes behind it.
    Ok(IdbKeyRange::bound(&format!("{replica} ").into(), &format!("{replica}!").into())?.into())
}

fn parse(key: &JsValue) -> Option<(ReplicaId, Key)> {
    let text = key.as_string()?;
    let (replica, key) = text.split_once(' ')?;
    Some((ReplicaId(u64::from_str_radix(replica, 16).ok()?), Key::parse(key).ok()?))
}

fn both() -> JsValue {
    Array::of2(&BASE.into(), &OUTBOX.into()).into()
}

fn bytes(value: &JsValue) -> Vec<u8> {
    Uint8Array::new(value).to_vec()
}

/// The result of a request for several.
async fn list(request: &IdbRequest) -> Result<Array, JsValue> {
    Ok(Array::from(&done(request).await?))
}

/// The result of a request.
async fn done(request: &IdbRequest) -> Result<JsValue, JsValue> {
    let settled = promise(|resolve, reject| {
        request.set_onsuccess(Some(resolve));
        request.set_onerror(Some(reject));
    });
    JsFuture::from(settled).await?;
    request.result()
}

fn promise(mut listen: impl FnMut(&js_sys::Function, &js_sys::Function)) -> Promise {
    Promise::new(&mut |resolve, reject| listen(&resolve, &reject))
}
