//! The store of a simulated server: one dictionary in the engine that keeps everything in memory.

use std::sync::Arc;

use keybook_core::{
    Conflicts, DictionaryName, Epoch, Seq,
    server::{CatchUp, Hub, Opened},
    wire::Role,
};
use keybook_store::{
    Engine, Summary, Tables, Transaction,
    memory::{self, Contents, Rows},
};

/// A clone is a copy, as of a disk.
#[derive(Clone, Debug)]
pub struct Store {
    engine: memory::Store,
    name: DictionaryName,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Store {
    /// An empty one. Another number makes another dictionary.
    pub fn new(id: u64) -> Self {
        Self { engine: memory::Store::new(id), name: DictionaryName::parse("main").unwrap() }
    }

    pub fn start(&mut self, epoch: Epoch) {
        self.engine.start(epoch);
    }

    pub fn hub(&self) -> Hub {
        self.summary().into_hub()
    }

    pub fn summary(&self) -> Summary {
        let Ok(summary) = self.engine.summary(&self.name);
        summary
    }

    pub fn opened(&self) -> Opened {
        let Summary { id, lineage, counters, .. } = self.summary();
        Opened { id, lineage, counters, role: Role::Writer }
    }

    pub fn catch_up(&self, after: Seq, bytes: usize) -> CatchUp {
        let Ok(found) = self.engine.catch_up(&self.name, after, bytes);
        found
    }

    pub fn snapshot(&self) -> Vec<u8> {
        let Ok((_, snapshot)) = self.engine.snapshot(&self.name);
        snapshot
    }

    /// The rows, as they are committed.
    pub fn contents(&self) -> Arc<Contents> {
        self.engine.contents(&self.name)
    }

    pub fn conflict_rows(&self) -> Conflicts {
        self.contents().conflict_rows()
    }

    pub fn begin(&self) -> Open<'_> {
        let Ok(transaction) = self.engine.begin();
        Open { transaction, name: &self.name }
    }

    /// Writes in place: for stories in which no transaction fails.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Rows<'_>) -> T) -> T {
        work(&mut self.engine.rows_mut(&self.name))
    }
}

/// A transaction that is open. Dropped, it leaves nothing.
pub struct Open<'a> {
    transaction: memory::Transaction<'a>,
    name: &'a DictionaryName,
}

impl Open<'_> {
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Rows<'_>) -> T) -> T {
        let Ok(mut tables) = self.transaction.tables();
        let Ok(mut rows) = tables.rows(self.name);
        work(&mut rows)
    }

    pub fn commit(self) {
        let Ok(()) = self.transaction.commit();
    }
}
