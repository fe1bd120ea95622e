//! `GET /api/v1/dictionaries/{name}/socket`: the WebSocket of a replica. docs/protocol.md says what is spoken on it.
//!
//! This file decides who gets a socket; [`connection`] drives one.

mod connection;

use std::sync::Arc;

use axum::{
    extract::{Path, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use keybook_core::{DictionaryName, wire::SUBPROTOCOL};

use self::connection::Connection;
use crate::{
    http::problem::problem,
    limits::{READ_BUFFER_BYTES, WRITE_BUFFER_BYTES},
    shared::Shared,
};

/// Opens a socket, or says why not.
pub(crate) async fn open(
    State(server): State<Arc<Shared>>,
    Path(name): Path<String>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let name = match DictionaryName::parse(&name) {
        Ok(name) => name,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "Bad name", &error.to_string()),
    };
    let mut upgrade = match upgrade {
        Ok(upgrade) => upgrade.protocols([SUBPROTOCOL]),
        Err(rejection) => return rejection.into_response(),
    };
    let frame_bytes = server.config.limits.frame_bytes();
    let mut connection = Connection::new(server, name);
    if upgrade.selected_protocol().is_none() {
        // A browser tells its page nothing of a refused upgrade, and takes no socket without a subprotocol that the page asked for.
        let asked: Vec<_> = upgrade.requested_protocols().cloned().collect();
        let texts: Vec<_> = asked.iter().map(|asked| String::from_utf8_lossy(asked.as_bytes())).collect();
        let texts = if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
        connection.refuse(&texts);
        if let Some(first) = asked.into_iter().next() {
            upgrade.set_selected_protocol(first);
        }
    }
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES + 2 * frame_bytes)
        .max_message_size(frame_bytes)
        .max_frame_size(frame_bytes)
        .on_upgrade(|socket| connection.run(socket))
}
