//! The one model of a page, which its components and the browser's part share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Model;

/// A model that is shared. Rendering on the server moves between threads, so it is behind a lock; in a browser there is one thread.
///
/// Nothing else is called while it is locked: a callback of the browser may come at any call into the browser.
#[derive(Clone)]
pub struct SharedModel(Arc<RwLock<Model>>);

impl SharedModel {
    /// Shares a model.
    pub fn new(model: Model) -> Self {
        Self(Arc::new(RwLock::new(model)))
    }

    /// Reads it.
    pub fn read<T>(&self, read: impl FnOnce(&Model) -> T) -> T {
        read(&self.lock_to_read())
    }

    /// Changes it.
    pub fn write<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        change(&mut self.lock_to_write())
    }

    // These are not generic, so they are compiled once for all that is read and changed.

    fn lock_to_read(&self) -> RwLockReadGuard<'_, Model> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_to_write(&self) -> RwLockWriteGuard<'_, Model> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
