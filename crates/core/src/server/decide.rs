//! What an operation does: whether it is admitted, whether it wins, and whether it conflicts.
//!
//! Everything here looks at the operation, the rows of its key, the counters and the record's context, and changes nothing.

use crate::{
    AuthorId, ConflictId, Entry, HybridTime, Key, ReplicaId, Seq, Side, Stamp, Value, ValueError,
    limits::{CLOCK_AHEAD_MS_MAX, Limits, RECOVERED_AHEAD_MS_MAX},
    mutants::mutant,
    server::{ConflictRow, Counters, Outcome, Row, Rows, record::Context},
    wire::{AckCode, Op, Role},
};

/// What can be judged of an operation without the rows: its key and its value, or why it is not admitted.
pub(super) fn admit(context: &Context, op: &Op) -> Result<(Key, Option<Value>), Outcome> {
    if context.actor.role != Role::Writer {
        return Err(AckCode::ReadOnly.into());
    }
    let bytes = |text: &str| text.len() as u64;
    let key = Key::parse(&op.key).map_err(|_| Outcome::Excepted { code: AckCode::BadKey, data: bytes(&op.key) })?;
    let value = match &op.value {
        None => None,
        Some(text) if bytes(text) > context.limits.value_bytes.into() => {
            return Err(Outcome::Excepted { code: AckCode::TooLarge, data: bytes(text) });
        }
        Some(text) => Some(Value::from_peer(text).map_err(|_: ValueError| Outcome::from(AckCode::BadValue))?),
    };
    if value.is_some() == op.stamp.is_put() { Ok((key, value)) } else { Err(AckCode::BadValue.into()) }
}

/// Whether there is room for an entry in the place of another one: among the live entries, so that keys that were removed take none.
/// There always is for one that takes no more than what it replaces; so a remove is never refused.
pub(super) fn admit_growth(
    counters: &Counters,
    limits: &Limits,
    key: &Key,
    old: &Entry,
    new: &Entry,
) -> Result<(), Outcome> {
    let (before, after) = (old.live_bytes(key), new.live_bytes(key));
    let has_room = after <= before || counters.live_bytes - before + after <= limits.bytes;
    if has_room { Ok(()) } else { Err(full_bytes(limits)) }
}

fn full_bytes(limits: &Limits) -> Outcome {
    Outcome::Excepted { code: AckCode::FullBytes, data: limits.bytes }
}

/// Whether a key without an entry may get this one: it needs room among all, tombstones and conflict rows included.
pub(super) fn admit_new(counters: &Counters, limits: &Limits, op: &Op, key: &Key, new: &Entry) -> Result<(), Outcome> {
    let Counters { horizon, live, tombstones, .. } = counters;
    // Nothing has been purged while the horizon has no seq.
    let purged = horizon.seq > Seq(0) && new.stamp.millis() <= horizon.time_ms;
    let full = live + tombstones >= limits.entries;
    let is_too_much = counters.bytes + new.bytes(key) > limits.bytes;
    if new.is_live() {
        return match () {
            () if purged => Err(AckCode::Parked.into()),
            () if full => Err(Outcome::Excepted { code: AckCode::Full, data: limits.entries }),
            () if is_too_much => Err(full_bytes(limits)),
            () => Ok(()),
        };
    }
    if leaves_tombstone(op) && !purged && !full && !is_too_much { Ok(()) } else { Err(AckCode::Duplicate.into()) }
}

/// Whether a remove of a key without an entry leaves a tombstone.
///
/// A remove of nothing leaves nothing. But if its writer had seen an entry, a rollback has taken that from the server, and
/// some other client still has it and will bring it back: the tombstone must be there first.
fn leaves_tombstone(op: &Op) -> bool {
    if mutant!("a lost entry's remove leaves nothing") {
        return false;
    }
    op.recovered.is_some() || op.seen.iter().any(|&stamp| stamp != Stamp::ZERO)
}

/// Whether the server has this very write already, so that it was sent again. A write that is not proven may have the stamp of one
/// that is, which somebody has guessed: it does not make that one known.
pub(super) fn is_known<R: Rows>(
    rows: &mut R,
    key: &Key,
    row: &Row,
    new: &Entry,
    is_proven: bool,
) -> Result<bool, R::Error> {
    if new.stamp == row.entry.stamp {
        return Ok(new.value == row.entry.value || !wins(new, row, is_proven));
    }
    if mutant!("a resend is new") {
        return Ok(false);
    }
    // A version is always below the entry. One that lost a conflict may have left the history.
    if new.stamp > row.entry.stamp {
        return Ok(false);
    }
    let is_it = |value: &Option<Value>| !is_proven || *value == new.value;
    if let Some(id) = rows.history(key)?.id(key, new.stamp)
        && (!is_proven || rows.version(&id)?.is_some_and(|version| is_it(&version.value)))
    {
        return Ok(true);
    }
    let lost = rows.conflict(&ConflictId { key: key.clone(), loser: new.stamp })?;
    // One that is closed has no value.
    let is_same = |row: ConflictRow| match row.conflict.is_open() {
        true => is_it(&row.conflict.loser.value),
        false => !is_proven || row.is_proven,
    };
    Ok(lost.is_some_and(is_same))
}

