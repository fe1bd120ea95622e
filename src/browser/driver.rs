//! Drives the page's model: tells it what happens in the browser, and does what it asks for. It decides nothing.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    time::Duration,
};

use js_sys::Reflect;
use keybook_core::{
    Key, Person, ReplicaId,
    client::LocalChange,
    device::{Effect as DeviceEffect, WhoLives},
    paths,
};
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{BeforeUnloadEvent, VisibilityState};

use super::{
    announce_connection,
    channel::Channel,
    document, download,
    fetch::Fetch,
    identity,
    local_store::LocalStore,
    locks, now_ms, quota, reason,
    socket::{Socket, SocketEvent},
    timer::{Frame, Timeout},
    window,
};
use crate::model::{Act, Effect, Focus, Model, OnChange, Opened, SharedModel, fold_ascii};

/// Why a store is closed that was open.
const CLOSED: &str = "another tab has deleted what is kept here, or is of a newer version";
const FORGOTTEN: &str = "it was forgotten here; reload the page to keep it again";

/// What drives the page, for as long as it lives.
pub(super) struct Driver {
    this: Weak<Self>,
    model: SharedModel,
    on_change: OnChange,
    name: String,
    addresses: Addresses,
    open: RefCell<Open>,
}

/// What is open, or under way.
#[derive(Default)]
struct Open {
    store: Option<LocalStore>,
    channel: Option<Channel>,
    socket: Option<Socket>,
    fetch: Option<Fetch>,
    timer: Option<(u64, Timeout)>,
    frame: Option<Frame>,
}

struct Addresses {
    socket: String,
    snapshot: String,
}

impl Driver {
    /// Brings the page of the dictionary `name` to life.
    pub(super) fn start(name: String, author: Person, model: SharedModel, on_change: OnChange) -> Rc<Self> {
        let opened = Opened {
            name: name.clone(),
            replica: identity::secret(),
            author,
            lives: if locks::are_there() { WhoLives::Locks } else { WhoLives::Asked },
            is_plain_http: identity::is_plain_http(),
            normalize: |text| js_sys::JsString::from(text).normalize("NFC").into(),
            fold: fold_ascii,
        };
        let replica = opened.replica.replica();
        let driver = Rc::new_cyclic(|this| Self {
            this: this.clone(),
            model,
            on_change,
            addresses: Addresses::of(&name),
            name,
            open: RefCell::default(),
        });
        driver.step(|model, now_ms| model.open(opened, now_ms));
        driver.model.write(|model| model.set_visible(is_visible()));
        driver.listen();
        driver.listen_to_pointer();
        driver.open(replica);
        driver.show();
        driver
    }

    /// Runs an act of the person, and shows what has come of it.
    pub(super) fn act(&self, act: Act) -> Option<Focus> {
        let mut focus = None;
        self.step(|model, now_ms| focus = model.act(act, now_ms));
        self.show();
        focus
    }

    /// Lets something happen to the model now, and does all that follows.
    fn step(&self, handle: impl FnOnce(&mut Model, u64)) {
        let now_ms = now_ms();
        self.model.write(|model| handle(model, now_ms));
        self.follow(now_ms);
    }

    /// The same, and shows it at once.
    fn step_and_show(&self, handle: impl FnOnce(&mut Model, u64)) {
        self.step(handle);
        self.show();
    }

    fn follow(&self, now_ms: u64) {
        while let Some(effect) = self.model.write(|model| model.poll_effect(now_ms)) {
            self.execute(effect, now_ms);
        }
        let (next_ms, wants_frame) = self.model.read(|model| (model.poll_timeout(), model.wants_frame()));
        self.set_timer(next_ms, now_ms);
        if wants_frame {
            let driver = self.this.clone();
            self.open.borrow_mut().frame.get_or_insert_with(|| Frame::new(move || with(&driver, Self::show)));
        }
    }

    /// Shows what has changed.
    fn show(&self) {
        self.open.borrow_mut().frame = None;
        let now_ms = now_ms();
        let areas = self.model.write(|model| model.frame(now_ms));
        (self.on_change)(areas);
        // A search goes on in the next frame.
        self.follow(now_ms);
    }

    // What is done.

