//! Drives the client's state machine: hands it what happens, and does what it asks for.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    time::Duration,
};

use js_sys::Reflect;
use keybook_core::{
    Key, ReplicaId, Seq,
    client::{Action, Client, Event, LocalChange, Phase},
    paths,
    wire::ByeCode,
};
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{BeforeUnloadEvent, VisibilityState};

use super::{
    announce_connection, document,
    fetch::Fetch,
    identity,
    local_store::{Found, Left, LocalStore},
    locks, now_ms, quota, reason,
    socket::{Socket, SocketEvent},
    tabs::Tabs,
    timer::{Frame, Timeout},
    window,
};
use crate::model::{Connection, EntryState, FirstPage, OnChange, Room, Rows};

/// Why a store is closed that was open.
const CLOSED: &str = "another tab has deleted what is kept here, or is of a newer version";
const FORGOTTEN: &str = "it was forgotten here; reload the page to keep it again";
/// What the device had no room for is tried again after this.
const KEEP_AGAIN_AFTER_MS: u64 = 10_000;

/// The replica of the page, for as long as the page lives.
pub(super) struct Driver {
    this: Weak<Self>,
    pub(super) state: RefCell<State>,
    on_change: OnChange,
}

/// What a driver drives.
pub(super) struct State {
    pub(super) client: Client,
    pub(super) rows: Rows,
    pub(super) device: Device,
    /// What the browser says of this site's room, as of the last look.
    pub(super) room: Option<Room>,
    /// The browser has been asked to keep what is on this device.
    has_asked: bool,
    /// What the person has to know about the connection.
    pub(super) notice: Option<String>,
    /// What of this device's cannot be read, until the page is loaded again.
    pub(super) damage: Option<String>,
    /// The browser lets this page do less, and the person has not closed the note that says so.
    pub(super) is_plain_http: bool,
    tabs: Tabs,
    addresses: Addresses,
    socket: Option<Socket>,
    fetch: Option<Fetch>,
    timer: Option<(u64, Timeout)>,
    frame: Option<Frame>,
    /// No connection has come to life since the last one failed.
    has_failed: bool,
}

/// The rows of keys of the outbox; none where nothing waits any more.
type KeptRows = Vec<(Key, Option<Vec<u8>>)>;

/// What this device keeps, and how that goes.
pub(super) enum Device {
    /// The local store is being opened.
    Opening,
    Open {
        store: LocalStore,
        /// A change is on its way to the disk; what follows waits.
        is_keeping: bool,
        /// Pages that are gone, and whose edits this one has taken over.
        adopted: Vec<ReplicaId>,
        /// What the device did not take.
        unkept: Option<Unkept>,
    },
    /// Nothing is kept, for this reason.
    Refused(String),
}

/// What the device did not take; changes that follow wait for it.
pub(super) struct Unkept {
    change: LocalChange,
    adopted: Vec<ReplicaId>,
    again_at_ms: u64,
    reason: String,
}

struct Addresses {
    name: String,
    socket: String,
    snapshot: String,
}

impl Driver {
    /// Opens the replica of the first page's dictionary, and connects.
    pub(super) fn start(first: FirstPage, on_change: OnChange) -> Rc<Self> {
        let state = State {
            client: Client::opening(identity::replica(), identity::author(), now_ms()),
            addresses: Addresses::of(&first.name),
            rows: Rows::new(first),
            device: Device::Opening,
            room: None,
            has_asked: false,
            notice: None,
            damage: None,
            is_plain_http: identity::is_plain_http(),
            tabs: Tabs::default(),
            socket: None,
            fetch: None,
            timer: None,
            frame: None,
            has_failed: false,
        };
        let driver = Rc::new_cyclic(|this| Self { this: this.clone(), state: RefCell::new(state), on_change });
        driver.listen();
        driver.open();
        driver
    }

    /// Opens the local store; the client connects when it has been read.
    fn open(&self) {
        let (name, replica) = {
            let state = self.state.borrow();
            (state.addresses.name.clone(), state.client.replica())
        };
        // Held from now on: what this page keeps is its own.
        locks::take(&lock(&name, replica), || ());
        let driver = self.this.clone();
        spawn_local(async move {
            let closing = driver.clone();
            let closed = move || with(&closing, |driver| driver.handle_refused(CLOSED.to_owned()));
            let opened = LocalStore::open(&name, replica, closed).await;
            with(&driver, |driver| match opened {
                Ok((store, found)) => driver.handle_opened(store, found),
                Err(error) => driver.handle_refused(reason(&error)),
            });
        });
    }

