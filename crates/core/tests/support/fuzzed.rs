//! What the fuzz targets do with bytes. `tests/fuzzed.rs` does it with bytes of a seed, so that it always compiles and holds.

use std::sync::LazyLock;

use keybook_core::{
    Authors,
    wire::{
        ClientFrame, ServerFrame,
        snapshot::{Snapshot, encode_all},
    },
};

use super::{
    decisions::Decisions,
    frames::{client_frames, sample_store, server_frames},
    world::{Plan, World},
};

/// Every frame and a snapshot, as they are on the wire.
static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let client = client_frames().into_iter().map(|(_, frame)| frame.encode());
    let server = server_frames().into_iter().map(|(_, frame)| frame.encode());
    client.chain(server).chain([sample_store().snapshot()]).collect()
});

/// What a decoder gets: bytes as they are, or a sample that they change. The first byte says which.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let Some((&first, rest)) = bytes.split_first() else { return Vec::new() };
    let Some(sample) = SAMPLES.get(usize::from(first)) else { return rest.to_vec() };
    let mut message = sample.clone();
    for change in rest.chunks_exact(3) {
        let at = usize::from(change[0]) * (message.len() + 1) / 256;
        match change[1] % 4 {
            0 => message.insert(at, change[2]),
            1 => message.truncate(at),
            kind if at < message.len() => {
                if kind == 2 {
                    message[at] ^= change[2];
                } else {
                    message.remove(at);
                }
            }
            _ => {}
        }
    }
    message
}

/// Decodes a message as everything that it could be. What decodes is encoded to what decodes to the same.
pub fn decode(message: &[u8]) {
    if let Ok(frame) = ClientFrame::decode(message) {
        assert_eq!(ClientFrame::decode(&frame.encode()).unwrap(), frame);
    }
    if let Ok(frame) = ServerFrame::decode(message) {
        assert_eq!(ServerFrame::decode(&frame.encode()).unwrap(), frame);
        if let ServerFrame::Delta(delta) = frame {
            let _names_an_author_that_is_not_there = delta.into_changes(&mut Authors::default());
        }
    }
    if let Ok(snapshot) = Snapshot::decode(message) {
        let again = Snapshot::decode(&encode(&snapshot)).unwrap();
        assert_eq!((&again.header, &again.base), (&snapshot.header, &snapshot.base));
        assert!(again.conflicts.iter().eq(snapshot.conflicts.iter()));
        assert_eq!(again.authors, snapshot.authors);
    }
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let rows = snapshot.base.entries().map(|(key, entry)| (key, entry, snapshot.base.brought_back_by(key)));
    encode_all(&snapshot.header, &snapshot.authors, rows, snapshot.conflicts.iter())
}

/// A world of two clients and a server, in which the bytes decide what happens, until all hold the same.
pub fn peers(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let plan = Plan { clients: 2, keys: 3, steps: rest.len(), ..Plan::of(first.into()) };
    World::new(Decisions::of_bytes(rest), plan).run();
}
