//! What a person can do on the page. Buttons, keys and menus share these values, and a palette could list them.

use keybook_core::{
    AuthorName, ConflictId, Key, Resolution, Stamp, Value,
    client::{Client, EditError, Undone},
};

use super::{
    Model,
    areas::Areas,
    effect::Effect,
    form::{Form, FormNote},
    row::Row,
};

/// The characters of a value within a sentence.
const QUOTED_CHARS_MAX: usize = 80;

/// An act of a person; see [`super::Model::act`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    // The form.
    /// The form's key is this text now.
    TypeKey(String),
    /// The form's value is this text now.
    TypeValue(String),
    /// Done with the key: goes to the value, or sets the entry if there is one.
    EnterKey,
    /// Writes what the form holds.
    Set,
    /// Fills the form with what was looked for, as a key.
    AddSearched,

    // The grid.
    /// Moves the cursor.
    Go(Step),
    /// Puts the cursor on a key.
    Point(Key),
    /// Removes an entry, and offers for a while to bring it back. An entry of which only the beginning is known yet stays.
    Remove(Key),
    /// Removes the entry under the cursor.
    RemoveAtCursor,
    /// Brings back what was removed a moment ago.
    UndoRemoval,
    /// Takes back this person's last edit, and goes there.
    Undo,
    /// Takes back the last undo, and goes there.
    Redo,
    /// Looks for a text.
    Search(String),

    // The editor in the grid.
    /// Begins to edit an entry in place, or goes on with its draft. While only its beginning is known, it cannot be edited.
    Edit(Key),
    /// Edits the entry under the cursor.
    EditAtCursor,
    /// What is edited in place is this text now.
    TypeEdit(String),
    /// Writes what was edited in place, and goes to its row, wherever that is by now.
    CommitEdit,
    /// The person has gone elsewhere: writes what was edited in place if it is a value and nobody else has changed the entry
    /// meanwhile. Else it waits as a draft.
    LeaveEdit,
    /// Leaves the value as it was, and gives the draft up.
    CancelEdit,
    /// Goes to the first draft that waits, and on with it.
    ResumeDraft,

    // Conflicts, and what others did.
    /// Opens the dialog.
    Compare(Compared),
    /// Opens the dialog on what the news are about.
    Review,
    /// The dialog is closed.
    CloseComparison,
    /// Decides about a conflict.
    Resolve(ConflictId, Resolution),
    /// The news are read.
    CloseNews,
    /// Why an edit was not taken is read.
    CloseRefusal,
    /// Fills the form with the first refused edit.
    EditHeld,
    /// Lets the first refused edit go.
    DiscardHeld,

    // This device, and who edits here.
    /// Opens the panel of this device.
    OpenDevicePanel,
    /// Compares all entries with the server's now.
    Check,
    /// Saves the edits that the server does not have as a file of this device.
    Export,
    /// Deletes what this device keeps of the dictionary; asks once more if edits would be lost.
    Forget,
    /// What does not work over plain HTTP is read.
    AcceptPlainHttp,
    /// Begins to edit the person's own name.
    BeginRename,
    /// Writes under another name from now on; an empty one changes nothing.
    Rename(String),
    /// Leaves the name as it is.
    EndRename,
}

/// A way of the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the keys")]
pub enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Left,
    Right,
}

/// What the dialog shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The open conflicts.
    Conflicts,
    /// What others changed while this device was away.
    Changes,
}

/// Where the focus goes after an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The grid.
    Grid,
    /// The form's key.
    KeyField,
    /// The form's value.
    ValueField,
    /// The dialog, which is opened if it is not open.
    Dialog,
}

/// A write of a key.
pub(super) enum Write {
    Put(Value, Stamp),
    Remove(Stamp),
    Resolve(ConflictId, Resolution),
}

