//! What the person looks for: a text in keys and values.
//!
//! A search is a job that is done in slices, so that a page with a million entries answers each letter that is typed. What it has
//! found so far is shown, which is what comes first.

use keybook_core::Key;

use super::sorted::Sorted;

/// What a search examines in a frame: the bytes of keys and values, and [`KEY_COST_BYTES`] for each key.
pub(super) const SLICE_BYTES: usize = 2 * 1024 * 1024;
/// What finding an entry costs, in bytes that could have been examined meanwhile.
const KEY_COST_BYTES: usize = 64;

/// Appends a text to a buffer, folded: texts that a search takes for the same are the same when they are folded. The tables of
/// Unicode are not here, for they would outweigh the page.
pub type Fold = fn(&str, &mut String);

/// Folds the letters A to Z.
pub fn fold_ascii(text: &str, folded: &mut String) {
    let start = folded.len();
    folded.push_str(text);
    folded[start..].make_ascii_lowercase();
}

/// A search, under way or done.
#[derive(Clone, Debug)]
pub(super) struct Search {
    fold: Fold,
    /// What is looked for, folded; never empty.
    text: String,
    found: Sorted<Key>,
    rest: Rest,
    buffer: String,
}

/// What is yet to be examined.
#[derive(Clone, Debug)]
enum Rest {
    Nothing,
    /// All keys from a position on that are greater than this one.
    All {
        after: Option<Key>,
    },
    /// Those of a search for a part of the text.
    Found {
        keys: Sorted<Key>,
        after: Option<Key>,
    },
}

impl Search {
    /// Looks for a text, among what the last search has found if that was for a part of it; none for an empty text.
    pub(super) fn begin(text: &str, fold: Fold, last: Option<Self>) -> Option<Self> {
        let mut folded = String::new();
        fold(text, &mut folded);
        let last = last.filter(|last| last.is_done() && folded.starts_with(&last.text));
        let rest = last.map_or(Rest::All { after: None }, |last| Rest::Found { keys: last.found, after: None });
        let (found, buffer) = (Sorted::default(), String::new());
        (!folded.is_empty()).then_some(Self { fold, text: folded, found, rest, buffer })
    }

    /// Looks once more among all keys, which are others now.
    pub(super) fn start_over(&mut self) {
        (self.found, self.rest) = (Sorted::default(), Rest::All { after: None });
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    pub(super) fn found(&self) -> &Sorted<Key> {
        &self.found
    }

    /// Examines keys until so many bytes are examined, or none is left.
    pub(super) fn step<'a>(
        &mut self,
        all: &Sorted<Key>,
        value: impl Fn(&Key) -> Option<&'a str>,
        mut budget_bytes: usize,
    ) {
        let rest = std::mem::replace(&mut self.rest, Rest::Nothing);
        let (keys, after) = match &rest {
            Rest::Nothing => return,
            Rest::All { after } => (all, after),
            Rest::Found { keys, after } => (keys, after),
        };
        let start = after.as_ref().map_or(0, |after| keys.position_after(after));
        let mut last = None;
        for key in keys.range(start..usize::MAX) {
            if budget_bytes == 0 {
                break;
            }
            let value = value(key).unwrap_or_default();
            budget_bytes = budget_bytes.saturating_sub(KEY_COST_BYTES + key.as_str().len() + value.len());
            if self.finds(key, value) {
                self.found.push(key.clone());
            }
            last = Some(key);
        }
        let is_over = last.map_or(start, |last| keys.position_after(last)) == keys.len();
        let after = last.cloned();
        self.rest = match rest {
            _ if is_over => Rest::Nothing,
            Rest::Found { keys, .. } => Rest::Found { keys, after },
            Rest::All { .. } | Rest::Nothing => Rest::All { after },
        };
    }

    /// A key has this value now, or none.
    pub(super) fn update(&mut self, key: &Key, value: Option<&str>) {
        let after = match &mut self.rest {
            Rest::Nothing => None,
            Rest::All { after } => Some(after),
            Rest::Found { keys, after } => {
                // It may be found now where a part of the text was not.
                match value {
                    Some(_) => keys.insert(key.clone()),
                    None => keys.remove(key),
                }
                Some(after)
            }
        };
        let is_yet_to_come = after.is_some_and(|after| after.as_ref().is_none_or(|after| after < key));
        if is_yet_to_come {
            return;
        }
        if value.is_some_and(|value| self.finds(key, value)) {
            self.found.insert(key.clone());
        } else {
            self.found.remove(key);
        }
    }

    fn finds(&mut self, key: &Key, value: &str) -> bool {
        self.is_in(key.as_str()) || self.is_in(value)
    }

    /// Bytes that look alike in UTF-8 are alike: no character begins in the middle of another.
    fn is_in(&mut self, text: &str) -> bool {
        self.buffer.clear();
        (self.fold)(text, &mut self.buffer);
        self.buffer.as_bytes().windows(self.text.len()).any(|part| part == self.text.as_bytes())
    }
}
