//! The journal: how the base has changed since a local store was told, and what such a store has to keep of it.
//!
//! The base is kept as it came: a snapshot, the Deltas after it, and a header with the cursor and the digest of both together,
//! which is checked when they are read. So there is no second format, and a step costs what changed. A row for each entry
//! would take five times the room, and three times as long to read (docs/benchmarks.md).

use std::mem;

use crate::{
    Seq,
    wire::{WireError, snapshot::Header},
};

/// Deltas are kept beside a snapshot until together they take more than this, and more than half of what the snapshot takes.
/// Then a new snapshot replaces them all.
const DELTAS_BYTES_MAX: usize = 256 * 1024;

/// How the base has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChange {
    /// The cursor that the Deltas continue.
    pub after: Seq,
    /// In place of the one that the store has.
    pub header: Vec<u8>,
    /// In place of the snapshot and all Deltas, if there is one.
    pub snapshot: Option<Vec<u8>>,
    /// Behind those that the store has.
    pub deltas: Vec<Vec<u8>>,
}

/// What to do with a change of the base, in a store that other clients of this device write too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Keep,
    /// Leave the store as it is: it has come as far, or farther.
    Leave,
    /// The store lacks what came before: see [`Client::keep_whole`](super::Client::keep_whole).
    Gap,
}

/// Why a base that was kept cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// A part of it does not decode.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// One of the frames after the snapshot is no Delta.
    #[error("a frame that is no Delta is kept as one")]
    NoDelta,
    /// The parts do not belong together.
    #[error("the digest in the header is not that of the entries")]
    Digest,
}

/// How the base has changed since the store was told.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// The cursor then.
    after: Seq,
    news: News,
    room: Room,
    /// Bytes of the Deltas since the last snapshot.
    deltas_bytes: usize,
    snapshot_bytes: usize,
}

/// What the store has not been told.
#[derive(Clone, Debug)]
enum News {
    /// These Deltas, in their order.
    Deltas(Vec<Vec<u8>>),
    /// All of the base: it has changed in a way that no Delta says, or the Deltas have become too many.
    Whole,
}

/// Whether the store has room for the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    Lacking,
}

impl Journal {
    /// The journal of a store that lacks the base.
    pub(super) fn whole() -> Self {
        Self { after: Seq(0), news: News::Whole, room: Room::Enough, deltas_bytes: 0, snapshot_bytes: 0 }
    }

    /// The journal of a store that has the base as of a cursor, in parts of these sizes.
    pub(super) fn of_stored(after: Seq, snapshot_bytes: usize, deltas_bytes: usize) -> Self {
        Self { after, news: News::Deltas(Vec::new()), room: Room::Enough, deltas_bytes, snapshot_bytes }
    }

    /// The base has changed by a Delta.
    pub(super) fn handle_delta(&mut self, frame: &[u8]) {
        self.deltas_bytes += frame.len();
        if self.deltas_bytes > DELTAS_BYTES_MAX.max(self.snapshot_bytes / 2) {
            self.news = News::Whole;
        }
        if let News::Deltas(deltas) = &mut self.news {
            deltas.push(frame.to_vec());
        }
    }

    /// The base has changed in a way that no Delta says, or the store has lost some of it.
    pub(super) fn handle_whole(&mut self) {
        self.news = News::Whole;
    }

    /// The store has no room for the base. It is told no more of it.
    pub(super) fn handle_no_room(&mut self) {
        (self.news, self.room) = (News::Whole, Room::Lacking);
    }

    /// What the store has to keep of a base as it is now, since the last call; none if that is nothing. `encode` makes the
    /// snapshot.
    pub(super) fn take_change(&mut self, header: &Header, encode: impl FnOnce() -> Vec<u8>) -> Option<BaseChange> {
        let is_empty = matches!(&self.news, News::Deltas(deltas) if deltas.is_empty());
        if is_empty || self.room == Room::Lacking {
            return None;
        }
        let after = mem::replace(&mut self.after, header.seq);
        let (snapshot, deltas) = match mem::replace(&mut self.news, News::Deltas(Vec::new())) {
            News::Deltas(deltas) => (None, deltas),
            News::Whole => (Some(encode()), Vec::new()),
        };
        if let Some(snapshot) = &snapshot {
            (self.snapshot_bytes, self.deltas_bytes) = (snapshot.len(), 0);
        }
        Some(BaseChange { after, header: header.encode(), snapshot, deltas })
    }
}

