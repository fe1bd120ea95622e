//! Automerge.

use automerge::{Automerge as Document, ROOT, ReadDoc, ScalarValueRef, ValueRef, transaction::Transactable};

use crate::subject::Subject;

pub(crate) struct Automerge {
    document: Document,
}

impl Subject for Automerge {
    const NAME: &'static str = "automerge 0.12.0";
    const UPDATES: usize = 2_000;

    fn new(replica: u8) -> Self {
        Self { document: Document::new().with_actor([replica].into()) }
    }

    fn set(&mut self, key: &str, value: &str) {
        let mut transaction = self.document.transaction();
        transaction.put(ROOT, key, value).expect("the root takes texts");
        transaction.commit();
    }

    fn set_to_update(&mut self, key: &str, value: &str) -> Vec<u8> {
        self.set(key, value);
        self.document.get_last_local_change().expect("it has just been made").raw_bytes().to_vec()
    }

    fn apply(&mut self, update: &[u8]) {
        self.document.load_incremental(update).expect("it is a change");
    }

    fn encode(&mut self) -> Vec<u8> {
        self.document.save_nocompress()
    }

    fn load(bytes: &[u8]) -> Self {
        Self { document: Document::load(bytes).expect("it is a document") }
    }

    fn read(&self, mut visit: impl FnMut(&str, &str)) {
        for item in self.document.map_range(ROOT, ..) {
            let ValueRef::Scalar(ScalarValueRef::Str(value)) = &item.value else { panic!("it is a text") };
            visit(&item.key, value);
        }
    }

    fn merge(&mut self, other: &mut Self) {
        self.document.merge(&mut other.document).expect("their changes fit");
    }
}
