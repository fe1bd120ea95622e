//! The sender: the outbox, what of it is on its way to the server, and what becomes of it when the server answers.
//!
//! It sends nothing itself: [`Sender::take_push`] is the next message.
//!
//! A refused write is not stamped anew while an old connection may still bring it within two minutes, when the server's clock has
//! come so far: it would undo what its user has written since with lower stamps. It waits instead. A recovered row whose time is
//! ahead of the server's clock is tried again every 10 minutes at the latest, rather than when its time has come: the server's
//! clock may have been the wrong one. An adopted write that is stamped anew stays its own replica's: with the name of the replica
//! that has adopted it, it could undo without a conflict row what that one had written meanwhile without knowing of it.

use std::collections::VecDeque;

use super::{
    Outbox, OutboxRow, RowState,
    outbox::{WAIT_MS_MAX, WAIT_MS_MIN},
    server_time::{ServerTime, latest},
};
use crate::{
    Key, ReplicaId, Seq, Stamp,
    limits::CLOCK_AHEAD_MS_MAX,
    mutants::mutant,
    wire::{AckClass, AckCode, ClientFrame, Exception},
};

/// What was sent over a connection that this end gave up reaches the server within this, if ever: a connection that is
/// silent for 90 s is closed by the server, and what came before that has been read by then.
const LATE_MS_MAX: u64 = 120_000;

/// What an answer has made of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// It goes on: it waits for the base, or for its time.
    Goes,
    /// It waits for its user.
    Held,
    /// The server's clock shows this, and the write needs another stamp: [`Sender::stamp_anew`].
    Early {
        /// By the server's clock.
        server_ms: u64,
    },
}

/// A Push without its answer.
#[derive(Clone, Debug)]
struct Batch {
    number: u64,
    ops: Vec<(Key, Stamp)>,
}

/// Of each key the greatest of some stamps. Sorted by the keys. There are as many as were on their way at a time, for which a list is
/// fast enough, and a tree of its own type would be a hundredth of the page.
#[derive(Clone, Debug, Default)]
struct Greatest(Vec<(Key, Stamp)>);

impl Greatest {
    fn get(&self, key: &Key) -> Option<Stamp> {
        self.position(key).ok().map(|position| self.0[position].1)
    }

    fn add(&mut self, key: Key, stamp: Stamp) {
        match self.position(&key) {
            Ok(position) => self.0[position].1 = stamp.max(self.0[position].1),
            Err(position) => self.0.insert(position, (key, stamp)),
        }
    }

    /// Forgets one that is not greater than this.
    fn forget(&mut self, key: &Key, stamp: Stamp) {
        if let Ok(position) = self.position(key)
            && self.0[position].1 <= stamp
        {
            self.0.remove(position);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Ok(position) = self.position(key) {
            self.0.remove(position);
        }
    }

    fn position(&self, key: &Key) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }
}

/// The writes that the server has not confirmed, and how they get there.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    outbox: Outbox,
    in_flight: VecDeque<Batch>,
    next_batch: u64,
    /// Own writes that were sent over a connection which ended before their acks: the server may get them yet.
    unanswered: Greatest,
    /// Stamps that the server has refused, until their writes are with it under others. A sibling may know one, and has not seen another
    /// write that gets it.
    refused: Greatest,
}