/// How far ahead a stamp may be: farther for what comes back, which has a `fork`. One step above the entry is always admitted, so
/// a wrong clock poisons no key.
pub(super) fn latest_admitted(now_ms: u64, row: Option<&Row>, fork: Option<Seq>) -> HybridTime {
    let ahead_ms = if fork.is_some() { RECOVERED_AHEAD_MS_MAX } else { CLOCK_AHEAD_MS_MAX };
    let by_clock = HybridTime::from_millis(now_ms.saturating_add(ahead_ms));
    row.map_or(by_clock, |row| by_clock.max(row.entry.stamp.time().plus_millis(1)))
}

/// Whether a write takes the place of the entry. Of two with one stamp that is the one that is proven.
pub(super) fn wins(new: &Entry, row: &Row, is_proven: bool) -> bool {
    if mutant!("the last to come wins") {
        return true;
    }
    if new.stamp == row.entry.stamp && is_proven != row.is_proven { is_proven } else { new.beats(&row.entry) }
}

/// Whether an operation conflicts with the entry: its writer had not seen that entry, and wrote something else. The one that
/// does not win is then shown in a conflict row. `fork` is up to where the writer of what comes back had seen the server's history.
pub(super) fn conflicts(op: &Op, row: &Row, new: &Entry, fork: Option<Seq>, is_proven: bool) -> bool {
    if mutant!("who loses is not told") && !wins(new, row, is_proven) {
        return false;
    }
    let there = &row.entry;
    let may_undo = fork.is_some_and(|fork| there.seq > fork) && wins(new, row, is_proven);
    !has_seen(op, row, is_proven, may_undo)
        && !is_one_history(op, row, fork)
        && there.value != new.value
        && there.stamp != new.stamp
}

/// Whether the writer had seen the entry: it names it, or it is its own. A greater stamp says nothing: after a rollback the
/// writer may have seen that in a history in which the entry never was.
///
/// A replica never conflicts with itself: it has seen what it wrote, even if its older write comes after its newer one, over a
/// connection that it has given up, and even if more of its writes are in flight than `seen` can name. Both have to be proven:
/// else anybody's blind write would count as the victim's own.
///
/// What comes back and wins over a write from above its fork `may_undo` that one: where the server's clock went back with its disk,
/// the later of the two has the lower stamp. Nobody but their user knows.
fn has_seen(op: &Op, row: &Row, is_proven: bool, may_undo: bool) -> bool {
    if mutant!("one conflicts with oneself") {
        return false;
    }
    let there = row.entry.stamp;
    let is_own = is_proven && row.is_proven && there.replica() == op.stamp.replica();
    is_own && !may_undo || op.seen.contains(&there)
}

/// Whether an operation that comes back after a rollback and the entry are of one history.
///
/// The writer has seen everything up to the fork: otherwise the operation would conflict with the very entry that it had replaced.
/// Above it the server has what that one had never seen, but for what came back from the same history.
fn is_one_history(op: &Op, row: &Row, fork: Option<Seq>) -> bool {
    let (Some(fork), Some(branch)) = (fork, &op.recovered) else { return false };
    if mutant!("what comes back conflicts with nothing") {
        return true;
    }
    row.entry.seq <= fork || row.recovered.as_ref().is_some_and(|other| branch.is_one_with(other))
}

/// Whether an operation puts a value under a key whose entry it had seen, while the entry's tombstone has been purged since.
pub(super) fn overlooks_purged(counters: &Counters, op: &Op) -> bool {
    let purges = counters.horizon.seq.0 > 0;
    purges && op.value.is_some() && first_seen(op) != Stamp::ZERO && op.recovered.is_none()
}

/// The remove whose tombstone was purged: nobody knows any more when and by whom it was made.
pub(super) fn purged_side(counters: &Counters) -> Side {
    let time = HybridTime::from_millis(counters.horizon.time_ms);
    Side { value: None, stamp: Stamp::new(time, false, ReplicaId(0)), author: AuthorId(0) }
}

/// The stamp of the confirmed entry that was shown when editing began; zero if there was none.
fn first_seen(op: &Op) -> Stamp {
    op.seen.first().copied().unwrap_or_default()
}
