//! Drives the client's state machine: hands it what happens, and does what it asks for.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    time::Duration,
};

use keybook_core::{
    client::{Action, Client, Event, Phase},
    entry::Seq,
    stamp::ReplicaId,
    wire::ByeCode,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{BeforeUnloadEvent, VisibilityState};

use super::{
    fetch::Fetch,
    identity,
    local_store::{Found, LocalStore},
    locks, now_ms,
    rows::Rows,
    socket::{Socket, SocketEvent},
    timer::{Frame, Timeout},
    window,
};
use crate::app::model::{Connection, FirstPage, OnChange};

/// The digest is compared this long after a change, so that a flood of changes is one comparison.
const VERIFY_AFTER_MS: u64 = 2000;

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
    /// What the person has to know about the connection.
    pub(super) notice: Option<String>,
    /// What of this device's cannot be read, until the page is loaded again.
    pub(super) damage: Option<String>,
    addresses: Addresses,
    socket: Option<Socket>,
    fetch: Option<Fetch>,
    timer: Option<(u64, Timeout)>,
    frame: Option<Frame>,
    /// No connection has come to life since the last one failed.
    has_failed: bool,
    verify_at_ms: Option<u64>,
    /// The cursor at the last comparison of digests that was asked for here.
    compared: Option<Seq>,
}

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
    },
    /// Nothing is kept: the browser does not let us, or has no room.
    Refused,
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
            notice: None,
            damage: None,
            socket: None,
            fetch: None,
            timer: None,
            frame: None,
            has_failed: false,
            verify_at_ms: None,
            compared: None,
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
            let opened = LocalStore::open(&name, replica).await;
            with(&driver, |driver| match opened {
                Ok((store, found)) => driver.handle_opened(store, found),
                Err(error) => driver.handle_refused(&error),
            });
        });
    }

    fn handle_opened(&self, store: LocalStore, found: Found) {
        let name = {
            let state = &mut *self.state.borrow_mut();
            state.device = Device::Open { store, is_keeping: false, adopted: Vec::new() };
            state.addresses.name.clone()
        };
        self.step(|client, now_ms| client.handle_stored(&found.stored, now_ms));
        for replica in found.replicas {
            let driver = self.this.clone();
            locks::take(&lock(&name, replica), move || with(&driver, |driver| driver.adopt(replica)));
        }
    }

    /// Takes over the edits of a page that is gone, as it has left them.
    fn adopt(&self, replica: ReplicaId) {
        let Device::Open { store, .. } = &self.state.borrow().device else { return };
        let (store, driver) = (store.clone(), self.this.clone());
        spawn_local(async move {
            let outbox = store.outbox(replica).await;
            with(&driver, |driver| match outbox {
                Ok(outbox) => {
                    if let Device::Open { adopted, .. } = &mut driver.state.borrow_mut().device {
                        adopted.push(replica);
                    }
                    driver.step(|client, _| client.adopt_rows(&outbox));
                }
                Err(error) => driver.handle_refused(&error),
            });
        });
    }

    /// Goes on without a local store.
    fn handle_refused(&self, _error: &JsValue) {
        self.state.borrow_mut().device = Device::Refused;
        self.step(Client::handle_online);
        self.refresh();
    }

    fn handle_kept(&self, kept: Result<bool, JsValue>) {
        let lacks = match kept {
            Ok(lacks) => lacks,
            Err(error) => return self.handle_refused(&error),
        };
        if let Device::Open { is_keeping, .. } = &mut self.state.borrow_mut().device {
            *is_keeping = false;
        }
        self.step(|client, _| {
            if lacks {
                client.keep_whole();
            }
        });
        (self.on_change)();
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
            SocketEvent::Opened => self.step(Client::handle_connected),
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
            Err(reason) => client.handle_snapshot_failed(&reason),
        });
    }

    fn handle_timeout(&self) {
        let now_ms = now_ms();
        {
            let state = &mut *self.state.borrow_mut();
            state.timer = None;
            if state.verify_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                (state.verify_at_ms, state.compared) = (None, Some(state.client.cursor()));
                state.client.verify();
            }
        }
        self.step(Client::handle_timeout);
    }

    /// Listens to the window for as long as there is one.
    fn listen(&self) {
        let driver = self.this.clone();
        let on_online = Closure::<dyn Fn()>::new(move || {
            if let Some(driver) = driver.upgrade()
                && window().document().is_some_and(|document| document.visibility_state() == VisibilityState::Visible)
            {
                driver.step(Client::handle_online);
            }
        });
        let driver = self.this.clone();
        let on_leave = Closure::<dyn Fn(BeforeUnloadEvent)>::new(move |event: BeforeUnloadEvent| {
            if driver.upgrade().is_some_and(|driver| driver.state.borrow().would_lose()) {
                event.prevent_default();
            }
        });
        let document = window().document().expect("a window has a document");
        for (target, name, listener) in [
            (window().as_ref(), "online", on_online.as_ref()),
            (document.as_ref(), "visibilitychange", on_online.as_ref()),
            (window().as_ref(), "beforeunload", on_leave.as_ref()),
        ] {
            let target: &web_sys::EventTarget = target;
            target
                .add_event_listener_with_callback(name, listener.unchecked_ref())
                .expect("a listener can be added to what is alive");
        }
        on_online.forget();
        on_leave.forget();
    }
}

impl State {
    /// How far the connection has come, as a person sees it: attempts after a failure are no news.
    pub(super) fn connection(&self) -> Connection {
        match self.client.phase() {
            Phase::Following => Connection::Live,
            Phase::Waiting { .. } | Phase::Connecting if self.has_failed => Connection::Offline,
            Phase::Waiting { .. } | Phase::Connecting | Phase::Greeting { .. } | Phase::Fetching => {
                Connection::Connecting
            }
        }
    }

    /// Whether edits would be lost with the page.
    fn would_lose(&self) -> bool {
        self.client.unconfirmed() > 0 && !self.is_durable()
    }

    /// Whether edits survive the page.
    pub(super) fn is_durable(&self) -> bool {
        matches!(self.device, Device::Open { .. })
    }

    /// Whether an edit is not on the disk yet.
    pub(super) fn is_keeping(&self) -> bool {
        matches!(self.device, Device::Open { is_keeping: true, .. })
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
        let Device::Open { store, is_keeping, adopted } = &mut self.device else { return };
        if *is_keeping {
            return;
        }
        let (change, forget) = (self.client.take_local_change(), std::mem::take(adopted));
        if change.is_empty() && forget.is_empty() {
            return;
        }
        *is_keeping = true;
        let (store, driver) = (store.clone(), driver.clone());
        spawn_local(async move {
            let kept = store.keep(&change, &forget).await;
            with(&driver, |driver| driver.handle_kept(kept));
        });
    }

    /// Sets the timer to what comes next.
    fn schedule(&mut self, driver: &Weak<Driver>) {
        let (now_ms, cursor) = (now_ms(), self.client.cursor());
        let is_due =
            self.client.is_settled() && self.client.verified() != Some(cursor) && self.compared != Some(cursor);
        self.verify_at_ms = is_due.then(|| self.verify_at_ms.unwrap_or(now_ms + VERIFY_AFTER_MS));
        let Some(next_ms) = self.client.poll_timeout().into_iter().chain(self.verify_at_ms).min() else {
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
        let path = format!("/api/v1/dictionaries/{name}");
        let name = name.to_owned();
        Self { name, socket: format!("ws{secure}://{host}{path}/socket"), snapshot: format!("{path}/snapshot") }
    }
}
