//! A program that writes groups through the server, as a request of several writes does: it has seen the entries that it replaces, and
//! sends a group again when it is in doubt.

use keybook_core::{
    HybridTime, ReplicaId, Stamp,
    server::{Actor, Command, Outcome, Receipt},
    wire::{AckClass, AckCode, Condition, Op, Role},
};

use super::{Tally, World, server::Queued};
use crate::support::author;

/// Far from those of clients.
const REPLICAS: u64 = 1 << 40;
const OPS_MAX: u64 = 3;
/// No connection has this number.
const NOBODY: (u64, Option<u64>) = (u64::MAX, None);

impl World {
    /// Lets a group wait for its commit: a new one, or the last one again.
    pub(super) fn write_group(&mut self) {
        let is_again = self.decisions.one_in(4);
        let command = match self.group.take().filter(|_| is_again) {
            Some(command) => command,
            None => self.new_group(),
        };
        self.group = Some(command.clone());
        let author = author(self.decisions.below(5));
        let actor = Actor { role: Role::Writer, author, replicas: Vec::new() };
        if let Some(server) = &mut self.server {
            server.queue.push_back(Queued { command, done: Receipt::default(), actor, reply: NOBODY });
        }
    }

    /// Its conditions name what is on the disk, which may have changed when it is applied.
    fn new_group(&mut self) -> Command {
        self.next_id += 1;
        let (replica, contents) = (ReplicaId(REPLICAS + self.next_id), self.disk.contents());
        let (mut ops, mut conditions): (Vec<Op>, Vec<Condition>) = Default::default();
        for _ in 0..1 + self.decisions.below(OPS_MAX) {
            let (key, value) = (self.any_key(), (!self.decisions.one_in(4)).then(|| self.any_value()));
            if ops.iter().any(|op| op.key == key.as_str()) {
                continue;
            }
            let saw = contents.entries.get(&key).map(|row| row.entry.stamp);
            let seen = saw.unwrap_or_default();
            let time = HybridTime::from_millis(self.now_ms).max(seen.time().plus_millis(1));
            let stamp = Stamp::new(time, value.is_some(), replica);
            let shown = self.oracle.shown_now(&key, seen);
            self.oracle.write(&key, stamp, shown);
            if self.decisions.one_in(2) {
                conditions.push(Condition { key: key.as_str().to_owned(), stamp: saw });
            }
            let (key, value) = (key.as_str().to_owned(), value.map(|value| value.as_str().to_owned()));
            ops.push(Op { key, value, stamp, seen: vec![seen], author: None, recovered: None });
        }
        Command::Group { ops, conditions }
    }
}

/// Nothing of a group was applied, or all of it. Returns what was.
pub(super) fn accepted_of_group(tally: &mut Tally, ops: &[Op], receipt: &Receipt) -> Vec<Op> {
    let is_refused = |outcome: &&Outcome| match outcome {
        Outcome::Applied => false,
        Outcome::Excepted { code, .. } => code.class() != AckClass::Done,
    };
    let refused = receipt.outcomes.iter().filter(is_refused).count();
    if refused > 0 {
        assert_eq!(refused, receipt.outcomes.len(), "a part of a group was refused: {receipt:?}");
        tally.count("group refused");
        return Vec::new();
    }
    tally.count("group");
    let is_accepted =
        |outcome: &Outcome| matches!(outcome, Outcome::Applied | Outcome::Excepted { code: AckCode::Superseded, .. });
    let accepted = ops.iter().zip(&receipt.outcomes).filter(|(_, outcome)| is_accepted(outcome));
    accepted.map(|(op, _)| op.clone()).collect()
}