    fn execute(&self, effect: Effect, now_ms: u64) {
        match effect {
            Effect::Connect => self.connect(now_ms),
            Effect::Disconnect => self.disconnect(now_ms),
            Effect::Send(message) => {
                let is_sent = self.open.borrow().socket.as_ref().is_some_and(|socket| socket.send(&message).is_ok());
                if !is_sent {
                    self.disconnect(now_ms);
                }
            }
            Effect::FetchSnapshot => {
                let driver = self.this.clone();
                let done = move |snapshot| {
                    with(&driver, |driver| driver.step(|model, now_ms| model.handle_snapshot(snapshot, now_ms)));
                };
                self.open.borrow_mut().fetch = Some(Fetch::start(self.addresses.snapshot.clone(), done));
            }
            Effect::Device(DeviceEffect::Keep { change, adopted }) => self.keep(change, adopted),
            Effect::Device(DeviceEffect::Tell(message)) => {
                if let Some(channel) = &self.open.borrow().channel {
                    channel.send(&message);
                }
            }
            Effect::Device(DeviceEffect::Watch(replica)) => self.watch(replica),
            Effect::Device(DeviceEffect::ReadLeft(replica)) => self.read_left(replica),
            Effect::Device(DeviceEffect::Persist) => quota::persist(),
            Effect::Look => self.look(),
            Effect::Forget => {
                let forgotten = LocalStore::forget(&self.name);
                let reason = forgotten.map_or_else(|error| reason(&error), |()| FORGOTTEN.to_owned());
                self.model.write(|model| model.handle_refused(reason, now_ms));
            }
            // What the browser does not save, the person sees.
            Effect::Export(text) => drop(download::save(&text)),
            Effect::KeepAuthor(author) => identity::rename(&author),
            Effect::KeepPlainHttp => identity::accept_plain_http(),
        }
    }

    fn connect(&self, now_ms: u64) {
        let driver = self.this.clone();
        let handle = move |event| with(&driver, |driver| driver.handle_socket(event));
        match Socket::open(&self.addresses.socket, handle) {
            Ok(socket) => self.open.borrow_mut().socket = Some(socket),
            Err(_) => self.disconnect(now_ms),
        }
    }

    fn disconnect(&self, now_ms: u64) {
        {
            let open = &mut *self.open.borrow_mut();
            (open.socket, open.fetch) = (None, None);
        }
        self.model.write(|model| model.handle_disconnected(now_ms, identity::random()));
    }

    fn handle_socket(&self, event: SocketEvent) {
        match event {
            SocketEvent::Opened => {
                self.step(Model::handle_connected);
                announce_connection();
            }
            SocketEvent::Message(bytes) => self.step(|model, now_ms| model.handle_message(&bytes, now_ms)),
            SocketEvent::Closed => {
                let now_ms = now_ms();
                self.disconnect(now_ms);
                self.follow(now_ms);
            }
        }
    }

    /// Opens the local store and the channel.
    fn open(&self, replica: ReplicaId) {
        // Held from now on: what this page keeps is its own.
        locks::take(&self.lock(replica), || ());
        let driver = self.this.clone();
        let handle = move |message: Vec<u8>| {
            with(&driver, |driver| driver.step(|model, now_ms| model.handle_told(&message, now_ms)));
        };
        self.open.borrow_mut().channel = Channel::open(&self.name, handle);
        let (name, driver) = (self.name.clone(), self.this.clone());
        spawn_local(async move {
            let closing = driver.clone();
            let closed = move || with(&closing, |driver| driver.refuse(CLOSED.to_owned()));
            let opened = LocalStore::open(&name, replica, closed).await;
            with(&driver, |driver| match opened {
                Ok((store, found)) => {
                    driver.open.borrow_mut().store = Some(store);
                    driver.step(|model, now_ms| model.handle_opened(found, now_ms));
                }
                Err(error) => driver.refuse(reason(&error)),
            });
        });
    }

    fn refuse(&self, reason: String) {
        self.step_and_show(|model, now_ms| model.handle_refused(reason, now_ms));
    }

    fn keep(&self, change: LocalChange, adopted: Vec<ReplicaId>) {
        let Some(store) = self.open.borrow().store.clone() else { return };
        let driver = self.this.clone();
        spawn_local(async move {
            let kept = store.keep(&change, &adopted).await;
            with(&driver, |driver| {
                driver.step_and_show(|model, now_ms| match kept {
                    Ok(kept) => model.handle_kept(kept),
                    Err(error) => model.handle_unkept(reason(&error), now_ms),
                });
            });
        });
    }

