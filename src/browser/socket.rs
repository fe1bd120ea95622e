//! A WebSocket that speaks `keybook.v1`. Dropping it closes it, and nothing more is heard of it.

use std::rc::Rc;

use keybook_core::wire::SUBPROTOCOL;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{BinaryType, MessageEvent, WebSocket};

/// What a socket tells.
pub(super) enum SocketEvent {
    /// It can send.
    Opened,
    /// A binary message came.
    Message(Vec<u8>),
    /// It could not be opened, or is closed. The last event.
    Closed,
}

/// An open socket, or one that is being opened.
pub(super) struct Socket {
    socket: WebSocket,
    _on_open: Closure<dyn Fn()>,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_close: Closure<dyn Fn()>,
}

impl Socket {
    /// Begins to open one.
    ///
    /// # Errors
    /// When the browser forbids it.
    pub(super) fn open(url: &str, handle: impl Fn(SocketEvent) + 'static) -> Result<Self, JsValue> {
        let socket = WebSocket::new_with_str(url, SUBPROTOCOL)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let handle = Rc::new(handle);
        let on_open = Closure::new({
            let handle = handle.clone();
            move || handle(SocketEvent::Opened)
        });
        let on_message = Closure::new({
            let handle = handle.clone();
            move |event: MessageEvent| {
                // A text, which the protocol does not have, reads as an empty message and ends the connection.
                handle(SocketEvent::Message(js_sys::Uint8Array::new(&event.data()).to_vec()));
            }
        });
        // An error is always followed by a close.
        let on_close = Closure::new(move || handle(SocketEvent::Closed));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }

    /// Sends a message. One that is lost with a closing socket is followed by [`SocketEvent::Closed`].
    ///
    /// # Errors
    /// When the socket is not open yet.
    pub(super) fn send(&self, message: &[u8]) -> Result<(), JsValue> {
        self.socket.send_with_u8_array(message)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // It fails only for a bad code, and none is given.
        let _ = self.socket.close();
    }
}
