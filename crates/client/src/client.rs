//! The client as a program sees it.

use std::sync::Arc;

use keybook_core::{
    Key, Person, Stamp, Value,
    client::{self as core, EditError, Event},
};
use tokio::{sync::broadcast, task::JoinHandle};

use crate::{
    address::{Address, AddressError},
    driver,
    group::{Admitted, Group, GroupError},
    shared::{Shared, now_ms, random_secret},
};

/// Who the client is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who writes; everyone who follows the dictionary sees the name. Who keeps the secret stays the same author.
    pub author: Person,
}

/// A new author with a generated name.
impl Default for Options {
    fn default() -> Self {
        Self { author: Person::generated(random_secret()) }
    }
}

/// A replica of a dictionary that keeps itself connected until it is closed or dropped.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

impl Client {
    /// Begins to connect to the dictionary whose page is at `url` (see [`Address`]), and goes on trying for as long as the
    /// client lives. The client can be used at once; wait for [`Client::settled`] to see what the server has.
    ///
    /// # Errors
    /// When `url` is not the address of a dictionary.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(url: &str, options: Options) -> Result<Self, AddressError> {
        let address = Address::parse(url)?;
        let replica = core::Client::new(random_secret(), options.author, now_ms());
        let shared = Arc::new(Shared::new(replica));
        let driver = tokio::spawn(driver::run(shared.clone(), address));
        Ok(Self { shared, driver })
    }

    /// Writes a value over what is shown now; shown at once, sent when possible.
    ///
    /// # Errors
    /// When the value or the dictionary is over the server's limits, or the server lets this client only read.
    pub fn put(&self, key: &Key, value: Value) -> Result<Stamp, EditError> {
        self.edit(|replica| {
            let began = replica.begin(key);
            replica.put(key, value, began, now_ms())
        })
    }

    /// Removes a key. `None` if it shows no value, and nothing need be done.
    ///
    /// # Errors
    /// When the server lets this client only read.
    pub fn remove(&self, key: &Key) -> Result<Option<Stamp>, EditError> {
        self.edit(|replica| {
            let began = replica.begin(key);
            replica.remove(key, began, now_ms())
        })
    }

    /// Writes a group: all of it is on the server's disk and in this replica when this returns, or nothing of it was applied. It waits for a
    /// connection, sends the group again after each one that ended without an outcome, and the server applies it once. Unlike other edits
    /// it is not shown before. O(writes × log n), and each message that comes meanwhile is read twice.
    ///
    /// What was refused once may, if it had been sent before over a connection that ended, still be on its way there; it is applied within
    /// two minutes if its conditions hold by then, or never.
    ///
    /// Who drops the future does not know what becomes of the group; what was not sent by then is not.
    ///
    /// # Errors
    /// When the group is over a limit, or the server refuses anything in it: [`GroupError::Refused`] names what, and why.
    pub async fn group(&self, group: Group) -> Result<Admitted, GroupError> {
        let answered = self.edit(|replica| self.shared.groups().add(replica, group, now_ms()))?;
        answered.await.expect("the driver lives as long as the client, and answers each group")
    }

    /// The value of a key, as shown here now. O(log n).
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.with(|replica| replica.get(key).cloned())
    }

    /// All keys with their values, as shown here now, in key order. O(n).
    pub fn entries(&self) -> Vec<(Key, Value)> {
        self.with(|replica| {
            let keys = replica.keys().into_iter();
            keys.filter_map(|key| replica.get(&key).cloned().map(|value| (key, value))).collect()
        })
    }

    /// Lends the replica itself to `look`, for what the other functions here do not tell. It is locked meanwhile: be brief.
    pub fn with<T>(&self, look: impl FnOnce(&core::Client) -> T) -> T {
        look(&self.shared.replica())
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.shared.changes.subscribe())
    }

    /// Why the last connection failed or ended, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }

    /// Waits until the replica follows the server and has all that the server had when it joined. Cancel safe.
    pub async fn settled(&self) {
        self.wait(core::Client::is_settled).await;
    }

    /// Waits until everything written here is on the server's disk, or was refused for good (see
    /// [`Outbox::inactive`](keybook_core::client::Outbox::inactive)). Cancel safe.
    pub async fn saved(&self) {
        self.wait(|replica| replica.outbox().active() == 0).await;
    }

    /// Waits until the replica is as wanted. Cancel safe. The condition is looked at after each step.
    pub async fn wait(&self, condition: impl Fn(&core::Client) -> bool) {
        let mut steps = self.shared.steps.subscribe();
        while !self.with(&condition) {
            steps.changed().await.expect("the sender is in self");
        }
    }

    /// Closes the connection. What has not been saved is lost.
    ///
    /// # Panics
    /// When the driver panicked.
    pub async fn close(mut self) {
        self.shared.closing.send_replace(true);
        (&mut self.driver).await.expect("the driver does not panic");
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut core::Client) -> T) -> T {
        let edited = edit(&mut self.shared.replica());
        self.shared.wake.notify_one();
        edited
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A stream of what changes.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Event>);

impl Changes {
    /// The next change. Who falls too far behind gets [`Event::Reset`] for what was missed. `None` when the client is closed.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Event::Reset),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
