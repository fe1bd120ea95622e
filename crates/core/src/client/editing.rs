//! What the user does: writes, decisions about conflicts, undo and redo.

use super::{
    Client, EditError, Event, OutboxRow, PendingResolution, RowState,
    seen::seen,
    steps::{Step, Undone, Way, Write},
};
use crate::{Conflict, ConflictId, Conflicts, Entry, Key, Resolution, Stamp, Value};

impl Client {
    /// What an edit that begins now will have seen of a key; pass it to [`Client::put`] when the edit is done.
    pub fn begin(&self, key: &Key) -> Stamp {
        self.view().begin(key)
    }

    /// Writes a value: shown at once, sent when possible. `began` is what the editor was showing when editing began.
    ///
    /// # Errors
    /// When the value or the dictionary is over the server's limits, or the server lets this client only read.
    pub fn put(&mut self, key: &Key, value: Value, began: Stamp, now_ms: u64) -> Result<Stamp, EditError> {
        self.user.check_put(key, &value, &self.base, || self.shown(key).is_none())?;
        self.write(key, Some(value), began, now_ms)
    }

    /// Removes a key. Nothing is written if it shows no value, unless the editor showed one that this replica has not
    /// read yet.
    ///
    /// # Errors
    /// When the server lets this client only read.
    pub fn remove(&mut self, key: &Key, began: Stamp, now_ms: u64) -> Result<Option<Stamp>, EditError> {
        let is_absent = self.shown(key).map_or(began == Stamp::ZERO, |shown| shown.value.is_none());
        if is_absent {
            return Ok(None);
        }
        self.write(key, None, began, now_ms).map(Some)
    }

    fn write(&mut self, key: &Key, value: Option<Value>, began: Stamp, now_ms: u64) -> Result<Stamp, EditError> {
        self.user.check_role()?;
        let (stamp, seen) = self.stamp(key, value.is_some(), began, now_ms);
        let row = OutboxRow {
            value,
            stamp,
            seen,
            author: self.user.author.clone(),
            recovered: None,
            sent: false,
            state: RowState::Queued,
        };
        self.sender.outbox_mut().insert(key.clone(), row);
        self.output.changed(key.clone());
        self.evaluate(now_ms);
        Ok(stamp)
    }

    /// The stamp of a write of now, and what it has seen.
    pub(super) fn stamp(&mut self, key: &Key, is_put: bool, began: Stamp, now_ms: u64) -> (Stamp, Vec<Stamp>) {
        let shown = self.shown(key).map_or(Stamp::ZERO, |shown| shown.stamp);
        let replica = self.replica();
        let own = |entry: &&Entry| entry.stamp.replica() == replica;
        let confirmed = self.base.entries().entry(key.as_str()).filter(own).map(|entry| entry.stamp);
        let rows = self.outbox().rows(key).iter().chain(self.siblings.rows(key));
        let seen = seen(began, confirmed, rows, replica);
        let mut taken = self.sender.taken(key);
        taken.extend(&seen);
        // A page shows the server's first entries before this replica has read them.
        (self.time.stamp(shown.max(began), &taken, is_put, now_ms), seen)
    }

    /// Lets a row of the outbox go that waits for its user. Returns whether there was one.
    pub fn discard(&mut self, key: &Key, stamp: Stamp, now_ms: u64) -> bool {
        let waits = self.outbox().row(key, stamp).is_some_and(|row| !row.state.is_active());
        if waits {
            self.sender.outbox_mut().remove(key, stamp);
            self.output.changed(key.clone());
            self.evaluate(now_ms);
        }
        waits
    }

    // Conflicts.

    /// The conflict rows that the server has.
    pub fn conflicts(&self) -> &Conflicts {
        self.base.conflicts()
    }

