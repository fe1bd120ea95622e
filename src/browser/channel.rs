//! The channel on which the tabs of this browser that show the same dictionary tell each other what waits in their outboxes.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BroadcastChannel, MessageEvent};

/// An open channel.
pub(super) struct Channel {
    channel: BroadcastChannel,
    _on_message: Closure<dyn Fn(MessageEvent)>,
}

impl Channel {
    /// Opens the channel of a dictionary. None in a browser without channels: there, tabs know of each other by the store alone.
    pub(super) fn open(name: &str, handle: impl Fn(Vec<u8>) + 'static) -> Option<Self> {
        let channel = BroadcastChannel::new(&format!("keybook {name}")).ok()?;
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            handle(Uint8Array::new(&event.data()).to_vec());
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Some(Self { channel, _on_message: on_message })
    }

    /// Tells all others something. It may get lost.
    pub(super) fn send(&self, message: &[u8]) {
        // It fails only for a closed channel.
        let _ = self.channel.post_message(&Uint8Array::from(message));
    }
}
