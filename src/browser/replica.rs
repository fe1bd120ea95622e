//! What the page asks of its replica.

use std::ops::Range;

use keybook_core::{
    Author, AuthorName, ConflictId, Key, Resolution, Stamp, Value,
    client::{Client, EditError, Undone},
};

use super::{download, driver::Driver, identity, now_ms};
use crate::model::{self, Comparison, HeldEdit, Replica, Row, Status, Sync, ValueText, held_reason};

impl Replica for Driver {
    fn name(&self) -> String {
        self.state.borrow().name().to_owned()
    }

    fn len(&self) -> usize {
        self.state.borrow().rows.len()
    }

    fn keys(&self, range: Range<usize>) -> Vec<Key> {
        self.state.borrow().rows.keys(range)
    }

    fn position(&self, key: &Key) -> usize {
        self.state.borrow().rows.position(key)
    }

    fn row(&self, key: &Key) -> Option<Row> {
        let state = self.state.borrow();
        state.rows.row(key, &state.client, state.unsaved())
    }

    fn value(&self, key: &Key) -> Option<Value> {
        let state = self.state.borrow();
        state.rows.value(key, &state.client)
    }

    fn begin(&self, key: &Key) -> Stamp {
        let state = self.state.borrow();
        state.rows.begin(key, &state.client)
    }

    fn put(&self, key: &Key, value: Value, began: Stamp) -> Result<(), EditError> {
        self.edit(key, |client, now_ms| client.put(key, value, began, now_ms).map(Some))
    }

    fn remove(&self, key: &Key, began: Stamp) -> Result<(), EditError> {
        self.edit(key, |client, now_ms| client.remove(key, began, now_ms))
    }

    fn undo(&self, key: Option<&Key>) -> Result<Option<Key>, String> {
        self.take_back(|client, now_ms| client.undo(key, now_ms))
    }

    fn redo(&self) -> Result<Option<Key>, String> {
        self.take_back(Client::redo)
    }

    fn discard(&self, key: &Key, stamp: Stamp) {
        self.step(|client, now_ms| client.discard(key, stamp, now_ms));
        self.refresh();
    }

    fn held_value(&self, key: &Key, stamp: Stamp) -> Option<Value> {
        self.state.borrow().client.outbox().row(key, stamp)?.value.clone()
    }

    fn conflicts(&self) -> Vec<Comparison> {
        model::conflicts(&self.state.borrow().client)
    }

    fn resolve(&self, id: ConflictId, resolution: Resolution) -> Result<(), EditError> {
        let key = self.state.borrow().client.conflicts().get(id).map(|conflict| conflict.key.clone());
        // One that is gone was decided elsewhere.
        key.map_or(Ok(()), |key| self.edit(&key, |client, now_ms| client.resolve(id, resolution, now_ms)))
    }

    fn changes(&self) -> Vec<Comparison> {
        model::changes(&self.state.borrow().client)
    }

    fn forget_absence(&self) {
        self.step(Client::forget_absence);
        self.refresh();
    }

    fn search(&self, text: &str) {
        let state = &mut *self.state.borrow_mut();
        state.rows.search(text, &state.client);
    }

    fn status(&self) -> Status {
        let state = self.state.borrow();
        let (client, connection) = (&state.client, state.connection());
        // Where nothing is kept, each tab speaks for itself: what it has is lost with it.
        let siblings = if state.is_durable() { client.sibling_edits() } else { 0 };
        let own = client.unconfirmed();
        let lost = || client.open_conflicts().filter(|conflict| model::is_own(conflict, client));
        let (changed, changed_more) =
            client.absence().map_or((0, 0), |absence| (absence.changes().len() as u64, absence.more()));
        Status {
            connection,
            sync: match Sync::new(own, connection, state.is_durable()) {
                Sync::OnDevice(edits) if state.is_keeping() => Sync::Saving(edits),
                // What another tab has told is on this device; whether its connection lives is not known here.
                Sync::Saved | Sync::OnDevice(_) if siblings > 0 => Sync::OnDevice(own + siblings),
                sync => sync,
            },
            is_known: client.dictionary().is_some(),
            live: state.rows.live(),
            is_verified: client.verified() == Some(client.cursor()),
            seq: client.cursor().0,
            author: client.author().name.as_str().to_owned(),
            notice: state.notice.clone().or_else(|| state.damage.clone()),
            is_plain_http: state.is_plain_http,
            held: if client.outbox().inactive() == 0 { Vec::new() } else { held(client) },
            undoable: client.undoable(),
            trouble: state.trouble(),
            room: state.room,
            clock_ahead_ms: -client.offset_ms(),
            divergences: client.divergences(),
            conflicts: client.open_conflicts().count(),
            lost: lost().count(),
            newest_lost: lost().next_back().map(|conflict| conflict.id),
            changed: changed + changed_more,
            changed_more,
        }
    }

