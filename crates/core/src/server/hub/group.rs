//! Groups: operations that are applied together, or not at all.
//!
//! All are judged first, as if those before them were applied. They are of different keys, so what is then written is what was judged.
//!
//! A group is sent again when its answer was lost. By then it has changed the stamps that its conditions name. So if the server has
//! one of its writes, it has had the group, and the conditions do not count any more. What a rollback has taken of it is applied again.

use std::collections::BTreeSet;

use super::{Admitted, Batch, Hub, Judged};
use crate::{
    Key,
    limits::GROUP_REPLACED_BYTES_MAX,
    server::{Outcome, Row, Rows, record::Context},
    wire::{AckClass, AckCode, Condition, Op},
};

impl Hub {
    /// The outcomes of the operations, then of the conditions.
    pub(super) fn apply_group<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        context: &Context,
        ops: &[Op],
        conditions: &[Condition],
    ) -> Result<Vec<Outcome>, R::Error> {
        let (mut counters, mut replaced_bytes, mut is_known) = (self.counters, 0, false);
        let (mut outcomes, mut admitted, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, op) in ops.iter().enumerate() {
            let judged = match keys.insert(&op.key) {
                // A group is bounded in itself.
                true => self.judge(rows, &counters, context, batch.seq, op, &mut 0)?,
                false => Judged::Refused(AckCode::BadKey.into()),
            };
            outcomes.push(match judged {
                Judged::Admitted(one) => {
                    replaced_bytes += one.replaced_bytes();
                    if one.wins {
                        counters.replace(&one.key, one.old.as_ref().map(|row| &row.entry), &one.new);
                    }
                    admitted.push((index, one));
                    match replaced_bytes > GROUP_REPLACED_BYTES_MAX {
                        true => Outcome::Excepted { code: AckCode::GroupTooLarge, data: replaced_bytes },
                        false => Outcome::Applied,
                    }
                }
                Judged::Known => {
                    is_known = true;
                    AckCode::Duplicate.into()
                }
                Judged::Refused(outcome) => outcome,
            });
        }
        for condition in conditions {
            outcomes.push(if is_known { Outcome::Applied } else { holds(rows, condition)? });
        }
        let is_refused = |outcome: &Outcome| match outcome {
            Outcome::Applied => false,
            Outcome::Excepted { code, .. } => code.class() != AckClass::Done,
        };
        if outcomes.iter().any(is_refused) {
            for outcome in outcomes.iter_mut().filter(|outcome| !is_refused(outcome)) {
                *outcome = AckCode::GroupRefused.into();
            }
            return Ok(outcomes);
        }
        for (index, one) in admitted {
            outcomes[index] = self.write(rows, batch, context, &ops[index], one)?;
        }
        Ok(outcomes)
    }
}

impl Admitted {
    /// The bytes of the value that becomes a version.
    fn replaced_bytes(&self) -> u64 {
        self.old.as_ref().map_or(0, Row::value_bytes)
    }
}

fn holds<R: Rows>(rows: &mut R, Condition { key, stamp }: &Condition) -> Result<Outcome, R::Error> {
    let Ok(parsed) = Key::parse(key) else {
        return Ok(Outcome::Excepted { code: AckCode::BadKey, data: key.len() as u64 });
    };
    let entry = rows.entry(&parsed)?.map(|row| row.entry);
    let holds = match stamp {
        Some(stamp) => entry.is_some_and(|entry| entry.stamp == *stamp),
        None => !entry.is_some_and(|entry| entry.is_live()),
    };
    Ok(if holds { Outcome::Applied } else { AckCode::ConditionFailed.into() })
}