impl Model {
    /// Does what the person wants, and returns where the focus goes then. Without effect before the page is alive.
    pub fn act(&mut self, act: Act, now_ms: u64) -> Option<Focus> {
        // What is shown is what the act is about.
        self.live.as_ref()?;
        match act {
            Act::TypeKey(text) => self.type_in_form(|form| form.key = text),
            Act::TypeValue(text) => self.type_in_form(|form| form.value = text),
            Act::EnterKey if self.form.value.is_empty() => return Some(Focus::ValueField),
            Act::EnterKey | Act::Set => return self.set(now_ms),
            Act::AddSearched => return Some(self.fill_form(self.side.search.clone(), String::new())),

            Act::Go(step) => {
                self.grid.step(step, &self.rows);
                self.changed |= Areas::ROWS;
            }
            Act::Point(key) => {
                self.grid.point(key);
                self.changed |= Areas::ROWS;
            }
            Act::Remove(key) => {
                self.remove(&key, now_ms);
                return Some(Focus::Grid);
            }
            Act::RemoveAtCursor => self.remove_at_cursor(now_ms),
            Act::UndoRemoval => return self.undo_removal(now_ms),
            Act::Undo => self.take_back(|client| client.undo(None, now_ms)),
            Act::Redo => self.take_back(|client| client.redo(now_ms)),
            Act::Search(text) => self.search_for(text),

            Act::Edit(key) => self.edit(key, now_ms),
            Act::EditAtCursor => self.edit_at_cursor(now_ms),
            Act::TypeEdit(text) => {
                if let Some(draft) = self.drafts.open_mut() {
                    draft.text = text;
                }
            }
            Act::CommitEdit => {
                let key = self.drafts.open()?.0.clone();
                if self.commit_edit(now_ms) {
                    self.go_to(&key);
                    return Some(Focus::Grid);
                }
            }
            Act::LeaveEdit => self.leave_edit(now_ms),
            Act::CancelEdit => {
                self.drafts.finish();
                self.changed |= Areas::EDITOR | Areas::ROWS;
                return Some(Focus::Grid);
            }
            Act::ResumeDraft => {
                let first = self.drafts.waiting().next().cloned();
                if let Some(key) = first {
                    self.go_to(&key);
                    self.edit(key, now_ms);
                }
            }

            Act::Compare(compared) => return Some(self.compare(compared)),
            Act::Review if self.status.changed > 0 => return Some(self.compare(Compared::Changes)),
            Act::Review => return Some(self.compare(Compared::Conflicts)),
            Act::CloseComparison => {
                self.side.compared = None;
                self.changed |= Areas::SIDE;
            }
            Act::Resolve(id, resolution) => return self.resolve(id, resolution, now_ms),
            Act::CloseNews => {
                self.hear();
                self.on_client(|client| client.forget_absence(now_ms));
                return Some(Focus::Grid);
            }
            Act::CloseRefusal => self.refuse(None),
            Act::EditHeld => return self.edit_held(),
            Act::DiscardHeld => {
                if let Some((key, stamp)) = self.first_held() {
                    self.on_client(|client| {
                        client.discard(&key, stamp, now_ms);
                    });
                }
            }

            Act::OpenDevicePanel => {
                self.side.is_forgetting = false;
                self.changed |= Areas::SIDE;
                self.effects.push_back(Effect::Look);
            }
            Act::Check => self.on_client(|client| client.verify_anew(now_ms)),
            Act::Export => self.effects.extend(self.client().map(|client| Effect::Export(unsaved(client)))),
            Act::Forget => self.forget(),
            Act::AcceptPlainHttp => {
                self.side.is_plain_http = false;
                self.changed |= Areas::STATUS;
                self.effects.push_back(Effect::KeepPlainHttp);
            }
            Act::BeginRename => self.set_renaming(true),
            Act::Rename(name) => self.rename(&name, now_ms),
            Act::EndRename => self.set_renaming(false),
        }
        None
    }

    // The form.

    fn type_in_form(&mut self, change: impl FnOnce(&mut Form)) {
        change(&mut self.form);
        self.form.note = self.replaced().map_or(FormNote::Nothing, |row| FormNote::Replaces(describe(&row)));
        self.changed |= Areas::EDITOR;
    }

    /// The row that the form's key has.
    fn replaced(&self) -> Option<Row> {
        self.row(&self.form.read_key(self.live.as_ref()?.normalize).ok()?)
    }

    /// Fills the form in, and waits in the field that is to be typed next.
    fn fill_form(&mut self, key: String, value: String) -> Focus {
        let focus = if key.is_empty() { Focus::KeyField } else { Focus::ValueField };
        self.type_in_form(|form| (form.key, form.value) = (key, value));
        focus
    }

    fn set(&mut self, now_ms: u64) -> Option<Focus> {
        let read = self.form.read(self.live.as_ref()?.normalize);
        let written = read.and_then(|(key, value)| {
            let began = self.rows.begin(&key, self.live.as_ref().expect("it was just there").device.client());
            self.write(&key, Write::Put(value, began), now_ms).map_err(|error| error.to_string())?;
            Ok(key)
        });
        match written {
            Ok(key) => {
                self.go_to(&key);
                Some(self.fill_form(String::new(), String::new()))
            }
            Err(reason) => {
                self.form.note = FormNote::Refused(reason);
                self.changed |= Areas::EDITOR;
                None
            }
        }
    }

    // The grid.

    fn go_to(&mut self, key: &Key) {
        self.grid.go_to(key, &self.rows);
        self.changed |= Areas::ROWS;
    }

    fn search_for(&mut self, text: String) {
        if let Some(live) = &self.live {
            self.rows.search(&text, live.device.client());
        }
        self.side.search = text;
        self.grid.scroll_to(0);
        self.changed |= Areas::ROWS;
    }

    fn remove(&mut self, key: &Key, now_ms: u64) {
        let Some((_, began)) = self.begin(key) else { return };
        match self.write(key, Write::Remove(began), now_ms) {
            Ok(()) => self.offer_undo(key.clone(), now_ms),
            Err(error) => self.refuse(Some(error.to_string())),
        }
    }

    fn remove_at_cursor(&mut self, now_ms: u64) {
        let (at, key) = (self.cursor_row().unwrap_or(0), self.grid.cursor().cloned());
        if let Some(key) = key {
            self.remove(&key, now_ms);
            self.grid.go(at, &self.rows);
            self.changed |= Areas::ROWS;
        }
    }

