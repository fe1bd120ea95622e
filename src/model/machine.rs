//! The model as a whole: what happens to it, and what follows.
//!
//! What a person does is in [`super::act`], what can be read in [`super::view`].

use std::collections::VecDeque;

use keybook_core::{
    Key, ReplicaId, Seq,
    client::{Action, Client, Event},
    device::{Device, Found, Kept, Left},
    wire::ByeCode,
};

use super::{
    act::Compared,
    areas::Areas,
    drafts::Drafts,
    effect::{Effect, Opened, Room},
    first_page::FirstPage,
    form::Form,
    grid::Grid,
    row::EntryState,
    rows::ShownRows,
    search::fold_ascii,
    status::Status,
    window::Viewport,
};

/// Ages of rows are brought up to date this often.
const AGES_EVERY_MS: u64 = 20_000;
/// A removal can be undone this long, counted from the last one.
const UNDO_FOR_MS: u64 = 10_000;

/// What the page shows, and what its person is doing.
///
/// The driver lets something happen by [`Model::act`] or a `handle_*`, each with the time by the local clock, then does what
/// [`Model::poll_effect`] asks for until there is nothing, and comes back with [`Model::handle_timeout`] at
/// [`Model::poll_timeout`]. If the model [`Model::wants_frame`], it calls [`Model::frame`] before the next frame is painted.
#[derive(Clone, Debug)]
pub struct Model {
    /// The dictionary's name. The shell's comes with the page's address.
    pub(super) name: Option<String>,
    /// The document was the shell, which knows nothing of its dictionary.
    pub(super) is_shell: bool,
    pub(super) live: Option<Live>,
    pub(super) rows: ShownRows,
    /// What is said of an edit that the server does not have.
    pub(super) unsaved: EntryState,
    pub(super) status: Status,
    pub(super) grid: Grid,
    pub(super) form: Form,
    pub(super) drafts: Drafts,
    pub(super) side: Side,
    pub(super) effects: VecDeque<Effect>,
    pub(super) changed: Areas,
    /// Something has happened since the last frame.
    is_stale: bool,
}

/// What is there once the page is alive, and never on the server.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) device: Device,
    pub(super) normalize: fn(&str) -> String,
    /// The server's time at the last frame.
    pub(super) now_ms: u64,
    ages_at_ms: u64,
}

/// What stands beside the grid and the form.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// What the person looks for.
    pub(super) search: String,
    /// What the person has to know about the connection.
    pub(super) notice: Option<String>,
    /// What the device has kept and cannot be read. It stays until the page is loaded again.
    pub(super) damage: Option<String>,
    /// Why the last edit outside the form was not taken.
    pub(super) refusal: Option<String>,
    /// The browser lets this page do less, and the person has not closed the note that says so.
    pub(super) is_plain_http: bool,
    /// What the dialog shows; none while it is closed.
    pub(super) compared: Option<Compared>,
    /// The newest conflict that the person knows to have lost.
    pub(super) heard: Option<Seq>,
    /// What was removed a moment ago.
    pub(super) removed: Vec<Key>,
    removed_until_ms: Option<u64>,
    /// Whether the author's name is being edited.
    pub(super) is_renaming: bool,
    /// Forgetting has been asked for once, and would lose edits.
    pub(super) is_forgetting: bool,
    /// The device's room, as of the last look.
    pub(super) room: Option<Room>,
}

impl Model {
    /// A page that shows the first entries, and is not alive yet.
    pub fn new(first: FirstPage) -> Self {
        Self {
            name: first.name.clone(),
            is_shell: first.is_shell(),
            live: None,
            status: Status::first(&first),
            rows: ShownRows::new(first, fold_ascii),
            unsaved: EntryState::Saving,
            grid: Grid::default(),
            form: Form::default(),
            drafts: Drafts::default(),
            side: Side::default(),
            effects: VecDeque::new(),
            changed: Areas::default(),
            is_stale: false,
        }
    }

    /// The page comes to life: a local store is being opened, and the client connects when it has been read.
    pub fn open(&mut self, opened: Opened, now_ms: u64) {
        let Opened { name, replica, author, lives, is_plain_http, normalize, fold } = opened;
        let device = Device::new(Client::opening(replica, author, now_ms), lives);
        self.live = Some(Live { device, normalize, now_ms, ages_at_ms: now_ms + AGES_EVERY_MS });
        self.name.get_or_insert(name);
        self.side.is_plain_http = is_plain_http;
        self.rows.set_fold(fold);
        self.changed = Areas::ROWS | Areas::STATUS | Areas::SIDE;
        self.is_stale = true;
    }

    // What happened.

    /// The local store is open, and was read.
    pub fn handle_opened(&mut self, found: Found, now_ms: u64) {
        self.on_device(|device| device.handle_opened(found, now_ms));
        self.is_stale = true;
    }

    /// There is no local store any more, for this reason.
    pub fn handle_refused(&mut self, reason: String, now_ms: u64) {
        self.on_device(|device| device.handle_refused(reason, now_ms));
        self.is_stale = true;
    }

