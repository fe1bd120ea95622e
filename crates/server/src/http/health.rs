//! What the server says of itself, to whoever watches over it.
//!
//! `/readyz` is for load balancers, which send nobody to a server that does not answer 200. One damaged dictionary is no reason for
//! that: the others would be out of reach too, and nobody else has them. So it answers 503 only when the server stops. `/healthz` is
//! for who sounds an alarm: it answers 503 as soon as anything is wrong. Both say what.

use std::{fmt::Write, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::shared::Shared;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/livez", get(alive)).route("/readyz", get(ready)).route("/healthz", get(healthy))
}

/// The process lives when it answers at all.
async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(server): State<Arc<Shared>>) -> (StatusCode, String) {
    match Health::of(&server) {
        Health::Stops => (StatusCode::SERVICE_UNAVAILABLE, Health::Stops.text()),
        health => (StatusCode::OK, health.text()),
    }
}

async fn healthy(State(server): State<Arc<Shared>>) -> (StatusCode, String) {
    match Health::of(&server) {
        Health::Good => (StatusCode::OK, Health::Good.text()),
        health => (StatusCode::SERVICE_UNAVAILABLE, health.text()),
    }
}

/// How the server is.
enum Health {
    Good,
    /// It is of use, but not for everything.
    Degraded(Vec<String>),
    Stops,
}

impl Health {
    fn of(server: &Shared) -> Self {
        if !server.writer.is_working() {
            return Self::Stops;
        }
        let damaged = server.damage.found();
        let damaged = damaged.iter().map(|(name, found)| format!("dictionary {name}: {found}"));
        let troubles: Vec<String> = damaged.chain(server.disk.trouble()).collect();
        if troubles.is_empty() { Self::Good } else { Self::Degraded(troubles) }
    }

    fn text(&self) -> String {
        match self {
            Self::Good => "ok\n".to_owned(),
            Self::Stops => "the server cannot write and stops\n".to_owned(),
            Self::Degraded(troubles) => {
                let mut text = "degraded\n".to_owned();
                for trouble in troubles {
                    writeln!(text, "{trouble}").expect("a String takes all");
                }
                text
            }
        }
    }
}