    fn accept_plain_http(&self) {
        identity::accept_plain_http();
        self.state.borrow_mut().is_plain_http = false;
        self.refresh();
    }

    fn rename(&self, name: &str) {
        self.step(|client, _| {
            let author = Author { id: client.author().id, name: AuthorName::new(name) };
            identity::keep_author(&author);
            client.set_author(author);
        });
        self.refresh();
    }

    fn check(&self) {
        self.step(Client::verify_anew);
        self.refresh();
    }

    fn look(&self) {
        Self::look(self);
    }

    fn forget(&self) {
        Self::forget(self);
    }

    fn export(&self) {
        let state = self.state.borrow();
        // What the browser does not save, the person sees.
        let _ = download::save(&unsaved(&state.client));
    }

    fn normalize(&self, text: &str) -> String {
        js_sys::JsString::from(text).normalize("NFC").into()
    }

    fn now_ms(&self) -> u64 {
        now_ms().saturating_add_signed(self.state.borrow().client.offset_ms())
    }
}

impl Driver {
    /// Writes a key, and remembers what that replaces: what is shown, whether this replica has read it or the page alone.
    fn edit(
        &self,
        key: &Key,
        write: impl FnOnce(&mut Client, u64) -> Result<Option<Stamp>, EditError>,
    ) -> Result<(), EditError> {
        let (row, value) = (self.row(key), self.value(key));
        // Of a row that is not read yet, only the beginning may be known.
        let is_known = row.is_none() || value.is_some();
        let replaced = row.map_or(Stamp::ZERO, |row| row.stamp);
        self.step(|client, now_ms| {
            let written = write(client, now_ms)?;
            if let Some(stamp) = written.filter(|_| is_known) {
                client.record(key, stamp, replaced, value);
            }
            Ok::<_, EditError>(())
        })?;
        self.refresh();
        Ok(())
    }

    fn take_back(
        &self,
        take_back: impl FnOnce(&mut Client, u64) -> Result<Undone, EditError>,
    ) -> Result<Option<Key>, String> {
        let undone = self.step(take_back).map_err(|error| error.to_string())?;
        self.refresh();
        match undone {
            Undone::Nothing => Ok(None),
            Undone::Written(key) => Ok(Some(key)),
            Undone::Overtaken { key, author } => {
                let state = self.state.borrow();
                let name = author.map(|author| state.client.name(author).as_str().to_owned());
                Err(format!("{} has changed {key} since", name.unwrap_or_else(|| "somebody".to_owned())))
            }
        }
    }
}

/// What the server does not have, as a bulk write of the API has it: an array of `{key, value}`, or `{key, remove}`.
fn unsaved(client: &Client) -> String {
    let rows = client.outbox().iter().map(|(key, row)| {
        let key = Value::from_text(key.as_str());
        match &row.value {
            Some(value) => format!("{{\"key\":{},\"value\":{}}}", key.as_str(), value.as_str()),
            None => format!("{{\"key\":{},\"remove\":true}}", key.as_str()),
        }
    });
    format!("[\n{}\n]\n", rows.collect::<Vec<_>>().join(",\n"))
}

fn held(client: &Client) -> Vec<HeldEdit> {
    let held = client.outbox().iter().filter_map(|(key, row)| {
        let reason = held_reason(row.state)?;
        Some(HeldEdit { key: key.clone(), value: row.value.as_ref().map(ValueText::new), stamp: row.stamp, reason })
    });
    held.collect()
}
