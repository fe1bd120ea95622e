//! The other tabs of this browser that show the same dictionary: the channel on which all tell each other what waits in their
//! outboxes, and how one learns that another has ended.
//!
//! That is what Web Locks say, see [`locks`]. Where there are none (plain HTTP at another host than localhost), a tab is asked, and
//! one that does not answer has ended. A hidden tab answers as fast as any, for browsers slow down its timers alone. One that is
//! frozen does not; then its edits are sent twice, which is harmless but for those that the server refuses for their clock.

use js_sys::Uint8Array;
use keybook_core::ReplicaId;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BroadcastChannel, MessageEvent};

use super::locks;

/// A tab that lives answers within this: it may be reading its store.
const ANSWER_MS_MAX: u64 = 3000;
/// Where locks say who lives, tabs are asked this often, since a message may have got lost.
const ASK_EVERY_MS: u64 = 30_000;

/// The other tabs. Before it is open, none.
#[derive(Default)]
pub(super) struct Tabs {
    channel: Option<Channel>,
    known: Vec<Tab>,
    ask_at_ms: Option<u64>,
}

struct Channel {
    channel: BroadcastChannel,
    _on_message: Closure<dyn Fn(MessageEvent)>,
}

struct Tab {
    replica: ReplicaId,
    /// It has said nothing since all were asked.
    is_silent: bool,
}

impl Tabs {
    /// Opens the channel of a dictionary; a browser without channels has tabs that know of each other by the store alone.
    pub(super) fn open(name: &str, handle: impl Fn(Vec<u8>) + 'static) -> Self {
        let Ok(channel) = BroadcastChannel::new(&format!("keybook {name}")) else { return Self::default() };
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            handle(Uint8Array::new(&event.data()).to_vec());
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Self { channel: Some(Channel { channel, _on_message: on_message }), ..Self::default() }
    }

    /// Tells all others something. It may get lost.
    pub(super) fn send(&self, message: &[u8]) {
        if let Some(Channel { channel, .. }) = &self.channel {
            // It fails only for a closed channel.
            let _ = channel.post_message(&Uint8Array::from(message));
        }
    }

    /// There is, or was, another tab. Returns whether that is news.
    pub(super) fn meet(&mut self, replica: ReplicaId, has_spoken: bool, now_ms: u64) -> bool {
        self.ask_at_ms.get_or_insert(now_ms + ask_every_ms());
        if let Some(tab) = self.known.iter_mut().find(|tab| tab.replica == replica) {
            tab.is_silent &= !has_spoken;
            return false;
        }
        self.known.push(Tab { replica, is_silent: !has_spoken });
        true
    }

    /// When all are to be asked, if there are others.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.ask_at_ms
    }

    /// All are to be asked now, if it is time. Returns those that have ended, as far as this tab has to take them over: of those
    /// that live the one with the least number does it.
    pub(super) fn handle_timeout(&mut self, own: ReplicaId, now_ms: u64) -> Option<Vec<ReplicaId>> {
        self.ask_at_ms.filter(|at_ms| *at_ms <= now_ms)?;
        self.ask_at_ms = Some(now_ms + ask_every_ms());
        let is_first = !self.known.iter().any(|tab| !tab.is_silent && tab.replica < own);
        let mut ended = Vec::new();
        if is_first && !locks::are_there() {
            let silent = self.known.iter().filter(|tab| tab.is_silent);
            ended.extend(silent.map(|tab| tab.replica));
            self.known.retain(|tab| !tab.is_silent);
        }
        self.known.iter_mut().for_each(|tab| tab.is_silent = true);
        if self.known.is_empty() {
            self.ask_at_ms = None;
        }
        Some(ended)
    }
}

fn ask_every_ms() -> u64 {
    if locks::are_there() { ASK_EVERY_MS } else { ANSWER_MS_MAX }
}