    /// The conflict rows that the server has lost, and is told of.
    pub fn lost_conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.decisions.lost()
    }

    /// What was decided here about conflicts and is not confirmed.
    pub fn resolutions(&self) -> impl Iterator<Item = &PendingResolution> {
        self.decisions.pending()
    }

    /// How many losing values never got a conflict row, because there was no room; they are in the histories of their keys.
    pub fn untold(&self) -> u64 {
        self.verifier.untold()
    }

    /// The conflicts about which nobody has decided, oldest first; those that this device hides are left out.
    /// O(rows × pending resolutions).
    pub fn open_conflicts(&self) -> Vec<&Conflict> {
        let lost = self.decisions.lost().filter(|lost| self.conflicts().get(&lost.id()).is_none());
        let open = self.conflicts().open().chain(lost).filter(|conflict| !self.is_decided(conflict));
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|conflict| conflict.seq);
        open
    }

    /// Whether one of them is of a key. O(log rows + rows of the key × pending resolutions).
    pub fn is_in_conflict(&self, key: &Key) -> bool {
        let lost = self.decisions.lost().filter(|lost| lost.key == *key);
        let mut open = self.conflicts().of_key(key).iter().chain(lost).filter(|conflict| conflict.is_open());
        open.any(|conflict| !self.is_decided(conflict))
    }

    fn is_decided(&self, conflict: &Conflict) -> bool {
        self.decisions.is_decided(conflict) || self.siblings.is_decided(conflict)
    }

    /// Decides about a conflict: here at once, for everybody when possible. [`Resolution::Restored`] writes the losing value
    /// again; [`Resolution::Dismissed`] lets it go for everybody if it is this user's own, and otherwise hides the conflict on
    /// this device. Returns the stamp of what was written, if anything was. A conflict that is not open stays as it is.
    ///
    /// # Errors
    /// When the losing value cannot be written, or the server lets this client only read.
    pub fn resolve(
        &mut self,
        id: &ConflictId,
        resolution: Resolution,
        now_ms: u64,
    ) -> Result<Option<Stamp>, EditError> {
        let open = self.open_conflicts().into_iter().find(|conflict| conflict.id() == *id).cloned();
        let Some(conflict) = open else { return Ok(None) };
        let decision = PendingResolution::new(&conflict, resolution, self.user.author.id);
        if !decision.is_private {
            self.user.check_role()?;
        }
        let written = match resolution {
            Resolution::Open | Resolution::Archived => return Ok(None),
            Resolution::Dismissed => None,
            Resolution::Restored => self.restore(&conflict, now_ms)?,
        };
        if self.decisions.add(decision) {
            self.output.say(Event::Conflicts);
        }
        self.evaluate(now_ms);
        Ok(written)
    }

    fn restore(&mut self, conflict: &Conflict, now_ms: u64) -> Result<Option<Stamp>, EditError> {
        let (key, began) = (&conflict.key, self.begin(&conflict.key));
        match &conflict.loser.value {
            Some(value) => self.put(key, value.clone(), began, now_ms).map(Some),
            None => self.remove(key, began, now_ms),
        }
    }

    // Undo.

    /// A write of `key` with `stamp` can be undone from now on: it replaced what had the stamp `replaced`, and `value`.
    pub fn record(&mut self, key: &Key, stamp: Stamp, replaced: Stamp, value: Option<Value>) {
        self.steps.record(vec![Write { key: key.clone(), stamp, replaced, value }]);
    }

    /// How many steps can be undone, and how many redone.
    pub fn undoable(&self) -> (usize, usize) {
        self.steps.len()
    }

    /// Takes back the last step, or the last that wrote a key.
    ///
    /// # Errors
    /// As [`Client::put`]; then it can be tried again.
    pub fn undo(&mut self, key: Option<&Key>, now_ms: u64) -> Result<Undone, EditError> {
        self.take_back(Way::Undo, key, now_ms)
    }

    /// Takes back the last undo.
    ///
    /// # Errors
    /// As [`Client::put`]; then it can be tried again.
    pub fn redo(&mut self, now_ms: u64) -> Result<Undone, EditError> {
        self.take_back(Way::Redo, None, now_ms)
    }

    /// Takes back each write of a step that is still the user's own. If one of them is refused, it and those after it stay a step,
    /// to be tried again.
    fn take_back(&mut self, way: Way, key: Option<&Key>, now_ms: u64) -> Result<Undone, EditError> {
        let Some((position, step)) = self.steps.take(way, key) else { return Ok(Undone::Nothing) };
        let (mut undone, mut back, mut refused) = (Undone::Nothing, Step::new(), None);
        let mut writes = step.into_iter();
        while let Some(write) = writes.next() {
            match self.take_back_write(&write, &mut back, now_ms) {
                Ok(next) => undone = undone.and(next),
                Err(error) => {
                    let left = std::iter::once(write).chain(writes.by_ref()).collect();
                    self.steps.put_back(way, position, left);
                    refused = Some(error);
                }
            }
        }
        if !back.is_empty() {
            self.steps.push(way.back(), back);
        }
        self.evaluate(now_ms);
        refused.map_or(Ok(undone), Err)
    }

    /// Writes again what a write had replaced, and adds to `back` how to take that back.
    fn take_back_write(&mut self, write: &Write, back: &mut Step, now_ms: u64) -> Result<Undone, EditError> {
        let Write { key, stamp, replaced, value } = write;
        let shown = self.shown(key).map(|shown| (shown.stamp, shown.author, shown.value.cloned()));
        let author = shown.as_ref().map(|&(_, author, _)| author);
        let Some((_, _, taken)) = shown.filter(|(shown, ..)| shown == stamp) else {
            return Ok(Undone::Overtaken { key: key.clone(), author });
        };
        let began = self.begin(key);
        let written = match value {
            Some(value) => Some(self.put(key, value.clone(), began, now_ms)?),
            None => self.remove(key, began, now_ms)?,
        };
        if let Some(written) = written {
            // What was replaced is there again, under another stamp.
            self.steps.rename(key, *replaced, written);
            back.push(Write { key: key.clone(), stamp: written, replaced: *stamp, value: taken });
        }
        Ok(Undone::Written(key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Person, Secret};

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    /// A client that has written `a` and `b` in one step, in place of these values.
    fn client(replaced: [Option<Value>; 2]) -> Client {
        let mut client = Client::opening(Secret([1; 16]), Person::generated(Secret([1; 16])), 0);
        let step = [key("a"), key("b")].into_iter().zip(replaced).map(|(key, value)| {
            let stamp = client.put(&key, Value::from_text("new"), Stamp::ZERO, 0).unwrap();
            Write { key, stamp, replaced: Stamp::ZERO, value }
        });
        let step = step.collect();
        client.steps.record(step);
        client
    }

    fn values(client: &Client) -> [Option<String>; 2] {
        ["a", "b"].map(|name| client.get(&key(name)).map(|value| value.as_str().to_owned()))
    }

    #[test]
    fn a_step_is_taken_back_and_done_again_as_a_whole() {
        let mut client = client([None, Some(Value::from_text("old"))]);
        assert_eq!(client.undo(Some(&key("b")), 0), Ok(Undone::Written(key("a"))));
        assert_eq!((values(&client), client.undoable()), ([None, Some("\"old\"".to_owned())], (0, 1)));
        assert_eq!(client.redo(0), Ok(Undone::Written(key("a"))));
        assert_eq!((values(&client), client.undoable()), (["a", "b"].map(|_| Some("\"new\"".to_owned())), (1, 0)));
        assert_eq!(client.undo(None, 0), Ok(Undone::Written(key("a"))));
        assert_eq!(client.undo(None, 0), Ok(Undone::Nothing));
    }

    #[test]
    fn of_a_step_what_is_still_ones_own_is_taken_back() {
        let mut client = client([None, None]);
        client.put(&key("a"), Value::from_text("newer"), Stamp::ZERO, 0).unwrap();
        assert_eq!(client.undo(None, 0), Ok(Undone::Written(key("b"))));
        assert_eq!(values(&client), [Some("\"newer\"".to_owned()), None]);
        assert_eq!(client.redo(0), Ok(Undone::Written(key("b"))));
        client.put(&key("b"), Value::from_text("newer"), Stamp::ZERO, 0).unwrap();
        let author = Some(client.author().id);
        assert_eq!(client.undo(None, 0), Ok(Undone::Overtaken { key: key("b"), author }), "the step is of b alone now");
    }

    #[test]
    fn what_is_refused_of_a_step_can_be_tried_again() {
        let large = Value::from_text(&"x".repeat(70_000));
        let mut client = client([None, Some(large)]);
        assert!(matches!(client.undo(None, 0), Err(EditError::Value(_))));
        assert_eq!((values(&client), client.undoable()), ([None, Some("\"new\"".to_owned())], (1, 1)));
        assert!(matches!(client.undo(None, 0), Err(EditError::Value(_))));
        assert_eq!(client.undoable(), (1, 1));
    }
}
