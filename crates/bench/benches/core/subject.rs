//! What is measured: a replica of a dictionary of texts.

use crate::workload::ENTRIES;

/// A replica, of Keybook or of what somebody would take instead. Each method is the way its documentation recommends.
pub(crate) trait Subject: Sized {
    /// With the version.
    const NAME: &'static str;
    /// How many single updates it is given; fewer where it would take minutes, which flatters it, and is scaled.
    const UPDATES: usize = ENTRIES;

    /// An empty replica; `replica` differs between those that meet.
    fn new(replica: u8) -> Self;

    /// One operation from plain texts, in a transaction of its own.
    fn set(&mut self, key: &str, value: &str);

    /// [`Subject::set`], and what goes over the network for it.
    fn set_to_update(&mut self, key: &str, value: &str) -> Vec<u8>;

    /// Takes another replica's update.
    fn apply(&mut self, update: &[u8]);

    /// The whole state, without compression where that can be chosen.
    fn encode(&mut self) -> Vec<u8>;

    /// The inverse of [`Subject::encode`].
    fn load(bytes: &[u8]) -> Self;

    /// Calls for each entry.
    fn read(&self, visit: impl FnMut(&str, &str));

    /// Takes what another replica in the same process has; by way of bytes where there is no other.
    fn merge(&mut self, other: &mut Self);
}