impl Sender {
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether a Push has no answer yet.
    pub(super) fn is_sending(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The connection has ended: acks cannot come any more.
    pub(super) fn handle_disconnected(&mut self, own: ReplicaId) {
        for (key, stamp) in self.in_flight.drain(..).flat_map(|batch| batch.ops) {
            if stamp.replica() == own {
                self.unanswered.add(key, stamp);
            }
        }
        if mutant!("a cut forgets what was sent") {
            return;
        }
        self.outbox.requeue(false);
    }

    /// The server goes on in another epoch: what it has acknowledged may be lost.
    pub(super) fn handle_epoch(&mut self) {
        let mut acks_are_void = true;
        if mutant!("acks outlive their epoch") {
            acks_are_void = false;
        }
        self.outbox.requeue(acks_are_void);
    }

    /// The stamps of a key's writes, which no other write may get.
    pub(super) fn taken(&self, key: &Key) -> Vec<Stamp> {
        let mut taken = self.outbox.stamps(key);
        taken.extend(self.refused.get(key));
        taken
    }

    /// A number for the next message that is answered.
    pub(super) fn next_batch(&mut self) -> u64 {
        self.next_batch += 1;
        self.next_batch - 1
    }

    /// How many pushes are on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The next Push, which is on its way from now on; none if nothing may go. See [`Outbox::take_push`].
    pub(super) fn take_push(
        &mut self,
        value_bytes_max: u32,
        may_go: &dyn Fn(&Key, &OutboxRow) -> bool,
        held: &mut Vec<Key>,
    ) -> Option<ClientFrame> {
        let taken = self.outbox.take_push(value_bytes_max, may_go, held);
        let (keys, ops): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        if ops.is_empty() {
            return None;
        }
        let batch = self.next_batch();
        let stamps = ops.iter().map(|op| op.stamp);
        self.in_flight.push_back(Batch { number: batch, ops: keys.into_iter().zip(stamps).collect() });
        Some(ClientFrame::Push { batch, ops })
    }

    /// The operations of a Push that is answered now; none if it was never sent, or over another connection.
    pub(super) fn take_answered(&mut self, batch: u64) -> Option<Vec<(Key, Stamp)>> {
        let position = self.in_flight.iter().position(|sent| sent.number == batch)?;
        self.in_flight.remove(position).map(|batch| batch.ops)
    }

    /// What becomes of an operation that was answered in the commit of `seq`, if no newer one has taken its place.
    pub(super) fn handle_answer(
        &mut self,
        key: &Key,
        stamp: Stamp,
        seq: Seq,
        exception: Option<&Exception>,
        own: ReplicaId,
        now_ms: u64,
    ) -> Answered {
        let Some(row) = self.outbox.row(key, stamp) else { return Answered::Goes };
        let is_recovered = row.recovered.is_some();
        let mut state = match exception.map(|exception| (exception.code, exception.code.class(), exception.data)) {
            None | Some((_, AckClass::Done, _)) => RowState::Acked(seq),
            Some((code, AckClass::Held, data)) => RowState::Held { code, data },
            Some((AckCode::ClockAhead, _, server_ms)) => {
                match self.early_ms(key, stamp, is_recovered, own, server_ms) {
                    Some(wait_ms) => RowState::Waiting { until_ms: now_ms + wait_ms.clamp(WAIT_MS_MIN, WAIT_MS_MAX) },
                    None if self.outbox.is_replaced(key, stamp) => {
                        self.outbox.set_unsent(key, stamp);
                        RowState::Waiting { until_ms: now_ms + WAIT_MS_MIN }
                    }
                    None => return Answered::Early { server_ms },
                }
            }
            Some((_, AckClass::Retry, wait_ms)) => {
                RowState::Waiting { until_ms: now_ms + wait_ms.clamp(WAIT_MS_MIN, WAIT_MS_MAX) }
            }
        };
        if mutant!("a refused write is done") && !state.is_active() {
            state = RowState::Acked(seq);
        }
        if mutant!("a refused write is tried again") && !state.is_active() {
            state = RowState::Queued;
        }
        self.outbox.set_state(key, stamp, state);
        if matches!(state, RowState::Acked(_)) {
            // It cannot come late any more, nor can what it replaced.
            self.unanswered.forget(key, stamp);
            self.refused.remove(key);
            self.outbox.forget_replaced(key, stamp);
        }
        if state.is_active() { Answered::Goes } else { Answered::Held }
    }

    /// For how long a write waits that is ahead of the server's clock; none if it need not.
    fn early_ms(&self, key: &Key, stamp: Stamp, is_recovered: bool, own: ReplicaId, server_ms: u64) -> Option<u64> {
        let admitted_ms = server_ms.saturating_add(CLOCK_AHEAD_MS_MAX);
        let early_ms = |stamp: Stamp| stamp.millis().saturating_sub(admitted_ms);
        if is_recovered {
            // It was confirmed once with this stamp: it waits until the server's clock has come so far.
            return Some(early_ms(stamp));
        }
        // The page that wrote an adopted row may have sent it.
        let adopted = (stamp.replica() != own).then_some(stamp);
        // An old connection may bring it, or what it replaces, when the server's clock has come so far.
        let sent = self.unanswered.get(key).max(adopted)?;
        Some(early_ms(sent)).filter(|early_ms| (1..=LATE_MS_MAX).contains(early_ms))
    }

    /// Nobody else can have seen a refused write, so it may get another stamp: above the entry, whose stamp is `confirmed`, and
    /// above what it replaces, as far as the server's clock may have admitted that. If another one has replaced it, it stays until
    /// that one is with the server, which may yet refuse it for good. Returns the new stamp; none if the write is gone.
    pub(super) fn stamp_anew(
        &mut self,
        key: &Key,
        stamp: Stamp,
        confirmed: Stamp,
        server_ms: u64,
        time: &mut ServerTime,
        now_ms: u64,
    ) -> Option<Stamp> {
        let mut row = self.outbox.remove(key, stamp)?;
        let others = self.outbox.rows(key).iter().filter(|other| other.state.is_active() && !other.replaces(stamp));
        let admitted = latest(server_ms).max(confirmed.time().plus_millis(1));
        let late = self.unanswered.get(key);
        let below = row.seen.iter().copied().chain(others.map(|row| row.stamp)).chain(late);
        // One step above the entry would have been admitted: so this is no entry, whatever else is known of it.
        let is_refused = |below: &Stamp| below.time().plus_millis(1) >= stamp.time();
        let replaced = below.filter(|below| below.time() <= admitted && !is_refused(below)).fold(confirmed, Stamp::max);
        let is_put = row.value.is_some();
        self.refused.add(key.clone(), stamp);
        let mut taken = self.taken(key);
        taken.extend(&row.seen);
        row.stamp = Stamp::new(time.stamp(replaced, &taken, is_put, now_ms).time(), is_put, stamp.replica());
        (row.state, row.sent) = (RowState::Queued, false);
        if mutant!("a new stamp has seen what is there") {
            row.seen[0] = confirmed;
        }
        let new = row.stamp;
        self.outbox.insert(key.clone(), row);
        self.outbox.rename(key, stamp, new);
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Author, AuthorId, AuthorName, Branch, Epoch, HybridTime, Lineage, PastEpoch, Value, limits::PUSH_OPS_MAX,
    };

    const OWN: ReplicaId = ReplicaId(1);

    fn stamp(ms: u64, replica: u64) -> Stamp {
        Stamp::new(HybridTime::from_millis(ms), true, ReplicaId(replica))
    }

    fn key() -> Key {
        Key::parse("k").unwrap()
    }

    fn row(stamp: Stamp) -> OutboxRow {
        OutboxRow {
            value: Some(Value::from_text("x")),
            stamp,
            seen: vec![Stamp::ZERO],
            author: Author { id: AuthorId(1), name: AuthorName::new("Ada") },
            recovered: None,
            sent: false,
            state: RowState::Queued,
        }
    }

    /// A sender with a write on its way.
    fn sending(stamp: Stamp) -> Sender {
        let mut sender = Sender::default();
        sender.outbox_mut().insert(key(), row(stamp));
        assert!(matches!(take(&mut sender, true), Some(ClientFrame::Push { batch: 0, .. })));
        sender
    }

    fn take(sender: &mut Sender, may_go: bool) -> Option<ClientFrame> {
        sender.take_push(1024, &|_, _| may_go, &mut Vec::new())
    }

    fn answer(sender: &mut Sender, stamp: Stamp, refused: Option<(AckCode, u64)>) -> Answered {
        let exception = refused.map(|(code, data)| Exception { index: 0, code, data });
        sender.handle_answer(&key(), stamp, Seq(3), exception.as_ref(), OWN, 1000)
    }

    #[test]
    fn what_an_answer_makes_of_a_write() {
        let check = |refused, expected: Answered, expected_state: RowState| {
            let stamp = stamp(500, 1);
            let mut sender = sending(stamp);
            assert_eq!(sender.take_answered(0), Some(vec![(key(), stamp)]));
            assert_eq!(sender.take_answered(0), None, "once");
            assert_eq!(answer(&mut sender, stamp, refused), expected);
            assert_eq!(sender.outbox().row(&key(), stamp).map(|row| row.state), Some(expected_state));
        };
        check(None, Answered::Goes, RowState::Acked(Seq(3)));
        check(Some((AckCode::Superseded, 0)), Answered::Goes, RowState::Acked(Seq(3)));
        check(Some((AckCode::Full, 1)), Answered::Held, RowState::Held { code: AckCode::Full, data: 1 });
        check(Some((AckCode::ClockAhead, 7)), Answered::Early { server_ms: 7 }, RowState::Sent);
    }

    /// A page had a write in its base, and its server lost it. Then it took over what a dead page had left: the same write, unsent as
    /// that page knew it. It went as a new one, and the base was taken for whole.
    #[test]
    fn what_was_confirmed_stays_so_when_it_is_taken_over() {
        let lineage = Lineage { past: Vec::new(), current: Epoch(1) };
        let plain = row(stamp(5, 2));
        let recovered = OutboxRow { recovered: Some(Branch::of(&lineage, Seq(3), &lineage)), ..plain.clone() };
        let mut sender = Sender::default();
        for row in [recovered.clone(), plain] {
            sender.outbox_mut().insert(key(), row);
        }
        assert_eq!(sender.outbox().rows(&key()), [recovered]);
    }

    #[test]
    fn as_many_small_writes_as_may_go_go_together() {
        let mut sender = Sender::default();
        for number in 0..PUSH_OPS_MAX as u64 {
            let key = Key::parse(&format!("a key of 16 {number:04}")).unwrap();
            let value = Some(Value::from_text("thirty-two bytes with its quotes"));
            sender.outbox_mut().insert(key, OutboxRow { value, ..row(stamp(number + 1, 1)) });
        }
        let Some(ClientFrame::Push { ops, .. }) = take(&mut sender, true) else { panic!("they wait") };
        assert_eq!(ops.len(), PUSH_OPS_MAX);
    }

    #[test]
    fn a_cut_sends_again_and_remembers_what_may_come_late() {
        let first = stamp(200_000, 1);
        let mut sender = sending(first);
        sender.handle_disconnected(OWN);
        assert_eq!(sender.outbox().row(&key(), first).unwrap().state, RowState::Queued);
        take(&mut sender, true).unwrap();
        // The server's clock comes to 200 s within the time in which the first connection may bring the write.
        assert_eq!(answer(&mut sender, first, Some((AckCode::ClockAhead, 100_000))), Answered::Goes);
        let until_ms = 1000 + 200_000 - 100_000 - CLOCK_AHEAD_MS_MAX;
        assert_eq!(sender.outbox().row(&key(), first).unwrap().state, RowState::Waiting { until_ms });
        // Once it is done, nothing of it comes late.
        assert_eq!(answer(&mut sender, first, None), Answered::Goes);
        assert_eq!(sender.unanswered.get(&key()), None);
    }

    /// It was confirmed with this stamp: with another one it would be another write.
    #[test]
    fn what_comes_back_waits_for_its_time() {
        let early = stamp(900_000, 1);
        let mut sender = sending(early);
        let recovered = Branch::new(vec![PastEpoch { epoch: Epoch(1), end: Seq(1) }]);
        sender.outbox_mut().insert(key(), OutboxRow { recovered, ..row(early) });
        assert_eq!(answer(&mut sender, early, Some((AckCode::ClockAhead, 1000))), Answered::Goes);
        assert!(matches!(sender.outbox().row(&key(), early).unwrap().state, RowState::Waiting { .. }));
    }

    /// The row of a page that had ended was stamped anew after the write that had replaced it, and so came to stand above it.
    #[test]
    fn what_was_replaced_gets_no_new_stamp() {
        let (older, newer) = (stamp(900_000, 2), stamp(1000, 1));
        let mut sender = sending(older);
        sender.outbox_mut().insert(key(), OutboxRow { seen: vec![Stamp::ZERO, older], ..row(newer) });
        assert_eq!(sender.outbox().shown(&key()).map(|row| row.stamp), Some(newer));
        assert_eq!(answer(&mut sender, older, Some((AckCode::ClockAhead, 1000))), Answered::Goes);
        assert!(matches!(sender.outbox().row(&key(), older).unwrap().state, RowState::Waiting { .. }));
        assert_eq!(answer(&mut sender, newer, None), Answered::Goes);
        assert_eq!(sender.outbox().row(&key(), older), None, "nobody has it, and nobody needs it");
    }

    #[test]
    fn a_new_stamp_is_above_what_the_write_replaces() {
        let (early, mut time) = (stamp(900_000, 1), ServerTime::new(OWN));
        let mut sender = sending(early);
        let confirmed = stamp(5000, 2);
        let anew = sender.stamp_anew(&key(), early, confirmed, 1000, &mut time, 1000).unwrap();
        assert!(anew > confirmed && anew < early);
        assert_eq!(sender.outbox().row(&key(), anew).unwrap().state, RowState::Queued);
        assert_eq!(sender.stamp_anew(&key(), early, confirmed, 1000, &mut time, 1000), None, "it is gone");
        assert!(sender.taken(&key()).contains(&early), "no other write gets its stamp, which a sibling may know");
    }

    /// A write had seen an earlier one that no server had taken, one step above the entry. Each new stamp was one step above that
    /// one, and the server refused it for ever.
    #[test]
    fn a_write_that_is_refused_by_one_step_goes_below_what_was_refused_before() {
        let (confirmed, mut time) = (stamp(900_000, 2), ServerTime::new(OWN));
        let before = stamp(900_001, 1);
        let refused = Stamp::new(before.time().next(), true, OWN);
        let mut sender = Sender::default();
        sender.outbox_mut().insert(key(), OutboxRow { seen: vec![Stamp::ZERO, before], ..row(refused) });
        let anew = sender.stamp_anew(&key(), refused, confirmed, 1000, &mut time, 1000).unwrap();
        assert!(anew > confirmed && anew.time() <= confirmed.time().plus_millis(1), "{anew:?}");
    }

    /// A write was acknowledged, and replaced before the base had it. A server that was set back then refused what had replaced it, and
    /// nobody had it.
    #[test]
    fn what_is_acknowledged_waits_for_the_base_beside_what_replaces_it() {
        let (first, second) = (stamp(10, 1), stamp(20, 1));
        let mut sender = sending(first);
        answer(&mut sender, first, None);
        sender.outbox_mut().insert(key(), OutboxRow { seen: vec![Stamp::ZERO, first], ..row(second) });
        let shown = |sender: &Sender| sender.outbox().shown(&key()).map(|row| row.stamp);
        assert_eq!(shown(&sender), Some(second));
        sender.handle_epoch();
        let Some(ClientFrame::Push { ops, .. }) = take(&mut sender, true) else { panic!("both go again") };
        assert_eq!(ops.iter().map(|op| op.stamp).collect::<Vec<_>>(), [first, second]);
        let mut refused = sender.clone();
        assert_eq!(answer(&mut refused, second, Some((AckCode::TooLarge, 1))), Answered::Held);
        assert_eq!(shown(&refused), Some(first));
        answer(&mut sender, second, None);
        assert_eq!(sender.outbox().stamps(&key()), [second], "the older one is needed no more");
    }
}
