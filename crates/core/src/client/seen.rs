//! What a write has seen, by what its page had when it was made.

use super::OutboxRow;
use crate::{ReplicaId, Stamp, limits::SEEN_MAX};

/// What an operation of a replica has seen: first `began`, what was shown when editing began, then what it replaces of what
/// waits on this device. `rows` are the key's rows in the outbox and of the siblings. `confirmed` is the stamp of the base's
/// entry, if this replica wrote that.
pub(super) fn seen<'a>(
    began: Stamp,
    confirmed: Option<Stamp>,
    rows: impl Iterator<Item = &'a OutboxRow>,
    replica: ReplicaId,
) -> Vec<Stamp> {
    let mut seen = vec![began];
    let mut add = |stamp: Stamp| {
        if !seen.contains(&stamp) {
            seen.push(stamp);
        }
    };
    confirmed.filter(|&stamp| stamp > began).into_iter().for_each(&mut add);
    for row in rows.filter(|row| row.state.is_active()) {
        let is_own = row.stamp.replica() == replica;
        row.seen[1..].iter().copied().for_each(&mut add);
        if !is_own || row.sent {
            add(row.stamp);
        }
    }
    // The newest matter: an older one is already below what the server has.
    while seen.len() > SEEN_MAX {
        let oldest = (1..seen.len()).min_by_key(|&position| seen[position]).expect("it is over the limit");
        seen.swap_remove(oldest);
    }
    seen
}

/// What the server is told of it: what was shown, and behind it the newest of each replica, which has replaced the older ones.
pub(super) fn newest_of_each(seen: &[Stamp]) -> Vec<Stamp> {
    let mut newest = seen[..1].to_vec();
    for &stamp in &seen[1..] {
        match newest[1..].iter_mut().find(|known| known.replica() == stamp.replica()) {
            Some(known) => *known = stamp.max(*known),
            None => newest.push(stamp),
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Author, AuthorId, AuthorName, HybridTime, client::RowState};

    fn stamp(ms: u64, replica: u64) -> Stamp {
        Stamp::new(HybridTime::from_millis(ms), true, ReplicaId(replica))
    }

    fn row(stamp: Stamp) -> OutboxRow {
        let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
        let (seen, state) = (vec![Stamp::ZERO], RowState::Queued);
        OutboxRow { value: None, stamp, seen, author, recovered: None, sent: true, state }
    }

    #[test]
    fn of_too_much_that_was_seen_the_oldest_is_left_out() {
        let rows: Vec<_> = (1..=SEEN_MAX as u64).map(|ms| row(stamp(ms, ms))).collect();
        let seen = seen(stamp(1, 7), None, rows.iter(), ReplicaId(7));
        assert_eq!((seen.len(), seen[0]), (SEEN_MAX, stamp(1, 7)), "what was shown stays");
        let told = newest_of_each(&[stamp(1, 7), stamp(4, 7), stamp(2, 8), stamp(5, 7), stamp(3, 7), stamp(2, 8)]);
        assert_eq!(told, [stamp(1, 7), stamp(5, 7), stamp(2, 8)]);
        assert!(!seen.contains(&rows[0].stamp) && rows[1..].iter().all(|row| seen.contains(&row.stamp)));
    }
}
