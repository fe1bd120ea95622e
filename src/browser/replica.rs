//! What the page asks of its replica.

use std::ops::Range;

use keybook_core::{
    author::{Author, AuthorName},
    client::{Client, EditError},
    conflict::{ConflictId, Resolution},
    key::Key,
    stamp::Stamp,
    value::Value,
};

use super::{comparisons, driver::Driver, identity, now_ms};
use crate::app::model::{Comparison, HeldEdit, Replica, Row, Status, Sync, ValueText, held_reason};

impl Replica for Driver {
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
        state.rows.row(key, &state.client, state.connection())
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
        self.step(|client, now_ms| client.put(key, value, began, now_ms))?;
        self.refresh();
        Ok(())
    }

    fn remove(&self, key: &Key, began: Stamp) -> Result<(), EditError> {
        self.step(|client, now_ms| client.remove(key, began, now_ms))?;
        self.refresh();
        Ok(())
    }

    fn discard(&self, key: &Key, stamp: Stamp) {
        self.step(|client, _| client.discard(key, stamp));
        self.refresh();
    }

    fn held_value(&self, key: &Key, stamp: Stamp) -> Option<Value> {
        self.state.borrow().client.outbox().row(key, stamp)?.value.clone()
    }

    fn conflicts(&self) -> Vec<Comparison> {
        comparisons::conflicts(&self.state.borrow().client)
    }

    fn resolve(&self, id: ConflictId, resolution: Resolution) -> Result<(), EditError> {
        self.step(|client, now_ms| client.resolve(id, resolution, now_ms))?;
        self.refresh();
        Ok(())
    }

    fn changes(&self) -> Vec<Comparison> {
        comparisons::changes(&self.state.borrow().client)
    }

    fn forget_absence(&self) {
        self.step(|client, _| client.forget_absence());
        self.refresh();
    }

    fn search(&self, text: &str) {
        let state = &mut *self.state.borrow_mut();
        state.rows.search(text, &state.client);
    }

    fn status(&self) -> Status {
        let state = self.state.borrow();
        let (client, connection) = (&state.client, state.connection());
        let lost = || client.open_conflicts().filter(|conflict| comparisons::is_own(conflict, client));
        let (changed, changed_more) =
            client.absence().map_or((0, 0), |absence| (absence.changes().len() as u64, absence.more()));
        Status {
            connection,
            sync: match Sync::new(client.unconfirmed(), connection, state.is_durable()) {
                Sync::OnDevice(edits) if state.is_keeping() => Sync::Saving(edits),
                sync => sync,
            },
            live: state.rows.live(),
            is_verified: client.verified() == Some(client.cursor()),
            seq: client.cursor().0,
            author: client.author().name.as_str().to_owned(),
            notice: state.notice.clone().or_else(|| state.damage.clone()),
            held: if client.outbox().inactive() == 0 { Vec::new() } else { held(client) },
            conflicts: client.open_conflicts().count(),
            lost: lost().count(),
            newest_lost: lost().next_back().map(|conflict| conflict.id),
            changed: changed + changed_more,
            changed_more,
        }
    }

    fn rename(&self, name: &str) {
        self.step(|client, _| {
            let author = Author { id: client.author().id, name: AuthorName::new(name) };
            identity::keep_author(&author);
            client.set_author(author);
        });
        self.refresh();
    }

    fn normalize(&self, text: &str) -> String {
        js_sys::JsString::from(text).normalize("NFC").into()
    }

    fn now_ms(&self) -> u64 {
        now_ms().saturating_add_signed(self.state.borrow().client.offset_ms())
    }
}

fn held(client: &Client) -> Vec<HeldEdit> {
    let held = client.outbox().iter().filter_map(|(key, row)| {
        let reason = held_reason(row.state)?;
        Some(HeldEdit { key: key.clone(), value: row.value.as_ref().map(ValueText::new), stamp: row.stamp, reason })
    });
    held.collect()
}