    /// The change that was to be kept is on the disk.
    pub fn handle_kept(&mut self, kept: Kept) {
        self.on_device(|device| device.handle_kept(kept));
        self.is_stale = true;
    }

    /// The change that was to be kept is not on the disk, for this reason.
    pub fn handle_unkept(&mut self, reason: String, now_ms: u64) {
        self.on_device(|device| device.handle_unkept(reason, now_ms));
        self.is_stale = true;
    }

    /// Another tab told something.
    pub fn handle_told(&mut self, message: &[u8], now_ms: u64) {
        self.on_device(|device| device.handle_told(message, now_ms));
    }

    /// A page that was to be watched has ended.
    pub fn handle_ended(&mut self, replica: ReplicaId, now_ms: u64) {
        self.on_device(|device| device.handle_ended(replica, now_ms));
    }

    /// What a page has left that has ended.
    pub fn handle_left(&mut self, replica: ReplicaId, left: &Left, now_ms: u64) {
        self.on_device(|device| device.handle_left(replica, left, now_ms));
    }

    /// The socket is open.
    pub fn handle_connected(&mut self, now_ms: u64) {
        self.on_device(|device| device.client_mut().handle_connected(now_ms));
    }

    /// The socket is closed, or could not be opened. `random` spreads the next attempts.
    pub fn handle_disconnected(&mut self, now_ms: u64, random: u64) {
        let Some(live) = &mut self.live else { return };
        let client = live.device.client_mut();
        if self.rows.is_first() && client.cursor() > Seq(0) {
            // What this device has is the best that there is now.
            self.rows.handle_reset();
            self.changed |= Areas::ROWS;
        }
        client.handle_disconnected(now_ms, random);
    }

    /// A message came.
    pub fn handle_message(&mut self, bytes: &[u8], now_ms: u64) {
        self.on_device(|device| device.client_mut().handle_message(bytes, now_ms));
    }

    /// The snapshot has come, or not, for this reason.
    pub fn handle_snapshot(&mut self, snapshot: Result<Vec<u8>, String>, now_ms: u64) {
        self.on_device(|device| match snapshot {
            Ok(bytes) => device.client_mut().handle_snapshot(&bytes, now_ms),
            Err(reason) => device.client_mut().handle_snapshot_failed(&reason, now_ms),
        });
    }

    /// Whether somebody looks at the page.
    pub fn set_visible(&mut self, is_visible: bool) {
        if let Some(live) = &mut self.live {
            live.device.client_mut().set_visible(is_visible);
        }
    }

    /// The network is said to be back, or somebody looks at the page again.
    pub fn handle_online(&mut self, now_ms: u64) {
        self.on_device(|device| device.client_mut().handle_online(now_ms));
    }

    /// How much room this device has; none if the browser does not say.
    pub fn handle_room(&mut self, room: Option<Room>) {
        self.side.room = room;
        self.changed |= Areas::SIDE;
    }

    /// This is the part of the screen in which rows are seen.
    pub fn handle_viewport(&mut self, viewport: Viewport) {
        if self.grid.set_viewport(viewport) {
            self.changed |= Areas::ROWS;
        }
    }

    /// The grid is scrolled to here.
    pub fn handle_scroll(&mut self, scroll_top: u32) {
        if self.grid.set_scroll_top(scroll_top) {
            self.changed |= Areas::ROWS;
        }
    }

    /// The pointer is on this row; on none if it has left the rows.
    pub fn handle_pointer(&mut self, key: Option<Key>) {
        self.grid.set_pointer(key);
    }

    /// The grid was scrolled to where [`Grid::target`] asked for.
    pub fn handle_scrolled(&mut self) {
        self.grid.forget_target();
    }

    /// The grid has the focus, and so a cursor. It takes one in sight: whoever presses on a row gives the grid the focus first, and the row
    /// stays under the pointer.
    pub fn handle_focus(&mut self) {
        if self.cursor_row().is_none() {
            let first = self.grid.first_in_sight(self.rows.len());
            self.grid.go(first, &self.rows);
            self.changed |= Areas::ROWS;
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let Some(live) = &mut self.live else { return };
        live.device.handle_timeout(now_ms);
        if is_over(live.ages_at_ms, now_ms, AGES_EVERY_MS) {
            live.ages_at_ms = now_ms + AGES_EVERY_MS;
            self.changed |= Areas::ROWS | Areas::SIDE;
            self.is_stale = true;
        }
        if self.side.removed_until_ms.take_if(|until_ms| is_over(*until_ms, now_ms, UNDO_FOR_MS)).is_some() {
            self.side.removed.clear();
            self.changed |= Areas::SIDE;
            self.is_stale = true;
        }
    }

    // What follows of it.

    /// What the browser has to do next.
    pub fn poll_effect(&mut self, now_ms: u64) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let device = &mut self.live.as_mut()?.device;
        if let Some(action) = device.client_mut().poll_action() {
            return Some(match action {
                Action::Connect => Effect::Connect,
                Action::Disconnect => Effect::Disconnect,
                Action::FetchSnapshot => Effect::FetchSnapshot,
            });
        }
        if let Some(message) = device.client_mut().poll_transmit() {
            return Some(Effect::Send(message));
        }
        let effect = device.poll_effect(now_ms).map(Effect::Device);
        self.drain();
        effect
    }

