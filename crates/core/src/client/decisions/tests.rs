//! What the server is told about conflicts.

use super::*;
use crate::{Epoch, HybridTime, ReplicaId, Side, Stamp, Winner};

const OWN: AuthorId = AuthorId(1);

fn stamp(ms: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(ms), false, ReplicaId(1))
}

fn conflict(seq: u64, resolution: Resolution) -> Conflict {
    let loser = Side { value: None, stamp: stamp(2 * seq - 1), author: OWN };
    let winner = Winner { stamp: stamp(2 * seq), author: AuthorId(2) };
    Conflict { key: Key::parse("k").unwrap(), loser, winner, seq: Seq(seq), resolution }
}

fn conflicts(rows: impl IntoIterator<Item = Conflict>) -> Conflicts {
    let mut conflicts = Conflicts::default();
    rows.into_iter().for_each(|row| conflicts.set(row));
    conflicts
}

fn message(decisions: &mut Decisions, rows: &Conflicts, now_ms: u64) -> Option<ClientFrame> {
    decisions.take_message(rows, &Limits::default(), &AuthorName::generated, &|_| false, 5, now_ms)
}

fn dismissal(row: &Conflict) -> PendingResolution {
    PendingResolution::new(row, Resolution::Dismissed, OWN)
}

#[test]
fn a_decision_is_sent_once_a_connection_until_it_is_done() {
    let (open, mut decisions) = (conflict(3, Resolution::Open), Decisions::default());
    assert!(decisions.add(dismissal(&open)));
    assert!(!decisions.add(PendingResolution::new(&open, Resolution::Restored, OWN)), "the first stays");
    assert!(decisions.is_decided(&open));
    let rows = conflicts([open.clone()]);
    assert!(!decisions.settle(&rows, Seq(3), OWN));
    let sent = ClientFrame::Resolve { batch: 5, id: open.id(), resolution: Resolution::Dismissed };
    assert_eq!(message(&mut decisions, &rows, 0), Some(sent.clone()));
    assert_eq!((message(&mut decisions, &rows, 0), decisions.in_flight()), (None, 1));
    decisions.handle_disconnected();
    assert_eq!(message(&mut decisions, &rows, 0), Some(sent));
    assert!(decisions.settle(&conflicts([conflict(3, Resolution::Restored)]), Seq(3), OWN), "somebody has decided");
    assert_eq!(decisions.pending().count(), 0);
    assert_eq!(decisions.take_changed().len(), 1);
}

#[test]
fn what_is_refused_is_open_again_and_what_was_busy_is_sent_again() {
    let check = |code: AckCode, data, is_decided: bool, wakes_at: Option<u64>| {
        let (open, mut decisions) = (conflict(3, Resolution::Open), Decisions::default());
        decisions.add(dismissal(&open));
        let rows = conflicts([open.clone()]);
        message(&mut decisions, &rows, 0).unwrap();
        decisions.handle_answer(5, Seq(4), &[Exception { index: 0, code, data }], 100);
        assert!(!decisions.settle(&rows, Seq(3), OWN), "the base has not come to the answer");
        decisions.settle(&rows, Seq(4), OWN);
        assert_eq!((decisions.is_decided(&open), decisions.wakes_at()), (is_decided, wakes_at));
        assert_eq!(message(&mut decisions, &rows, 200), None);
        assert_eq!(wakes_at.map(|at| message(&mut decisions, &rows, at).is_some()), wakes_at.map(|_| true));
    };
    check(AckCode::Superseded, 0, false, None);
    check(AckCode::NotAuthor, 0, false, None);
    check(AckCode::Busy, 50, true, Some(100 + WAIT_MS_MIN));
    check(AckCode::Busy, 5000, true, Some(5100));
    check(AckCode::Busy, u64::MAX, true, Some(100 + WAIT_MS_MAX));
    check(AckCode::ReadOnly, 0, true, Some(100 + WAIT_MS_MAX));
}

/// A server was busy, and then away. When the time had come, the client asked to be called at once, again and again.
#[test]
fn what_cannot_go_when_its_time_has_come_is_not_waited_for() {
    let (open, mut decisions) = (conflict(3, Resolution::Open), Decisions::default());
    decisions.add(dismissal(&open));
    let rows = conflicts([open]);
    message(&mut decisions, &rows, 0).unwrap();
    decisions.handle_answer(5, Seq(4), &[Exception { index: 0, code: AckCode::Busy, data: 5000 }], 100);
    decisions.wake(5099);
    assert_eq!(decisions.wakes_at(), Some(5100));
    decisions.wake(5100);
    assert_eq!(decisions.wakes_at(), None);
    assert!(message(&mut decisions, &rows, 5100).is_some(), "and it goes as soon as it may");
}