    fn watch(&self, replica: ReplicaId) {
        let driver = self.this.clone();
        let ended = move || {
            with(&driver, |driver| driver.step(|model, now_ms| model.handle_ended(replica, now_ms)));
        };
        locks::take(&self.lock(replica), ended);
    }

    fn read_left(&self, replica: ReplicaId) {
        let Some(store) = self.open.borrow().store.clone() else { return };
        let driver = self.this.clone();
        spawn_local(async move {
            let left = store.left(replica).await;
            with(&driver, |driver| match left {
                Ok(left) => driver.step(|model, now_ms| model.handle_left(replica, &left, now_ms)),
                Err(error) => driver.refuse(reason(&error)),
            });
        });
    }

    fn look(&self) {
        let driver = self.this.clone();
        spawn_local(async move {
            let room = quota::room().await;
            with(&driver, |driver| driver.step_and_show(|model, _| model.handle_room(room)));
        });
    }

    /// Sets the timer to what comes next.
    fn set_timer(&self, next_ms: Option<u64>, now_ms: u64) {
        let timer = &mut self.open.borrow_mut().timer;
        if timer.as_ref().map(|(at_ms, _)| *at_ms) == next_ms {
            return;
        }
        *timer = next_ms.map(|next_ms| {
            let driver = self.this.clone();
            let call = move || {
                with(&driver, |driver| {
                    driver.open.borrow_mut().timer = None;
                    driver.step(Model::handle_timeout);
                });
            };
            (next_ms, Timeout::new(Duration::from_millis(next_ms.saturating_sub(now_ms)), call))
        });
    }

    /// Listens to the window for as long as there is one.
    fn listen(&self) {
        let driver = self.this.clone();
        let on_online = Closure::<dyn Fn()>::new(move || {
            with(&driver, |driver| {
                driver.model.write(|model| model.set_visible(is_visible()));
                if is_visible() {
                    driver.step(Model::handle_online);
                }
            });
        });
        let model = self.model.clone();
        let on_show = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            let is_from_cache = Reflect::get(&event, &"persisted".into()).is_ok_and(|persisted| persisted.is_truthy());
            if is_from_cache && model.read(Model::is_durable) {
                // See [`locks`].
                window().location().reload().expect("a page can be loaded again");
            }
        });
        let model = self.model.clone();
        let on_leave = Closure::<dyn Fn(BeforeUnloadEvent)>::new(move |event: BeforeUnloadEvent| {
            if model.read(Model::would_lose) {
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

    /// Listens to what a pointer does, on the way down from the window: an edit is over before what was clicked does what it does.
    fn listen_to_pointer(&self) {
        let driver = self.this.clone();
        let on_click = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            if closest(&event, ".editor").is_none() {
                with(&driver, |driver| {
                    if driver.model.read(|model| model.editor().is_some()) {
                        driver.act(Act::LeaveEdit);
                    }
                });
            }
        });
        let model = self.model.clone();
        let on_pointer = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            let name = closest(&event, "[role=row][aria-label]").and_then(|row| row.get_attribute("aria-label"));
            let key = name.and_then(|name| Key::parse(&name).ok());
            model.write(|model| model.handle_pointer(key));
        });
        for (name, listener) in [("click", &on_click), ("pointerover", &on_pointer)] {
            window()
                .add_event_listener_with_callback_and_bool(name, listener.as_ref().unchecked_ref(), true)
                .expect("a listener can be added to what is alive");
        }
        on_click.forget();
        on_pointer.forget();
    }

    /// The lock that a page holds while it lives.
    fn lock(&self, replica: ReplicaId) -> String {
        format!("keybook {} {replica}", self.name)
    }
}

/// The innermost element around what an event is of that matches.
fn closest(event: &web_sys::Event, selector: &str) -> Option<web_sys::Element> {
    let target = event.target()?.dyn_into::<web_sys::Element>().ok()?;
    target.closest(selector).ok().flatten()
}

fn is_visible() -> bool {
    document().visibility_state() == VisibilityState::Visible
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
        Self { socket: format!("ws{secure}://{host}{}", paths::socket(name)), snapshot: paths::snapshot(name) }
    }
}
