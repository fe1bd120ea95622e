//! Who follows which dictionary, and what they are told: commits that are on the disk, and the presence of others.
//!
//! A feed exists while somebody follows it. The last events of all feeds are kept once, for all their followers, up to a limit of
//! bytes. A follower that falls further behind is told so, and reads from the store again. So a slow reader costs no memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use keybook_core::{DictionaryName, server::Broadcast};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::limits::FEEDS_BYTES_MAX;

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
    senders: Mutex<HashMap<DictionaryName, broadcast::Sender<Weak<Event>>>>,
    recent: Mutex<Recent>,
}

/// The last events of all feeds: what is here can still be read by whoever is behind.
#[derive(Debug)]
struct Recent {
    bytes_max: usize,
    bytes: usize,
    events: VecDeque<Arc<Event>>,
}

/// A follower of one dictionary.
#[derive(Debug)]
pub(crate) struct Subscription {
    name: DictionaryName,
    feeds: Arc<Feeds>,
    receiver: broadcast::Receiver<Weak<Event>>,
}

/// What a follower learns.
#[derive(Debug)]
pub(crate) enum News {
    /// The next event.
    Event(Event),
    /// Events that were missed.
    Lagged,
}

impl Event {
    /// What it takes in memory, or what is sent of it.
    pub(crate) fn bytes(&self) -> usize {
        let frames = match self {
            Self::Commit(commit) => &commit.frames[..],
            Self::Presence { frame, .. } => std::slice::from_ref(frame),
        };
        size_of::<Self>()
            + size_of::<Broadcast>()
            + frames.iter().map(|frame| size_of::<Bytes>() + frame.len()).sum::<usize>()
    }
}

impl Recent {
    /// Keeps an event, and forgets the oldest until all fit. The newest is kept however large it is: those who keep up get it.
    fn keep(&mut self, event: Arc<Event>) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.bytes > self.bytes_max && self.events.len() > 1 {
            let oldest = self.events.pop_front().expect("there are two at least");
            self.bytes -= oldest.bytes();
        }
    }
}

impl Feeds {
    /// No feeds yet. `capacity` is how many events a follower may be behind.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with_bytes(capacity, FEEDS_BYTES_MAX)
    }

    /// The same; `bytes_max` is what all events together may take.
    fn with_bytes(capacity: usize, bytes_max: usize) -> Self {
        let recent = Recent { bytes_max, bytes: 0, events: VecDeque::new() };
        Self { capacity, senders: Mutex::default(), recent: Mutex::new(recent) }
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
            let event = Arc::new(event());
            let told = Arc::downgrade(&event);
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(event);
            // It fails when the last follower has just left.
            let _ = feed.send(told);
        }
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<DictionaryName, broadcast::Sender<Weak<Event>>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next news. Cancel safe.
    pub(crate) async fn next(&mut self) -> News {
        match self.receiver.recv().await {
            Ok(event) => News::of(&event),
            Err(RecvError::Lagged(_)) => News::Lagged,
            Err(RecvError::Closed) => unreachable!("the sender stays while somebody is subscribed"),
        }
    }

    /// The next news, if there are any now.
    pub(crate) fn try_next(&mut self) -> Option<News> {
        match self.receiver.try_recv() {
            Ok(event) => Some(News::of(&event)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(News::Lagged),
            Err(_) => None,
        }
    }
}

impl News {
    fn of(event: &Weak<Event>) -> Self {
        event.upgrade().map_or(Self::Lagged, |event| Self::Event((*event).clone()))
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

    const BYTES_MAX: usize = 1 << 20;

    fn name(name: &str) -> DictionaryName {
        DictionaryName::parse(name).unwrap()
    }

    fn presence(bytes: usize) -> Event {
        Event::Presence { about: ConnectionNumber(1), frame: vec![0; bytes].into() }
    }

    #[test]
    fn a_feed_lives_while_somebody_follows() {
        let (feeds, name) = (Arc::new(Feeds::new(4)), name("main"));
        feeds.publish(&name, || unreachable!("nobody follows"));
        let (mut first, second) = (feeds.subscribe(&name), feeds.subscribe(&name));
        feeds.publish(&name, || presence(1));
        drop(second);
        assert!(matches!(first.try_next(), Some(News::Event(_))));
        for _ in 0..=4 {
            feeds.publish(&name, || presence(1));
        }
        assert!(matches!(first.try_next(), Some(News::Lagged)));
        drop(first);
        assert!(feeds.feeds().is_empty());
    }

    /// A reader that stalled kept 256 commits of its dictionary, whatever they took: 507 MiB with eight dictionaries.
    #[test]
    fn stalled_followers_of_any_number_of_dictionaries_keep_bounded_bytes() {
        let feeds = Arc::new(Feeds::with_bytes(256, BYTES_MAX));
        let names = ["a", "b", "c", "d"].map(name);
        let mut stalled = names.each_ref().map(|name| feeds.subscribe(name));
        let mut told = Vec::new();
        for _ in 0..100 {
            for name in &names {
                let event = presence(60_000);
                feeds.publish(name, || event);
                told.push(Arc::downgrade(feeds.recent.lock().unwrap().events.back().unwrap()));
            }
        }
        let held: usize = told.iter().filter_map(Weak::upgrade).map(|event| event.bytes()).sum();
        assert!((BYTES_MAX - 61_000..=BYTES_MAX).contains(&held), "{held} bytes are held");
        for follower in &mut stalled {
            assert!(matches!(follower.try_next(), Some(News::Lagged)));
        }
        // An event that is larger than all of it reaches those who keep up.
        let mut current = feeds.subscribe(&names[0]);
        feeds.publish(&names[0], || presence(2 * BYTES_MAX));
        assert!(matches!(current.try_next(), Some(News::Event(_))));
    }
}
