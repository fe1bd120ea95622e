//! The test vectors for other implementations, docs/vectors.json: made from what this one does, and compared with it.
//!
//! `KEYBOOK_WRITE=$PWD/docs/vectors.json cargo nextest run --package keybook-core --test vectors` writes them.

mod support;

use keybook_core::{
    Authors, Branch, Conflict, Contributor, Digest, Entry, Epoch, HybridTime, Key, Lineage, PastEpoch, ReplicaId,
    Resolution, Secret, Seq, Side, Stamp, Winner,
    limits::{CHUNK_BYTES_MAX, Limits},
    wire::snapshot::{Header, Snapshot, encode_all},
};
use serde_json::{Value as Json, json};
use support::{
    frames::{client_frames, server_frames},
    key,
    pair::Group,
    put_stamp, remove_stamp, value,
};

#[test]
fn the_vectors_are_of_today() {
    let vectors = json!({
        "about": "Test vectors of docs/protocol.md. Bytes are in hexadecimal; `cbor` is the same in diagnostic notation (RFC 8949).",
        "ids": ids(),
        "stamps": stamps(),
        "digests": digests(),
        "frames": frames(),
        "forks": forks(),
        "branches": branches(),
        "snapshots": snapshots(),
        "trace": trace(),
    });
    let text = lines(&vectors);
    if let Some(path) = std::env::var_os("KEYBOOK_WRITE") {
        std::fs::write(path, &text).unwrap();
    }
    assert!(
        text == include_str!("../../../docs/vectors.json"),
        "docs/vectors.json is not of today: see this file's head"
    );
}

/// The document has the trace that the vectors have.
#[test]
fn the_example_is_the_trace() {
    let protocol = include_str!("../../../docs/protocol.md");
    let (_, example) = protocol.split_once("```text\n").expect("there is one");
    let (example, _) = example.split_once("```").expect("it ends");
    let said: Vec<String> = trace().iter().map(line).collect();
    assert!(
        example == said.concat(),
        "section 15 of docs/protocol.md is not of today; it should be\n{}",
        said.concat()
    );
}

/// A frame of the trace, in lines that fit.
fn line(said: &Json) -> String {
    let (from, cbor) = (said["from"].as_str().unwrap_or("?"), said["cbor"].as_str().unwrap_or("?"));
    let mut text = String::new();
    let mut width = 0;
    for word in format!("{from}: {}", squeeze(cbor)).split(' ') {
        if width + word.len() > 110 {
            text.push_str("\n           ");
            width = 11;
        } else if width > 0 {
            text.push(' ');
        }
        text.push_str(word);
        width += word.len() + 1;
    }
    text + "\n"
}

/// Bytes without the blanks between them.
fn squeeze(cbor: &str) -> String {
    let parts = cbor.split("h'").enumerate().map(|(number, part)| match part.split_once('\'') {
        Some((bytes, rest)) if number > 0 => format!("h'{}'{rest}", bytes.replace(' ', "")),
        _ => part.to_owned(),
    });
    parts.collect()
}

