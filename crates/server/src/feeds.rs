//! Who follows which dictionary, and what they are told: commits that are on the disk, and the presence of others.
//!
//! A feed exists while somebody follows it. It keeps the last events once, for all its followers. A follower that falls further
//! behind is told so, and reads from the store again. So a slow reader costs no memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use keybook_core::{DictionaryName, server::Broadcast};
use tokio::sync::broadcast::{self, error::RecvError};

/// The connection's number, unique in one run of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionNumber(pub(crate) u64);

/// What followers are told. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A commit.
    Commit(Arc<Broadcast>),
    /// A frame for all but the connection that it is about.
    Presence { about: ConnectionNumber, frame: Bytes },
}

/// The feeds of all dictionaries that are followed.
#[derive(Debug)]
pub(crate) struct Feeds {
    /// Events that a follower may be behind.
    capacity: usize,
    senders: Mutex<HashMap<DictionaryName, broadcast::Sender<Event>>>,
}

/// A follower of one dictionary.
#[derive(Debug)]
pub(crate) struct Subscription {
    name: DictionaryName,
    feeds: Arc<Feeds>,
    receiver: broadcast::Receiver<Event>,
}

/// What a follower learns.
#[derive(Debug)]
pub(crate) enum News {
    /// The next event.
    Event(Event),
    /// Events that were missed.
    Lagged,
}

impl Feeds {
    /// No feeds yet. `capacity` is how many events a follower may be behind.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, senders: Mutex::default() }
    }

    /// Follows a dictionary from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, name: &DictionaryName) -> Subscription {
        let mut feeds = self.feeds();
        let feed = feeds.entry(name.clone()).or_insert_with(|| broadcast::Sender::new(self.capacity));
        Subscription { name: name.clone(), feeds: self.clone(), receiver: feed.subscribe() }
    }

    /// Tells the followers of a dictionary. The event is made only if there are any.
    pub(crate) fn publish(&self, name: &DictionaryName, event: impl FnOnce() -> Event) {
        let feed = self.feeds().get(name).cloned();
        if let Some(feed) = feed {
            // It fails when the last follower has just left.
            let _ = feed.send(event());
        }
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<DictionaryName, broadcast::Sender<Event>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next news. Cancel safe.
    pub(crate) async fn next(&mut self) -> News {
        match self.receiver.recv().await {
            Ok(event) => News::Event(event),
            Err(RecvError::Lagged(_)) => News::Lagged,
            Err(RecvError::Closed) => unreachable!("the sender stays while somebody is subscribed"),
        }
    }

    /// The next news, if there are any now.
    pub(crate) fn try_next(&mut self) -> Option<News> {
        match self.receiver.try_recv() {
            Ok(event) => Some(News::Event(event)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(News::Lagged),
            Err(_) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut feeds = self.feeds.feeds();
        // This one still counts.
        if feeds.get(&self.name).is_some_and(|feed| feed.receiver_count() <= 1) {
            feeds.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_lives_while_somebody_follows() {
        let (feeds, name) = (Arc::new(Feeds::new(4)), DictionaryName::parse("main").unwrap());
        let event = || Event::Presence { about: ConnectionNumber(1), frame: Bytes::new() };
        feeds.publish(&name, || unreachable!("nobody follows"));
        let (mut first, second) = (feeds.subscribe(&name), feeds.subscribe(&name));
        feeds.publish(&name, event);
        drop(second);
        assert!(matches!(first.try_next(), Some(News::Event(_))));
        for _ in 0..=4 {
            feeds.publish(&name, event);
        }
        assert!(matches!(first.try_next(), Some(News::Lagged)));
        drop(first);
        assert!(feeds.feeds().is_empty());
    }
}