    /// When to call [`Model::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<u64> {
        let live = self.live.as_ref()?;
        let own = [Some(live.ages_at_ms), self.side.removed_until_ms];
        own.into_iter().flatten().chain(live.device.poll_timeout()).min()
    }

    /// Whether [`Model::frame`] has something to do.
    pub fn wants_frame(&self) -> bool {
        self.is_stale || self.changed != Areas::default() || self.rows.is_searching()
    }

    /// Brings the rows and the status up to date, goes on with a search, and says which areas have changed since the last call.
    pub fn frame(&mut self, now_ms: u64) -> Areas {
        self.refresh();
        self.is_stale = false;
        if let Some(Live { device, now_ms: shown_ms, .. }) = &mut self.live {
            *shown_ms = now_ms.saturating_add_signed(device.client().offset_ms());
            if self.rows.go_on(device.client()) {
                self.changed |= Areas::ROWS;
            }
            let status = Status::new(device, self.rows.live());
            let unsaved = EntryState::unsaved(status.connection, device.storage());
            if self.unsaved != unsaved {
                self.unsaved = unsaved;
                self.changed |= Areas::ROWS;
            }
            if self.status != status {
                self.status = status;
                self.changed |= Areas::STATUS;
            }
        }
        self.take_changed()
    }

    /// The areas that have changed since the last call, by what needs no frame.
    pub fn take_changed(&mut self) -> Areas {
        std::mem::take(&mut self.changed)
    }

    /// Brings the rows up to date.
    pub(super) fn refresh(&mut self) {
        self.drain();
        let Some(live) = &self.live else { return };
        let (anchor, before) = (self.grid.anchor(self.drafts.open().map(|(key, _)| key), &self.rows), self.rows.len());
        self.rows.refresh(live.device.client());
        if let Some(anchor) = anchor {
            self.grid.hold(anchor, before, &self.rows);
        }
    }

    /// Takes in what the client says of itself.
    fn drain(&mut self) {
        let Some(live) = &mut self.live else { return };
        let client = live.device.client_mut();
        while let Some(event) = client.poll_event() {
            self.is_stale = true;
            if self.side.compared.is_some() {
                self.changed |= Areas::SIDE;
            }
            let notice = match event {
                Event::Entries(keys) => {
                    self.rows.handle_changed(keys);
                    self.changed |= Areas::ROWS;
                    continue;
                }
                // The page that the server has just sent may know more than this device.
                Event::Reset if self.rows.is_ahead_of(client) => continue,
                Event::Reset => {
                    self.rows.handle_reset();
                    self.changed |= Areas::ROWS;
                    continue;
                }
                Event::Conflicts | Event::Names => {
                    self.changed |= Areas::ROWS;
                    continue;
                }
                Event::Status | Event::Diverged => continue,
                Event::Damaged(what) => {
                    self.side.damage = Some(format!("What this device had kept cannot be read: {what}."));
                    self.changed |= Areas::STATUS;
                    continue;
                }
                Event::Bye { code: ByeCode::Version, .. } => {
                    Some("This page and its server speak different versions: reload the page.".to_owned())
                }
                Event::Bye { code: ByeCode::Shutdown, .. } => None,
                // The server has said when to come back.
                Event::Bye { code: ByeCode::Unknown(_), retry_after_ms: 1.., .. } => None,
                Event::Bye { message, .. } => Some(format!("The server ended the connection: {message}.")),
                Event::Unreadable(reason) => Some(format!("What the server sent cannot be read: {reason}.")),
            };
            self.side.notice = notice;
            self.changed |= Areas::STATUS;
        }
        if client.is_settled() {
            if self.side.notice.take().is_some() {
                self.changed |= Areas::STATUS;
            }
            if self.rows.is_first() {
                self.rows.handle_reset();
                self.changed |= Areas::ROWS;
            }
        }
    }

    fn on_device(&mut self, handle: impl FnOnce(&mut Device)) {
        if let Some(live) = &mut self.live {
            handle(&mut live.device);
        }
    }

    /// An entry was removed, and can be brought back for a while.
    pub(super) fn offer_undo(&mut self, key: Key, now_ms: u64) {
        self.side.removed.push(key);
        self.side.removed_until_ms = Some(now_ms + UNDO_FOR_MS);
        self.changed |= Areas::SIDE;
    }

    pub(super) fn client(&self) -> Option<&Client> {
        self.live.as_ref().map(|live| live.device.client())
    }
}

/// Whether a time has come that was set at most `span_ms` before: a local clock may be set back.
fn is_over(at_ms: u64, now_ms: u64, span_ms: u64) -> bool {
    at_ms <= now_ms || at_ms > now_ms + span_ms
}
