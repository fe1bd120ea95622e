//! What the program and the driver share: the replica, and what each has to tell the other.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use keybook_core::{
    Secret,
    client::{Client, Event},
};
use tokio::sync::{Notify, broadcast, watch};

use crate::group::Groups;

/// Events that a slow reader of changes may be behind.
const CHANGES: usize = 256;

/// What the program and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    replica: Mutex<Client>,
    /// Locked after the replica, by whoever needs both.
    groups: Mutex<Groups>,
    /// The program has written, or wants to leave.
    pub(crate) wake: Notify,
    /// Counts the steps of the replica, so that a program can wait for one.
    pub(crate) steps: watch::Sender<u64>,
    pub(crate) changes: broadcast::Sender<Event>,
    /// Why the last connection failed.
    trouble: Mutex<Option<String>>,
    pub(crate) closing: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(replica: Client) -> Self {
        Self {
            replica: Mutex::new(replica),
            groups: Mutex::default(),
            wake: Notify::new(),
            steps: watch::Sender::new(0),
            changes: broadcast::Sender::new(CHANGES),
            trouble: Mutex::new(None),
            closing: watch::Sender::new(false),
        }
    }

    pub(crate) fn replica(&self) -> MutexGuard<'_, Client> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits or watches what the replica has to say.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        for event in events {
            // It fails when nobody watches.
            let _ = self.changes.send(event);
        }
        self.steps.send_modify(|steps| *steps += 1);
    }

    /// Why the last connection failed or ended, if it did.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A new secret.
pub(crate) fn random_secret() -> Secret {
    let mut secret = Secret([0; 16]);
    getrandom::fill(&mut secret.0).expect("every system that runs this has random numbers");
    secret
}

/// A random number of the system's.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("every system that runs this has random numbers")
}