impl BaseChange {
    /// What to do in a store that has `stored` as its header; empty if it has none.
    ///
    /// Deltas may overlap with what the store has: they replace entries, so in the end each is as it was last.
    pub fn onto(&self, stored: &[u8]) -> Verdict {
        let Ok(own) = Header::decode(&self.header) else { return Verdict::Leave };
        let Ok(stored) = Header::decode(stored) else {
            return if self.snapshot.is_some() { Verdict::Keep } else { Verdict::Gap };
        };
        // Whether the first is a moment in the history of the second. Being empty is one in that of everybody who knows the epoch:
        // in an epoch that the second does not know, a server may have lost everything.
        let precedes = |a: &Header, b: &Header| {
            a.dictionary == b.dictionary
                && (a.seq > Seq(0) || b.lineage.end(a.lineage.current, b.seq).is_some())
                && a.lineage.fork(a.seq, &b.lineage, b.seq) == Some(a.seq)
        };
        // What a server went back to is a moment in the past of what it had. Who kept that had not heard of the epoch after.
        let is_heard = stored.lineage.end(own.lineage.current, stored.seq).is_some();
        let is_behind = precedes(&own, &stored);
        if is_behind && is_heard {
            Verdict::Leave
        } else if self.snapshot.is_some() || !is_behind && precedes(&stored, &own) && stored.seq >= self.after {
            Verdict::Keep
        } else {
            Verdict::Gap
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DictionaryId, Digest, Epoch, Lineage, PastEpoch, wire::Horizon};

    fn header(seq: u64) -> Header {
        let lineage = Lineage { past: Vec::new(), current: Epoch(1) };
        let (dictionary, digest) = (DictionaryId(1), Digest::default());
        Header { dictionary, lineage, seq: Seq(seq), horizon: Horizon::default(), digest }
    }

    fn take(journal: &mut Journal, seq: u64) -> Option<BaseChange> {
        journal.take_change(&header(seq), || b"snapshot".to_vec())
    }

    #[test]
    fn a_change_continues_the_one_before() {
        let mut journal = Journal::whole();
        let first = take(&mut journal, 3).unwrap();
        assert_eq!((first.snapshot.as_deref(), first.onto(b"")), (Some(&b"snapshot"[..]), Verdict::Keep));
        assert_eq!(take(&mut journal, 3), None, "there is no news");
        journal.handle_delta(b"one");
        let second = take(&mut journal, 5).unwrap();
        assert_eq!((second.after, second.deltas.len()), (Seq(3), 1));
        assert_eq!(second.onto(&first.header), Verdict::Keep);
        assert_eq!(second.onto(&second.header), Verdict::Leave);
        assert_eq!(second.onto(&header(2).encode()), Verdict::Gap);
        assert_eq!(second.onto(b""), Verdict::Gap);
    }

    /// A server was set back to an earlier moment. A reader took that over, and went on keeping what the server had lost: the moment
    /// is one in its past.
    #[test]
    fn a_store_goes_back_with_its_server() {
        let lineage = Lineage { past: vec![PastEpoch { epoch: Epoch(1), end: Seq(3) }], current: Epoch(2) };
        let back = Journal::whole().take_change(&Header { lineage: lineage.clone(), ..header(3) }, Vec::new).unwrap();
        assert_eq!(back.onto(&header(5).encode()), Verdict::Keep);
        assert_eq!(take(&mut Journal::whole(), 3).unwrap().onto(&back.header), Verdict::Leave, "it goes on from there");
        let deltas = BaseChange { snapshot: None, ..back.clone() };
        assert_eq!(deltas.onto(&header(5).encode()), Verdict::Gap, "Deltas do not take back what is void");
        let further = Header { lineage, ..header(4) };
        assert_eq!(back.onto(&further.encode()), Verdict::Leave, "another page has gone on from there");
    }

    /// A server that was restored from before its first write starts in an epoch of its own, with nothing. A reader that was
    /// told so drops what it had, and went on keeping it: the store took being empty for a moment in its own past.
    #[test]
    fn a_store_forgets_what_its_server_has_lost() {
        let empty = |epoch: u64| {
            let mut journal = Journal::whole();
            let lineage = Lineage { past: Vec::new(), current: Epoch(epoch) };
            journal.take_change(&Header { lineage, ..header(0) }, Vec::new).unwrap()
        };
        assert_eq!(empty(9).onto(&header(5).encode()), Verdict::Keep, "the store does not know the epoch");
        assert_eq!(empty(1).onto(&header(5).encode()), Verdict::Leave, "the store is farther in the same epoch");
    }

    /// A page was told of a new epoch, and kept that before it had read the end of the last one. What a page kept that had read it was
    /// taken for less.
    #[test]
    fn a_store_is_as_far_as_its_cursor() {
        let past = |end| vec![PastEpoch { epoch: Epoch(1), end: Seq(end) }];
        let change = |epoch: u64, seq: u64, end: u64| {
            let lineage = Lineage { past: past(end), current: Epoch(epoch) };
            Journal::whole().take_change(&Header { lineage, ..header(seq) }, Vec::new).unwrap()
        };
        let stored = change(2, 13, 14).header;
        assert_eq!(change(3, 14, 14).onto(&stored), Verdict::Keep);
        assert_eq!(change(2, 12, 14).onto(&stored), Verdict::Leave);
    }

    #[test]
    fn many_deltas_become_a_snapshot() {
        let mut journal = Journal::of_stored(Seq(3), 10, DELTAS_BYTES_MAX - 1);
        journal.handle_delta(b"1");
        journal.handle_delta(b"2");
        let change = take(&mut journal, 5).unwrap();
        assert!(change.snapshot.is_some() && change.deltas.is_empty());
        journal.handle_delta(b"3");
        assert_eq!(take(&mut journal, 6).unwrap().deltas.len(), 1, "it counts from there");
    }

    #[test]
    fn a_store_without_room_is_told_nothing() {
        let mut journal = Journal::whole();
        journal.handle_no_room();
        journal.handle_delta(b"one");
        assert_eq!(take(&mut journal, 5), None);
    }
}
