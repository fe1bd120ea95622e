//! Two values of a key beside each other: what a conflict has left out, or what was there before an absence, and what is there.

use keybook_core::{ConflictId, Key};

use super::row::ValueText;

/// A key with two of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The key.
    pub key: Key,
    /// What is there.
    pub now: Written,
    /// What lost, or was there before.
    pub other: Written,
    /// The conflict in which it lost, if it did.
    pub conflict: Option<ConflictId>,
    /// Whether it is this page's person who wrote what lost.
    pub is_own: bool,
}

/// What was written, when and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value's beginning; none for a remove, or nothing.
    pub value: Option<ValueText>,
    /// The name of who wrote it; empty if that is not known.
    pub author: String,
    /// When, in milliseconds since 1970.
    pub millis: u64,
}

impl Comparison {
    /// What tells it from others, and from itself with another value now.
    pub fn name(&self) -> String {
        let id = self.conflict.map_or((0, 0), |id| (id.seq.0, id.index));
        format!("{} {} {} {} {}", self.key, id.0, id.1, self.now.millis, self.now.author)
    }
}