/// A line for each vector, so that a change shows what it changes.
fn lines(vectors: &Json) -> String {
    let group = |(name, group): (&String, &Json)| match group.as_array() {
        Some(group) => {
            let items: Vec<String> = group.iter().map(|item| format!("    {item}")).collect();
            format!("  \"{name}\": [\n{}\n  ]", items.join(",\n"))
        }
        None => format!("  \"{name}\": {group}"),
    };
    let groups: Vec<String> = vectors.as_object().expect("it is one").iter().map(group).collect();
    format!("{{\n{}\n}}\n", groups.join(",\n"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ids() -> Vec<Json> {
    let id = |bytes: [u8; 16]| {
        let secret = Secret(bytes);
        let (replica, author) = (secret.replica().0, secret.author().0);
        json!({ "secret": hex(&bytes), "replica": format!("{replica:016x}"), "author": format!("{author:016x}") })
    };
    vec![id([0; 16]), id(std::array::from_fn(|n| n as u8))]
}

fn stamps() -> Vec<Json> {
    let stamp = |ms, counter, put, replica| {
        let stamp = Stamp::new(HybridTime::new(ms, counter), put, ReplicaId(replica));
        json!({ "ms": ms, "counter": counter, "put": put, "replica": format!("{replica:016x}"), "stamp": hex(&stamp.to_bytes()) })
    };
    vec![
        stamp(0, 0, false, 0),
        stamp(1_800_000_000_000, 0, true, 1),
        stamp(1_800_000_000_000, 32_767, false, u64::MAX),
        stamp((1 << 48) - 1, 32_767, true, 0x0123_4567_89ab_cdef),
    ]
}

fn entry(json: Option<&str>, stamp: Stamp, seq: u64) -> Entry {
    Entry { value: json.map(value), stamp, seq: Seq(seq), author: support::author(7).id }
}

fn conflict(loser: Option<&str>) -> Conflict {
    let stamp = if loser.is_some() { put_stamp(1000, 1) } else { remove_stamp(1000, 1) };
    let loser = Side { value: loser.map(value), stamp, author: support::author(1).id };
    let winner = Winner { stamp: put_stamp(2000, 2), author: support::author(2).id };
    Conflict { key: key("k"), loser, winner, seq: Seq(3), resolution: Resolution::Open }
}

fn contributor(number: u16, author: u64) -> Contributor {
    Contributor { number, author: support::author(author), made: Seq(1), seq: Seq(1) }
}

fn digests() -> Vec<Json> {
    // All entries may have been brought back by one.
    let digest = |entries: &[(&str, Entry)], by: Option<u64>, conflicts: &[Conflict], authors: &[Contributor]| {
        let mut digest = Digest::default();
        let by = by.map(|number| support::author(number).id);
        for (name, entry) in entries {
            by.iter().for_each(|by| digest.add_brought_back(&key(name), entry, *by));
        }
        authors.iter().for_each(|author| digest.add_author(author));
        entries.iter().filter(|(_, entry)| entry.is_live()).for_each(|(name, entry)| digest.add(&key(name), entry));
        conflicts.iter().for_each(|conflict| digest.add_conflict(conflict));
        let text = |value: &Option<keybook_core::Value>| value.as_ref().map(|value| value.as_str().to_owned());
        let entries = entries.iter().map(
            |(name, entry)| json!({ "key": name, "stamp": hex(&entry.stamp.to_bytes()), "value": text(&entry.value) }),
        );
        let conflicts = conflicts.iter().map(|Conflict { key, loser, winner, .. }| {
            let [loser_stamp, winner] = [loser.stamp, winner.stamp].map(|stamp| hex(&stamp.to_bytes()));
            json!({ "key": key.as_str(), "loser": loser_stamp, "winner": winner, "value": text(&loser.value) })
        });
        let authors = authors.iter().map(|Contributor { number, author, .. }| {
            json!({ "number": number, "id": format!("{:016x}", author.id.0), "name": author.name.as_str() })
        });
        json!({
            "authors": authors.collect::<Vec<_>>(),
            "entries": entries.collect::<Vec<_>>(),
            "conflicts": conflicts.collect::<Vec<_>>(),
            "brought-back-by": by.map(|by| format!("{:016x}", by.0)),
            "digest": hex(&digest.to_bytes()),
        })
    };
    let (put, removed) = (entry(Some("1.50"), put_stamp(1000, 1), 1), entry(None, remove_stamp(1000, 1), 1));
    let other = entry(Some("{\"de\":\"Grüße\"}"), put_stamp(2000, 2), 2);
    vec![
        digest(&[], None, &[], &[]),
        digest(&[("k", put.clone())], None, &[], &[]),
        digest(&[("k", removed.clone())], None, &[], &[]),
        digest(&[("k", put.clone()), ("menu/☕", other)], None, &[], &[]),
        digest(&[("k", put.clone())], None, &[conflict(Some("2"))], &[contributor(1, 2)]),
        digest(&[], None, &[conflict(None)], &[]),
        digest(&[("k", put), ("gone", removed)], Some(2), &[], &[]),
    ]
}

fn frame(name: &str, bytes: &[u8]) -> Json {
    json!({ "frame": name, "bytes": hex(bytes), "cbor": minicbor::display(bytes).to_string() })
}

fn frames() -> Vec<Json> {
    let client = client_frames().into_iter().map(|(name, sent)| frame(name, &sent.encode()));
    let server = server_frames().into_iter().map(|(name, sent)| frame(name, &sent.encode()));
    client.chain(server).collect()
}

fn past(epochs: &[(u64, u64)]) -> Vec<PastEpoch> {
    epochs.iter().map(|&(epoch, end)| PastEpoch { epoch: Epoch(epoch), end: Seq(end) }).collect()
}

/// The last of the epochs is the current one, up to the cursor or the head.
fn lineage(epochs: &[(u64, u64)]) -> (Lineage, Seq) {
    let (&(current, end), ended) = epochs.split_last().expect("a lineage has an epoch");
    (Lineage { past: past(ended), current: Epoch(current) }, Seq(end))
}

fn forks() -> Vec<Json> {
    let fork = |about: &str, client: &[(u64, u64)], server: &[(u64, u64)]| {
        let ((own, cursor), (other, head)) = (lineage(client), lineage(server));
        let fork = own.fork(cursor, &other, head).map(|fork| fork.0);
        json!({ "about": about, "client": client, "server": server, "fork": fork })
    };
    vec![
        fork("the client is behind", &[(1, 40)], &[(1, 50)]),
        fork("a restart", &[(1, 50)], &[(1, 50), (2, 60)]),
        fork("a restart, and the client is behind", &[(1, 45)], &[(1, 50), (2, 60)]),
        fork("the server was set back to 30", &[(1, 50)], &[(1, 30), (3, 31)]),
        fork("after a restart that the server does not know any more", &[(1, 50), (2, 70)], &[(1, 30), (4, 30)]),
        fork("the same, set back less far", &[(1, 50), (2, 70)], &[(1, 60), (4, 60)]),
        fork("nothing in common", &[(1, 50)], &[(9, 50)]),
        fork("a client that has nothing", &[(1, 0)], &[(9, 50)]),
    ]
}

fn branches() -> Vec<Json> {
    let branch = |about: &str, branch: &[(u64, u64)], server: &[(u64, u64)]| {
        let fork = Branch::new(past(branch)).expect("it is not too long").fork(&lineage(server).0).map(|fork| fork.0);
        json!({ "about": about, "branch": branch, "server": server, "fork": fork })
    };
    vec![
        branch("confirmed at 50 in an epoch that was set back to 30", &[(1, 50)], &[(1, 30), (3, 31)]),
        branch("confirmed in an epoch that is unknown now", &[(1, 50), (2, 70)], &[(1, 30), (4, 30)]),
        branch("the server's history has the confirmation", &[(1, 20)], &[(1, 30), (4, 30)]),
        branch("confirmed in the current epoch", &[(4, 20)], &[(1, 30), (4, 30)]),
        branch("nothing in common", &[(8, 20)], &[(1, 30), (4, 30)]),
    ]
}

fn snapshots() -> Vec<Json> {
    // Somebody has brought the entry of a key back.
    let snapshot = |about: &str, entries: &[(Key, Entry)], by: Option<(&str, u64)>, conflicts: &[Conflict]| {
        let mut authors = Authors::default();
        for (number, id) in (1..).zip([1, 2, 7]) {
            authors.set(contributor(number, id)).expect("it is the next");
        }
        let mut digest = authors.digest();
        let by = |key: &Key| by.filter(|(name, _)| *name == key.as_str()).map(|(_, number)| support::author(number).id);
        for (key, entry) in entries {
            digest.add(key, entry);
            by(key).iter().for_each(|by| digest.add_brought_back(key, entry, *by));
        }
        conflicts.iter().for_each(|conflict| digest.add_conflict(conflict));
        let (own, seq) = lineage(&[(1, 2), (2, 4)]);
        let header = Header {
            dictionary: keybook_core::DictionaryId(77),
            lineage: own,
            seq,
            horizon: keybook_core::wire::Horizon::default(),
            digest,
        };
        let rows = entries.iter().map(|(key, entry)| (key, entry, by(key)));
        let bytes = encode_all(&header, &authors, rows, conflicts.iter());
        let read = Snapshot::decode(&bytes).expect("it was just made");
        assert_eq!(read.base.recompute_digest().to_bytes(), read.base.digest().to_bytes());
        (about.to_owned(), entries.len(), bytes, digest)
    };
    let small: Vec<(Key, Entry)> = [
        ("price/apple", entry(Some("1.30"), put_stamp(1003, 3), 4)),
        ("price/apricot", entry(None, remove_stamp(1004, 4), 4)),
        ("stock", entry(Some("{\"kg\":3}"), put_stamp(1002, 2), 2)),
    ]
    .map(|(name, entry)| (key(name), entry))
    .to_vec();
    let long = |n: usize| format!("\"{}\"", "x".repeat(n));
    let large: Vec<(Key, Entry)> = (0..3)
        .map(|n| (key(&format!("k{n}")), entry(Some(&long(CHUNK_BYTES_MAX / 2)), put_stamp(1000 + n, n), n + 1)))
        .collect();
    let (about, count, bytes, digest) =
        snapshot("three entries and a conflict row", &small, None, &[conflict(Some("2"))]);
    let first = json!({ "about": about, "entries": count, "bytes": hex(&bytes), "digest": hex(&digest.to_bytes()) });
    let (about, count, bytes, digest) =
        snapshot("three entries, of which somebody has brought the last back", &small, Some(("stock", 7)), &[]);
    let brought = json!({ "about": about, "entries": count, "bytes": hex(&bytes), "digest": hex(&digest.to_bytes()) });
    let (about, count, bytes, digest) =
        snapshot("three values of 262 146 bytes, each x repeated, in several chunks", &large, None, &[]);
    // Its bytes would fill a book: how long each part of the sequence is, and the hash of all.
    let mut decoder = minicbor::Decoder::new(&bytes);
    let parts = std::iter::from_fn(|| {
        let from = decoder.position();
        decoder.skip().ok()?;
        (decoder.position() > from).then(|| decoder.position() - from)
    });
    let parts: Vec<usize> = parts.collect();
    let second = json!({
        "about": about, "entries": count, "parts": parts, "digest": hex(&digest.to_bytes()),
        "blake3": blake3::hash(&bytes).to_hex().as_str(),
    });
    vec![first, brought, second]
}

/// What one client and its server say to each other while another client writes too.
fn trace() -> Vec<Json> {
    let mut group = Group::new(2, Limits::default());
    group.members[0].trace.clear();
    group.restart(group.store.clone(), 2);
    group.pass(1000);
    group.put(0, "menu/soup", "4.50");
    group.settle();
    group.put(1, "menu/soup", "4.80");
    group.settle();
    let now_ms = group.local_ms(0);
    group.client(0).verify_anew(now_ms);
    group.settle();
    let said = |(from, bytes): &(&'static str, Vec<u8>)| {
        let mut said = frame("", bytes);
        let fields = said.as_object_mut().expect("it is one");
        fields.remove("frame");
        fields.insert("from".to_owned(), json!(from));
        said
    };
    group.members[0].trace.iter().map(said).collect()
}