    fn handle_opened(&self, store: LocalStore, found: Found) {
        self.state.borrow_mut().device = Device::Open { store, is_keeping: false, adopted: Vec::new(), unkept: None };
        self.step(|client, now_ms| client.handle_stored(&found.stored, now_ms));
        self.join_tabs();
        found.replicas.into_iter().for_each(|replica| self.meet(replica, false));
    }

    /// Begins to tell the other tabs of this browser what waits here, and asks what they have.
    fn join_tabs(&self) {
        let driver = self.this.clone();
        let handle = move |message: Vec<u8>| with(&driver, |driver| driver.handle_told(&message));
        let state = &mut *self.state.borrow_mut();
        state.tabs = Tabs::open(&state.addresses.name, handle);
        state.client.ask_siblings();
        state.keep(&self.this);
    }

    fn handle_told(&self, message: &[u8]) {
        if let Some(replica) = self.step(|client, now_ms| client.handle_told(message, now_ms)) {
            self.meet(replica, true);
        }
    }

    /// There is another tab, or there was one that has left its edits. When it has ended they are adopted.
    fn meet(&self, replica: ReplicaId, has_spoken: bool) {
        let state = &mut *self.state.borrow_mut();
        if state.tabs.meet(replica, has_spoken, now_ms()) {
            let driver = self.this.clone();
            let adopt = move || with(&driver, |driver| driver.adopt(replica));
            locks::take(&lock(&state.addresses.name, replica), adopt);
        }
        state.schedule(&self.this);
    }

    /// Takes over the edits of a page that is gone, as it has left them.
    fn adopt(&self, replica: ReplicaId) {
        let store = match &self.state.borrow().device {
            Device::Open { store, .. } => Some(store.clone()),
            Device::Opening | Device::Refused(_) => None,
        };
        let Some(store) = store else { return self.step(|client, now_ms| client.forget_sibling(replica, now_ms)) };
        let driver = self.this.clone();
        spawn_local(async move {
            let left = store.left(replica).await;
            with(&driver, |driver| match left {
                Ok(Left { outbox, steps }) => {
                    if let Device::Open { adopted, .. } = &mut driver.state.borrow_mut().device {
                        adopted.push(replica);
                    }
                    driver.step(|client, now_ms| {
                        client.adopt_rows(&outbox, now_ms);
                        client.adopt_steps(&steps, now_ms);
                        client.forget_sibling(replica, now_ms);
                    });
                }
                Err(error) => driver.handle_refused(reason(&error)),
            });
        });
    }

    /// Goes on without a local store.
    fn handle_refused(&self, reason: String) {
        let was_opening = {
            let device = &mut self.state.borrow_mut().device;
            let was_opening = matches!(device, Device::Opening);
            // A store that was given up is closed later.
            if !matches!(device, Device::Refused(_)) {
                *device = Device::Refused(reason);
            }
            was_opening
        };
        if was_opening {
            self.join_tabs();
        }
        self.step(Client::handle_online);
        self.refresh();
    }

    /// A change is on the disk, with what pages have left that are gone; the other tabs may know it now. The store may lack
    /// something that is in no change.
    fn handle_kept(&self, lacks: bool, outbox: KeptRows, gone: Vec<ReplicaId>) {
        {
            let state = &mut *self.state.borrow_mut();
            if let Device::Open { is_keeping, unkept, .. } = &mut state.device {
                (*is_keeping, *unkept) = (false, None);
            }
            let is_offline_edit = state.client.outbox().active() > 0 && state.connection() == Connection::Offline;
            if is_offline_edit && !std::mem::replace(&mut state.has_asked, true) {
                quota::persist();
            }
            state.tell(outbox, gone);
        }
        self.step(|client, _| {
            if lacks {
                client.keep_whole();
            }
        });
        (self.on_change)();
    }

