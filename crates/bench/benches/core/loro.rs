//! Loro.

use loro::{ExportMode, LoroDoc, LoroMap, LoroValue, ValueOrContainer, VersionVector};

use crate::subject::Subject;

pub(crate) struct Loro {
    doc: LoroDoc,
    map: LoroMap,
    /// What [`Subject::set_to_update`] has told.
    told: VersionVector,
}

impl Loro {
    fn of(doc: LoroDoc) -> Self {
        Self { map: doc.get_map("map"), told: doc.oplog_vv(), doc }
    }
}

impl Subject for Loro {
    const NAME: &'static str = "loro 1.17.1";

    fn new(replica: u8) -> Self {
        let doc = LoroDoc::new();
        doc.set_peer_id(u64::from(replica) + 1).expect("nothing is written yet");
        Self::of(doc)
    }

    fn set(&mut self, key: &str, value: &str) {
        self.map.insert(key, value).expect("the map takes texts");
        self.doc.commit();
    }

    fn set_to_update(&mut self, key: &str, value: &str) -> Vec<u8> {
        self.set(key, value);
        let update = self.doc.export(ExportMode::updates(&self.told)).expect("it knows these versions");
        self.told = self.doc.oplog_vv();
        update
    }

    fn apply(&mut self, update: &[u8]) {
        self.doc.import(update).expect("it is an update");
    }

    fn encode(&mut self) -> Vec<u8> {
        self.doc.export(ExportMode::Snapshot).expect("everything can be exported")
    }

    fn load(bytes: &[u8]) -> Self {
        Self::of(LoroDoc::from_snapshot(bytes).expect("it is a snapshot"))
    }

    fn read(&self, mut visit: impl FnMut(&str, &str)) {
        self.map.for_each(|key, value| {
            let ValueOrContainer::Value(LoroValue::String(value)) = value else { panic!("it is a text") };
            visit(key, &value);
        });
    }

    fn merge(&mut self, other: &mut Self) {
        let update = other.doc.export(ExportMode::updates(&self.doc.oplog_vv())).expect("it knows these versions");
        self.apply(&update);
    }
}
