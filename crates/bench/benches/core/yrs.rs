//! Yjs' port to Rust.

use yrs::{Any, Doc, Map, MapRef, Out, ReadTxn, StateVector, Transact, Update, updates::decoder::Decode};

use crate::subject::Subject;

pub(crate) struct Yrs {
    doc: Doc,
    map: MapRef,
}

impl Subject for Yrs {
    const NAME: &'static str = "yrs 0.28.1";

    fn new(replica: u8) -> Self {
        let doc = Doc::with_client_id(u64::from(replica) + 1);
        let map = doc.get_or_insert_map("map");
        Self { doc, map }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.map.insert(&mut self.doc.transact_mut(), key, value);
    }

    fn set_to_update(&mut self, key: &str, value: &str) -> Vec<u8> {
        let mut transaction = self.doc.transact_mut();
        self.map.insert(&mut transaction, key, value);
        transaction.encode_update_v1()
    }

    fn apply(&mut self, update: &[u8]) {
        let update = Update::decode_v1(update).expect("it is an update");
        self.doc.transact_mut().apply_update(update).expect("it applies");
    }

    fn encode(&mut self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default())
    }

    fn load(bytes: &[u8]) -> Self {
        let mut loaded = Self::new(u8::MAX);
        loaded.apply(bytes);
        loaded
    }

    fn read(&self, mut visit: impl FnMut(&str, &str)) {
        for (key, value) in self.map.iter(&self.doc.transact()) {
            let Out::Any(Any::String(value)) = value else { panic!("it is a text") };
            visit(key, &value);
        }
    }

    fn merge(&mut self, other: &mut Self) {
        let known = self.doc.transact().state_vector();
        let update = other.doc.transact().encode_state_as_update_v1(&known);
        self.apply(&update);
    }
}