    /// The device did not take a change, which has become part of nothing. If it was the base that was too much, the edits may
    /// still find room.
    fn handle_unkept(&self, mut change: LocalChange, adopted: Vec<ReplicaId>, reason: String) {
        let after_ms = if change.base.take().is_some() { 0 } else { KEEP_AGAIN_AFTER_MS };
        if let Device::Open { is_keeping, unkept, .. } = &mut self.state.borrow_mut().device {
            *is_keeping = false;
            *unkept = Some(Unkept { change, adopted, again_at_ms: now_ms() + after_ms, reason });
        }
        self.step(|client, _| {
            if after_ms == 0 {
                client.keep_no_base();
            }
        });
        (self.on_change)();
    }

    /// Asks the browser how much room there is.
    pub(super) fn look(&self) {
        let driver = self.this.clone();
        spawn_local(async move {
            let room = quota::room().await;
            with(&driver, |driver| {
                driver.state.borrow_mut().room = room;
                (driver.on_change)();
            });
        });
    }

    /// Deletes what this device keeps of the dictionary, and keeps no more.
    pub(super) fn forget(&self) {
        let name = self.state.borrow().addresses.name.clone();
        let reason = match LocalStore::forget(&name) {
            Ok(()) => FORGOTTEN.to_owned(),
            Err(error) => reason(&error),
        };
        self.handle_refused(reason);
    }

    /// Lets something happen to the client at this time, and does all that it asks for then.
    pub(super) fn step<T>(&self, handle: impl FnOnce(&mut Client, u64) -> T) -> T {
        let state = &mut *self.state.borrow_mut();
        let result = handle(&mut state.client, now_ms());
        state.act(&self.this);
        state.keep(&self.this);
        state.schedule(&self.this);
        result
    }

    /// Shows what has changed, now.
    pub(super) fn refresh(&self) {
        {
            let state = &mut *self.state.borrow_mut();
            state.frame = None;
            state.rows.refresh(&state.client);
        }
        (self.on_change)();
    }

    fn handle_socket(&self, event: SocketEvent) {
        match event {
            SocketEvent::Opened => {
                self.step(Client::handle_connected);
                announce_connection();
            }
            SocketEvent::Message(bytes) => self.step(|client, now_ms| client.handle_message(&bytes, now_ms)),
            SocketEvent::Closed => {
                self.state.borrow_mut().disconnect();
                self.step(|_, _| ());
            }
        }
    }

    fn handle_snapshot(&self, snapshot: Result<Vec<u8>, String>) {
        self.step(|client, now_ms| match snapshot {
            Ok(bytes) => client.handle_snapshot(&bytes, now_ms),
            Err(reason) => client.handle_snapshot_failed(&reason, now_ms),
        });
    }

    fn handle_timeout(&self) {
        let now_ms = now_ms();
        self.state.borrow_mut().timer = None;
        let ended = {
            let state = &mut *self.state.borrow_mut();
            let ended = state.tabs.handle_timeout(state.client.replica(), now_ms);
            if ended.is_some() {
                state.client.ask_siblings();
            }
            ended
        };
        self.step(Client::handle_timeout);
        ended.into_iter().flatten().for_each(|replica| self.adopt(replica));
    }

    /// Listens to the window for as long as there is one.
    fn listen(&self) {
        let driver = self.this.clone();
        let on_online = Closure::<dyn Fn()>::new(move || {
            if let Some(driver) = driver.upgrade()
                && document().visibility_state() == VisibilityState::Visible
            {
                driver.step(Client::handle_online);
            }
        });
        let driver = self.this.clone();
        let on_show = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            let is_from_cache = Reflect::get(&event, &"persisted".into()).is_ok_and(|persisted| persisted.is_truthy());
            if is_from_cache && driver.upgrade().is_some_and(|driver| driver.state.borrow().is_durable()) {
                // Other tabs may have taken over what it had.
                window().location().reload().expect("a page can be loaded again");
            }
        });
        let driver = self.this.clone();
        let on_leave = Closure::<dyn Fn(BeforeUnloadEvent)>::new(move |event: BeforeUnloadEvent| {
            if driver.upgrade().is_some_and(|driver| driver.state.borrow().would_lose()) {
                event.prevent_default();
            }
        });
        for (target, name, listener) in [
            (window().as_ref(), "online", on_online.as_ref()),
            (document().as_ref(), "visibilitychange", on_online.as_ref()),
            (window().as_ref(), "pageshow", on_show.as_ref()),
            (window().as_ref(), "beforeunload", on_leave.as_ref()),
        ] {
            let target: &web_sys::EventTarget = target;
            target
                .add_event_listener_with_callback(name, listener.unchecked_ref())
                .expect("a listener can be added to what is alive");
        }
        on_online.forget();
        on_show.forget();
        on_leave.forget();
    }
}

