//! The driver: does for the replica what it asks for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use keybook_core::client::{Action, Client as Replica};
use tokio::{task::JoinHandle, time::sleep};
use tracing::debug;

use crate::{
    address::Address,
    connection::{Connection, ConnectionError, Step},
    shared::{Shared, now_ms, random},
    snapshot::{self, FetchError},
};

/// Drives the replica until the client is closed.
pub(crate) async fn run(shared: Arc<Shared>, address: Address) {
    let mut driver = Driver { shared, address, connection: None, connecting: None, fetching: None };
    while !driver.is_closing() {
        driver.act();
        driver.step().await;
    }
    driver.close();
}

struct Driver {
    shared: Arc<Shared>,
    address: Address,
    connection: Option<Connection>,
    connecting: Option<Task<Result<Connection, ConnectionError>>>,
    fetching: Option<Task<Result<Bytes, FetchError>>>,
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The output of a task, if there is one.
async fn output<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(running) => {
            let output =
                (&mut running.0).await.expect("the task does not panic, and is not cancelled while it is here");
            *task = None;
            output
        }
        None => std::future::pending().await,
    }
}

/// What a step waited for.
enum Happening {
    Woken,
    Connected(Result<Connection, ConnectionError>),
    Fetched(Result<Bytes, FetchError>),
    Stepped(Result<Step, ConnectionError>),
    Time,
}

impl Driver {
    fn is_closing(&self) -> bool {
        *self.shared.closing.borrow()
    }

    /// Begins what the replica asks for, and tells the program what has changed.
    fn act(&mut self) {
        let mut events = Vec::new();
        loop {
            let action = {
                let mut replica = self.shared.replica();
                self.shared.groups().settle(&replica);
                events.extend(std::iter::from_fn(|| replica.poll_event()));
                replica.poll_action()
            };
            match action {
                None => break,
                Some(Action::Connect) => {
                    let address = self.address.clone();
                    self.connecting = Some(Task::spawn(async move { Connection::open(&address).await }));
                }
                Some(Action::FetchSnapshot) => self.fetching = Some(Task::spawn(snapshot::fetch(self.address.clone()))),
                Some(Action::Disconnect) => self.disconnected(None),
            }
        }
        self.shared.publish(events);
    }

    /// Waits for whatever comes first, and tells the replica.
    async fn step(&mut self) {
        let timeout = {
            let (mut replica, now_ms) = (self.shared.replica(), now_ms());
            let mut groups = self.shared.groups();
            if let Some(connection) = &mut self.connection
                && connection.has_room()
                && let Some(message) = replica.poll_transmit().or_else(|| groups.take_message(&mut replica, now_ms))
            {
                connection.send(message);
            }
            replica.poll_timeout().into_iter().chain(groups.next_ms(now_ms)).min()
        };
        let happening = self.wait(timeout).await;
        self.handle(happening);
    }

    async fn wait(&mut self, timeout: Option<u64>) -> Happening {
        let Self { shared, connection, connecting, fetching, .. } = self;
        let mut closing = shared.closing.subscribe();
        let stepped = async {
            match connection {
                Some(connection) => connection.step().await,
                None => std::future::pending().await,
            }
        };
        let time = async {
            match timeout {
                Some(at_ms) => sleep(Duration::from_millis(at_ms.saturating_sub(now_ms()))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => Happening::Woken,
            _ = closing.wait_for(|&closing| closing) => Happening::Woken,
            connected = output(connecting) => Happening::Connected(connected),
            fetched = output(fetching) => Happening::Fetched(fetched),
            stepped = stepped => Happening::Stepped(stepped),
            () = time => Happening::Time,
        }
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Woken => {}
            Happening::Time => self.replica(|replica| replica.handle_timeout(now_ms())),
            Happening::Connected(Ok(connection)) => {
                self.connection = Some(connection);
                self.shared.set_trouble(None);
                self.replica(|replica| replica.handle_connected(now_ms()));
            }
            Happening::Fetched(Ok(bytes)) => self.replica(|replica| replica.handle_snapshot(&bytes, now_ms())),
            Happening::Fetched(Err(error)) => {
                self.shared.set_trouble(Some(error.to_string()));
                self.replica(|replica| replica.handle_snapshot_failed(&error.to_string(), now_ms()));
            }
            Happening::Stepped(Ok(Step::Received(bytes))) => {
                self.replica(|replica| replica.handle_message(&bytes, now_ms()));
                let mut replica = self.shared.replica();
                self.shared.groups().handle_message(&mut replica, &bytes, now_ms());
            }
            // The next step sends another.
            Happening::Stepped(Ok(Step::Taken)) => {}
            Happening::Connected(Err(error)) | Happening::Stepped(Err(error)) => {
                self.disconnected(Some(error.to_string()));
            }
        }
    }

    fn disconnected(&mut self, why: Option<String>) {
        (self.connection, self.connecting, self.fetching) = (None, None, None);
        if let Some(why) = why {
            debug!("not connected to {}: {why}", self.address);
            self.shared.set_trouble(Some(why));
        }
        self.replica(|replica| replica.handle_disconnected(now_ms(), random()));
        self.shared.groups().handle_disconnected(now_ms());
    }

    fn replica(&self, tell: impl FnOnce(&mut Replica)) {
        tell(&mut self.shared.replica());
    }

    fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }
}