/// Of rows that were told together one had come from elsewhere before the answer came, which then counted for the wrong rows.
#[test]
fn an_answer_is_about_the_row_at_its_place() {
    let epoch = |number| Lineage { past: Vec::new(), current: Epoch(number) };
    let mut decisions = Decisions::default();
    let lost = vec![conflict(5, Resolution::Open), conflict(6, Resolution::Open)];
    decisions.recover(lost.clone(), &|seq| Branch::of(&epoch(1), seq, &epoch(2)), OWN);
    message(&mut decisions, &Conflicts::default(), 0).unwrap();
    assert!(decisions.settle(&conflicts([lost[0].clone()]), Seq(1), OWN));
    decisions.handle_answer(5, Seq(1), &[Exception { index: 1, code: AckCode::Busy, data: 5000 }], 0);
    assert!(!decisions.settle(&conflicts([lost[0].clone()]), Seq(1), OWN), "the other one is not there yet");
    assert_eq!(decisions.wakes_at(), Some(5000));
}

#[test]
fn who_dismisses_anothers_value_tells_nobody() {
    let mut row = conflict(3, Resolution::Open);
    row.loser.author = AuthorId(9);
    let (rows, mut decisions) = (conflicts([row.clone()]), Decisions::default());
    assert!(decisions.add(dismissal(&row)) && decisions.is_decided(&row));
    decisions.settle(&rows, Seq(9), OWN);
    assert_eq!((message(&mut decisions, &rows, 0), decisions.is_decided(&row)), (None, true));
    assert!(decisions.settle(&conflicts([conflict(3, Resolution::Restored)]), Seq(9), OWN));
}

/// A row that somebody had made up was hidden here, and with it the real one that took its name.
#[test]
fn what_is_hidden_as_anothers_is_shown_once_it_is_ones_own() {
    let (mut made_up, real) = (conflict(3, Resolution::Open), conflict(3, Resolution::Open));
    made_up.loser.author = AuthorId(9);
    let mut decisions = Decisions::default();
    decisions.add(dismissal(&made_up));
    assert!(!decisions.settle(&conflicts([made_up]), Seq(9), OWN));
    let real = Conflict { loser: Side { author: OWN, ..real.loser.clone() }, ..real };
    assert!(decisions.settle(&conflicts([real.clone()]), Seq(9), OWN) && !decisions.is_decided(&real));
}

#[test]
fn what_a_rollback_took_back_is_told_again() {
    let rows =
        vec![conflict(5, Resolution::Open), conflict(6, Resolution::Restored), conflict(7, Resolution::Archived)];
    let epoch = |number| Lineage { past: Vec::new(), current: Epoch(number) };
    let branch = |seq| Branch::of(&epoch(1), seq, &epoch(2));
    let mut decisions = Decisions::default();
    decisions.recover(rows, &branch, OWN);
    let found: Vec<_> = decisions.pending().map(|pending| (pending.id.loser, pending.resolution)).collect();
    assert_eq!(found, [(stamp(11), Resolution::Restored)]);
    let mut strange = decisions.clone();
    assert_eq!((strange.take_strangers(&epoch(1)).len(), strange.take_strangers(&epoch(2)).len()), (0, 1));
    assert_eq!(
        (strange.lost().count(), strange.take_changed()),
        (0, BTreeSet::from([conflict(5, Resolution::Open).key]))
    );
    let (none, mut waiting) = (Conflicts::default(), decisions.clone());
    let sent = waiting.take_message(&none, &Limits::default(), &AuthorName::generated, &|_| true, 5, 0);
    assert_eq!(sent, None, "the write that won goes first");
    let Some(ClientFrame::Recover { conflicts: sent, .. }) = message(&mut decisions, &none, 0) else { panic!() };
    assert_eq!(sent.iter().map(|row| row.loser).collect::<Vec<_>>(), [stamp(9)]);
    assert!(
        decisions.settle(&conflicts([conflict(5, Resolution::Dismissed)]), Seq(1), OWN),
        "it has a row of that name"
    );
    assert_eq!(decisions.lost().count(), 0);
}