impl State {
    /// The dictionary's.
    pub(super) fn name(&self) -> &str {
        &self.addresses.name
    }

    /// How far the connection has come, as a person sees it: attempts after a failure are no news.
    pub(super) fn connection(&self) -> Connection {
        match self.client.phase() {
            Phase::Following => Connection::Live,
            Phase::Waiting | Phase::Connecting if self.has_failed => Connection::Offline,
            Phase::Waiting | Phase::Connecting | Phase::Greeting { .. } | Phase::Fetching => Connection::Connecting,
        }
    }

    /// Whether edits would be lost with the page.
    fn would_lose(&self) -> bool {
        self.client.unconfirmed() > 0 && !self.is_durable()
    }

    /// Whether edits survive the page.
    pub(super) fn is_durable(&self) -> bool {
        matches!(self.device, Device::Open { unkept: None, .. })
    }

    /// Why edits do not survive the page; empty if they do.
    pub(super) fn trouble(&self) -> String {
        match &self.device {
            Device::Opening | Device::Open { unkept: None, .. } => String::new(),
            Device::Open { unkept: Some(Unkept { reason, .. }), .. } | Device::Refused(reason) => reason.clone(),
        }
    }

    /// Whether an edit is not on the disk yet.
    pub(super) fn is_keeping(&self) -> bool {
        matches!(self.device, Device::Open { is_keeping: true, .. })
    }

    /// Where an edit is that the server does not have.
    pub(super) fn unsaved(&self) -> EntryState {
        match self.connection() {
            Connection::Live | Connection::Connecting => EntryState::Saving,
            Connection::Offline if self.is_keeping() => EntryState::Saving,
            Connection::Offline if self.is_durable() => EntryState::OnDevice,
            Connection::Offline => EntryState::NotSaved,
        }
    }

