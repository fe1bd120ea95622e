//! What the databases of IndexedDB stand on: each store's rows are written in transactions of strict durability.
//!
//! It uses web-sys and no crate above it: strict durability is one binding of our own, and each kilobyte counts.

use std::ops::Deref;

use js_sys::{Array, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DomException, IdbDatabase, IdbFactory, IdbOpenDbRequest, IdbRequest, IdbTransaction};

use super::window;

const VERSION: u32 = 1;

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

pub(super) fn factory() -> Result<IdbFactory, JsValue> {
    Ok(window().indexed_db()?.ok_or("this browser has no IndexedDB")?)
}

/// Opens a database, which is made with these object stores if there is none.
pub(super) async fn open(name: &str, stores: &'static [&'static str]) -> Result<IdbDatabase, JsValue> {
    let request: IdbOpenDbRequest = factory()?.open_with_u32(name, VERSION)?;
    let opening = request.clone();
    let upgrade = Closure::once(move || -> Result<(), JsValue> {
        let database: IdbDatabase = opening.result()?.unchecked_into();
        for store in stores {
            database.create_object_store(store)?;
        }
        Ok(())
    });
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    Ok(done(&request).await?.unchecked_into())
}

/// A transaction that writes.
pub(super) struct Write {
    transaction: IdbTransaction,
    completed: Promise,
}

impl Write {
    /// Begins one over these object stores. Those over the same stores come one after the other, of all tabs.
    pub(super) fn begin(database: &IdbDatabase, stores: &JsValue) -> Result<Self, JsValue> {
        let options = Object::new();
        Reflect::set(&options, &"durability".into(), &"strict".into())?;
        let transaction = database.unchecked_ref::<DatabaseWithOptions>().transaction(stores, "readwrite", &options)?;
        let completed = promise(|resolve, reject| {
            transaction.set_oncomplete(Some(resolve));
            transaction.set_onabort(Some(reject));
        });
        Ok(Self { transaction, completed })
    }

    /// When this has returned without an error, all of it is on the disk. Otherwise none of it is kept, nor where it `is_whole` not.
    pub(super) async fn end(self, is_whole: bool) -> Result<(), JsValue> {
        if !is_whole {
            // An abort fails only when the transaction is over.
            let _ = self.transaction.abort();
        }
        // The promise rejects with the event, which does not say why.
        JsFuture::from(self.completed).await.map_err(|_| thrown(self.transaction.error()))?;
        Ok(())
    }
}

impl Deref for Write {
    type Target = IdbTransaction;

    fn deref(&self) -> &IdbTransaction {
        &self.transaction
    }
}

/// The result of a request for several values.
pub(super) async fn list(request: &IdbRequest) -> Result<Array, JsValue> {
    Ok(Array::from(&done(request).await?))
}

/// The result of a request.
pub(super) async fn done(request: &IdbRequest) -> Result<JsValue, JsValue> {
    let settled = promise(|resolve, reject| {
        request.set_onsuccess(Some(resolve));
        request.set_onerror(Some(reject));
    });
    match JsFuture::from(settled).await {
        Ok(_) => request.result(),
        // The promise rejects with the event, which does not say why.
        Err(_) => Err(thrown(request.error()?)),
    }
}

fn thrown(error: Option<DomException>) -> JsValue {
    error.map_or(JsValue::UNDEFINED, JsValue::from)
}

fn promise(mut listen: impl FnMut(&js_sys::Function, &js_sys::Function)) -> Promise {
    Promise::new(&mut |resolve, reject| listen(&resolve, &reject))
}
