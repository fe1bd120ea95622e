//! Versions: the values that a key had once, or that lost in a conflict.
//!
//! A key has so many of them, and a dictionary so many bytes. Whichever has been a version for longest leaves first, by the order in
//! which the server has accepted the writes, not by their stamps, which a peer makes. (Not by when a version itself was accepted: a value
//! that had stood for a year would leave with the write that replaced it.) The key then says from when on its history is complete.

use super::{Batch, Hub};
use crate::{
    Key, Seq, Stamp,
    limits::{VERSIONS_BYTES_MAX, VERSIONS_MAX},
    server::{Counters, History, Rows, Version, VersionId},
};

impl Hub {
    /// A write that was accepted in an earlier batch, or in this one, becomes a version.
    pub(super) fn add_version<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        key: &Key,
        stamp: Stamp,
        version: &Version,
    ) -> Result<(), R::Error> {
        let mut history = rows.history(key)?;
        // Of several values with one stamp, which only a broken clock makes, the last is kept.
        if let Some(&(since, _)) = history.versions.iter().find(|(_, known)| *known == stamp) {
            take(&mut self.counters, rows, &mut history, &id(key, since, stamp))?;
        } else if history.versions.len() == VERSIONS_MAX {
            let (since, oldest) = history.versions[0];
            history.complete_from = since;
            take(&mut self.counters, rows, &mut history, &id(key, since, oldest))?;
        }
        history.versions.push((batch.seq, stamp));
        self.counters.version_bytes += version.bytes(key);
        rows.add_version(&id(key, batch.seq, stamp), version)?;
        rows.set_history(key, &history)?;
        batch.add_bytes(key, version.value.as_ref());

        while self.counters.version_bytes > VERSIONS_BYTES_MAX {
            let Some(oldest) = rows.oldest_version()? else { break };
            let mut history = rows.history(&oldest.key)?;
            history.complete_from = oldest.since;
            take(&mut self.counters, rows, &mut history, &oldest)?;
            rows.set_history(&oldest.key, &history)?;
            batch.add_bytes(&oldest.key, None);
        }
        batch.is_written = true;
        Ok(())
    }
}

/// A version leaves its history.
fn take<R: Rows>(counters: &mut Counters, rows: &mut R, history: &mut History, id: &VersionId) -> Result<(), R::Error> {
    history.versions.retain(|&(since, stamp)| (since, stamp) != (id.since, id.stamp));
    if let Some(version) = rows.take_version(id)? {
        counters.version_bytes -= version.bytes(&id.key);
    }
    Ok(())
}

fn id(key: &Key, since: Seq, stamp: Stamp) -> VersionId {
    VersionId { since, key: key.clone(), stamp }
}