    fn undo_removal(&mut self, now_ms: u64) -> Option<Focus> {
        self.changed |= Areas::SIDE;
        for key in std::mem::take(&mut self.side.removed).iter().rev() {
            self.take_back(|client| client.undo(Some(key), now_ms));
        }
        Some(Focus::Grid)
    }

    fn take_back(&mut self, take_back: impl FnOnce(&mut Client) -> Result<Undone, EditError>) {
        let Some(live) = &mut self.live else { return };
        let undone = take_back(live.device.client_mut());
        self.refresh();
        match undone {
            Ok(Undone::Nothing) => {}
            Ok(Undone::Written(key)) => self.go_to(&key),
            Ok(Undone::Overtaken { key, author }) => {
                let name = author.and_then(|author| Some(self.client()?.name(author).as_str().to_owned()));
                let name = name.unwrap_or_else(|| "somebody".to_owned());
                self.refuse(Some(format!("{name} has changed {key} since")));
            }
            Err(error) => self.refuse(Some(error.to_string())),
        }
    }

    // Conflicts, and what others did.

    fn compare(&mut self, compared: Compared) -> Focus {
        self.side.compared = Some(compared);
        self.changed |= Areas::SIDE;
        if compared == Compared::Conflicts {
            self.hear();
        }
        Focus::Dialog
    }

    /// This person knows of the edits that lost until now.
    fn hear(&mut self) {
        self.side.heard = self.status.newest_lost;
        self.changed |= Areas::STATUS;
    }

    fn resolve(&mut self, id: ConflictId, resolution: Resolution, now_ms: u64) -> Option<Focus> {
        let key = id.key.clone();
        let resolved = self.write(&key, Write::Resolve(id, resolution), now_ms);
        self.refuse(resolved.err().map(|error| error.to_string()));
        // The button that had the focus goes with its conflict.
        Some(Focus::Dialog)
    }

    fn first_held(&self) -> Option<(Key, Stamp)> {
        self.status.held.first().map(|held| (held.key.clone(), held.stamp))
    }

    fn edit_held(&mut self) -> Option<Focus> {
        let (key, stamp) = self.first_held()?;
        let value = self.client()?.outbox().row(&key, stamp).and_then(|row| row.value.as_ref()).map(Value::to_input);
        Some(self.fill_form(key.to_string(), value.unwrap_or_default()))
    }

    fn refuse(&mut self, reason: Option<String>) {
        self.side.refusal = reason;
        self.changed |= Areas::STATUS | Areas::SIDE;
    }

    // This device, and who edits here.

    fn forget(&mut self) {
        let is_certain = self.side.is_forgetting || self.status.unsaved() == 0;
        self.side.is_forgetting = !is_certain;
        self.changed |= Areas::SIDE;
        if is_certain {
            self.effects.push_back(Effect::Forget);
        }
    }

    fn set_renaming(&mut self, is_renaming: bool) {
        self.side.is_renaming = is_renaming;
        self.changed |= Areas::SIDE;
    }

    fn rename(&mut self, name: &str, now_ms: u64) {
        self.set_renaming(false);
        let Some(live) = self.live.as_mut().filter(|_| !name.trim().is_empty()) else { return };
        let client = live.device.client_mut();
        client.set_name(AuthorName::new(name), now_ms);
        self.effects.push_back(Effect::KeepAuthor(client.person()));
        self.changed |= Areas::ROWS;
    }

    // The client.

    fn on_client(&mut self, handle: impl FnOnce(&mut Client)) {
        if let Some(live) = &mut self.live {
            handle(live.device.client_mut());
        }
    }

    /// The value of a key, and what an edit that begins now will have seen; none if only the beginning is known.
    pub(super) fn begin(&self, key: &Key) -> Option<(Value, Stamp)> {
        let client = self.client()?;
        Some((self.rows.value(key, client)?, self.rows.begin(key, client)))
    }

    /// Writes a key, and remembers what that replaces: what is shown, whether the replica has read it or the page alone.
    pub(super) fn write(&mut self, key: &Key, write: Write, now_ms: u64) -> Result<(), EditError> {
        let (row, value) = (self.row(key), self.begin(key).map(|(value, _)| value));
        // Of a row that is not read yet, only the beginning may be known.
        let is_known = row.is_none() || value.is_some();
        let replaced = row.map_or(Stamp::ZERO, |row| row.stamp);
        let Some(live) = &mut self.live else { return Ok(()) };
        let client = live.device.client_mut();
        let written = match write {
            Write::Put(value, began) => client.put(key, value, began, now_ms).map(Some),
            Write::Remove(began) => client.remove(key, began, now_ms),
            Write::Resolve(id, resolution) => client.resolve(&id, resolution, now_ms),
        };
        if let Some(stamp) = written?.filter(|_| is_known) {
            client.record(key, stamp, replaced, value);
        }
        self.refresh();
        Ok(())
    }
}

fn describe(replaced: &Row) -> String {
    format!("replaces {} by {}", shortened(&replaced.value.text), replaced.author)
}

/// A value within a sentence.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
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