    /// Does what the client asks for, until it asks for nothing more.
    fn act(&mut self, driver: &Weak<Driver>) {
        loop {
            while let Some(action) = self.client.poll_action() {
                match action {
                    Action::Connect => self.connect(driver),
                    Action::Disconnect => self.disconnect(),
                    Action::FetchSnapshot => self.fetch(driver),
                }
            }
            while let Some(message) = self.client.poll_transmit() {
                let is_sent = self.socket.as_ref().is_some_and(|socket| socket.send(&message).is_ok());
                if !is_sent {
                    self.disconnect();
                }
            }
            let Some(event) = self.client.poll_event() else { break };
            self.handle_event(event);
            self.frame.get_or_insert_with(|| {
                let driver = driver.clone();
                Frame::new(move || with(&driver, Driver::refresh))
            });
        }
        if self.client.phase() == Phase::Following {
            self.has_failed = false;
        }
        if self.client.is_settled() {
            self.notice = None;
            if self.rows.is_first() {
                self.rows.handle_reset();
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Entries(keys) => self.rows.handle_changed(keys),
            // The page that the server has just sent may know more than this device.
            Event::Reset if self.rows.is_ahead_of(&self.client) => {}
            Event::Reset => self.rows.handle_reset(),
            Event::Damaged(what) => {
                self.damage = Some(format!("What this device had kept cannot be read: {what}."));
            }
            Event::Bye { code: ByeCode::Version, .. } => {
                self.notice = Some("This page and its server speak different versions: reload the page.".to_owned());
            }
            Event::Bye { code: ByeCode::Shutdown, .. } => self.notice = None,
            Event::Bye { message, .. } => self.notice = Some(format!("The server ended the connection: {message}.")),
            Event::Unreadable(reason) => {
                self.notice = Some(format!("What the server sent cannot be read: {reason}."));
            }
            Event::Conflicts | Event::Status | Event::Diverged => {}
        }
    }

    fn connect(&mut self, driver: &Weak<Driver>) {
        let driver = driver.clone();
        let handle = move |event| with(&driver, |driver| driver.handle_socket(event));
        match Socket::open(&self.addresses.socket, handle) {
            Ok(socket) => self.socket = Some(socket),
            Err(_) => self.disconnect(),
        }
    }

    fn disconnect(&mut self) {
        (self.socket, self.fetch, self.has_failed) = (None, None, true);
        if self.rows.is_first() && self.client.cursor() > Seq(0) {
            // What this device has is the best that there is now.
            self.rows.handle_reset();
        }
        self.client.handle_disconnected(now_ms(), identity::random());
    }

    fn fetch(&mut self, driver: &Weak<Driver>) {
        let driver = driver.clone();
        let done = move |snapshot| with(&driver, |driver| driver.handle_snapshot(snapshot));
        self.fetch = Some(Fetch::start(self.addresses.snapshot.clone(), done));
    }

    /// Hands what has changed to the local store, one transaction after the other.
    fn keep(&mut self, driver: &Weak<Driver>) {
        let (store, is_keeping, adopted, unkept) = match &mut self.device {
            Device::Opening | Device::Open { is_keeping: true, .. } => return,
            Device::Open { unkept: Some(unkept), .. } if unkept.again_at_ms > now_ms() => return self.answer(),
            Device::Open { store, is_keeping, adopted, unkept } => (store, is_keeping, adopted, unkept),
            Device::Refused(_) => {
                let outbox = self.client.take_outbox_change();
                self.tell(outbox, Vec::new());
                return self.answer();
            }
        };
        let (change, adopted) = match unkept {
            Some(Unkept { change, adopted, .. }) => (std::mem::take(change), std::mem::take(adopted)),
            None => (self.client.take_local_change(), std::mem::take(adopted)),
        };
        if change.is_empty() && adopted.is_empty() {
            *unkept = None;
            return self.answer();
        }
        *is_keeping = true;
        let (store, driver) = (store.clone(), driver.clone());
        spawn_local(async move {
            let kept = store.keep(&change, &adopted).await;
            with(&driver, |driver| match kept {
                Ok(lacks) => driver.handle_kept(lacks, change.outbox, adopted),
                Err(error) => driver.handle_unkept(change, adopted, reason(&error)),
            });
        });
    }

    /// Tells the other tabs what has changed and is as durable as it will be here.
    fn tell(&mut self, outbox: KeptRows, gone: Vec<ReplicaId>) {
        if !outbox.is_empty() || !gone.is_empty() {
            let message = self.client.tell(outbox, gone);
            self.tabs.send(&message);
        }
    }

    /// Tells them what they have asked for, and asks what is lacking here.
    fn answer(&mut self) {
        while let Some(message) = self.client.poll_told() {
            self.tabs.send(&message);
        }
    }

    /// Sets the timer to what comes next.
    fn schedule(&mut self, driver: &Weak<Driver>) {
        let now_ms = now_ms();
        let again_at_ms = match &self.device {
            Device::Open { unkept: Some(unkept), is_keeping: false, .. } => Some(unkept.again_at_ms),
            _ => None,
        };
        let others = self.tabs.poll_timeout().into_iter().chain(again_at_ms);
        let Some(next_ms) = self.client.poll_timeout().into_iter().chain(others).min() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|(at_ms, _)| *at_ms == next_ms) {
            return;
        }
        let driver = driver.clone();
        let call = move || with(&driver, Driver::handle_timeout);
        let after = Duration::from_millis(next_ms.saturating_sub(now_ms));
        self.timer = Some((next_ms, Timeout::new(after, call)));
    }
}

/// What a page holds while it lives.
fn lock(name: &str, replica: ReplicaId) -> String {
    format!("keybook {name} {replica}")
}

/// What a callback of the browser does, unless the driver is gone.
fn with(driver: &Weak<Driver>, handle: impl FnOnce(&Driver)) {
    if let Some(driver) = driver.upgrade() {
        handle(&driver);
    }
}

impl Addresses {
    /// A dictionary's name needs no encoding.
    fn of(name: &str) -> Self {
        let location = window().location();
        let host = location.host().expect("the page came from a host");
        let secure = if location.protocol().is_ok_and(|protocol| protocol == "https:") { "s" } else { "" };
        let socket = format!("ws{secure}://{host}{}", paths::socket(name));
        Self { name: name.to_owned(), socket, snapshot: paths::snapshot(name) }
    }
}
