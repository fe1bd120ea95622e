//! The keys that are shown, in order, and those among them that a search finds.
//!
//! A listing holds no values and no signals: rows are read for the visible window alone.

use std::{collections::BTreeSet, ops::Range};

use keybook_core::Key;

/// From so many changed keys on, a pass over the whole list is cheaper than an insertion for each.
const MERGE_MIN: usize = 64;

/// Sorted keys.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    all: Vec<Key>,
    search: Search,
    /// Those that the search finds; unused while it is empty.
    found: Vec<Key>,
}

impl Listing {
    /// A listing of sorted keys.
    pub fn new(keys: Vec<Key>) -> Self {
        debug_assert!(keys.is_sorted());
        Self { all: keys, ..Self::default() }
    }

    /// Takes other keys, under the same search. `value` is the JSON of a key's value. O(size of the dictionary).
    pub fn reset<'a>(&mut self, keys: Vec<Key>, value: impl Fn(&Key) -> &'a str) {
        debug_assert!(keys.is_sorted());
        self.all = keys;
        self.found = self.search.filter(&self.all, value);
    }

    /// Takes changed keys in, each with the JSON of its value, or nothing if it has none any more.
    ///
    /// O(n) for all of them, and far less for a few.
    pub fn update<'a>(&mut self, changed: &BTreeSet<Key>, value: impl Fn(&Key) -> Option<&'a str>) {
        merge(&mut self.all, changed, |key| value(key).is_some());
        if !self.search.is_empty() {
            merge(&mut self.found, changed, |key| value(key).is_some_and(|value| self.search.finds(key, value)));
        }
    }

    /// Looks for a text in keys and values. O(size of the dictionary), or of what was found if the text has only grown.
    pub fn search<'a>(&mut self, text: &str, value: impl Fn(&Key) -> &'a str) {
        let search = Search::new(text);
        let grown = !self.search.is_empty() && search.0.starts_with(&self.search.0);
        self.found = search.filter(if grown { &self.found } else { &self.all }, value);
        self.search = search;
    }

    /// How many keys are shown.
    pub fn len(&self) -> usize {
        self.shown().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.shown().is_empty()
    }

    /// How many keys there are, found or not.
    pub fn total(&self) -> usize {
        self.all.len()
    }

    /// A part of the keys that are shown, cut at the end of the list.
    pub fn keys(&self, range: Range<usize>) -> &[Key] {
        let shown = self.shown();
        let end = range.end.min(shown.len());
        &shown[range.start.min(end)..end]
    }

    /// Where a key is, or would be. O(log n).
    pub fn position(&self, key: &Key) -> usize {
        self.shown().binary_search(key).unwrap_or_else(|place| place)
    }

    fn shown(&self) -> &Vec<Key> {
        if self.search.is_empty() { &self.all } else { &self.found }
    }
}

fn merge(keys: &mut Vec<Key>, changed: &BTreeSet<Key>, is_shown: impl Fn(&Key) -> bool) {
    if changed.len() < MERGE_MIN {
        for key in changed {
            match (keys.binary_search(key), is_shown(key)) {
                (Err(place), true) => keys.insert(place, key.clone()),
                (Ok(place), false) => drop(keys.remove(place)),
                _ => {}
            }
        }
        return;
    }
    let mut merged = Vec::with_capacity(keys.len() + changed.len());
    let mut old = std::mem::take(keys).into_iter().peekable();
    for key in changed {
        while let Some(before) = old.next_if(|old| old < key) {
            merged.push(before);
        }
        old.next_if_eq(key);
        if is_shown(key) {
            merged.push(key.clone());
        }
    }
    merged.extend(old);
    *keys = merged;
}

/// A text to look for, the letters A to Z in either case.
#[derive(Clone, Debug, Default)]
struct Search(Vec<u8>);

impl Search {
    fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().into_bytes())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn finds(&self, key: &Key, value: &str) -> bool {
        self.is_in(key.as_str()) || self.is_in(value)
    }

    /// Bytes that look alike in UTF-8 are alike: no character begins in the middle of another.
    fn is_in(&self, text: &str) -> bool {
        text.as_bytes().windows(self.0.len()).any(|part| part.eq_ignore_ascii_case(&self.0))
    }

    fn filter<'a>(&self, keys: &[Key], value: impl Fn(&Key) -> &'a str) -> Vec<Key> {
        if self.is_empty() {
            return Vec::new();
        }
        keys.iter().filter(|key| self.finds(key, value(key))).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(number: usize) -> Key {
        Key::parse(&format!("Key {number:04}")).unwrap()
    }

    fn check(listing: &Listing, values: &BTreeMap<Key, String>, search: &str) {
        let found = |(key, value): &(&Key, &String)| key.as_str().contains(search) || value.contains(search);
        let expected: Vec<Key> = values.iter().filter(found).map(|(key, _)| key.clone()).collect();
        assert_eq!(listing.keys(0..usize::MAX), expected, "{search:?}");
        assert_eq!(listing.total(), values.len());
    }

    #[test]
    fn few_and_many_changes_leave_what_a_new_listing_has() {
        for step in [1, 7, 500] {
            for search in ["", "7", "v1"] {
                let mut values: BTreeMap<Key, String> = (0..1000).map(|n| (key(n), format!("v{n}"))).collect();
                let mut listing = Listing::new(values.keys().cloned().collect());
                listing.search(search, |key| &values[key]);
                check(&listing, &values, search);

                let changed: BTreeSet<Key> = (0..2000).step_by(step).map(key).collect();
                for (n, key) in changed.iter().enumerate() {
                    match n % 3 {
                        0 => drop(values.remove(key)),
                        _ => drop(values.insert(key.clone(), format!("v{}", n * 31 % 100))),
                    }
                }
                listing.update(&changed, |key| values.get(key).map(String::as_str));
                check(&listing, &values, search);
            }
        }
    }

    #[test]
    fn a_search_grows_and_shrinks() {
        let values: BTreeMap<Key, String> = (0..300).map(|n| (key(n), format!("v{n}"))).collect();
        let mut listing = Listing::new(values.keys().cloned().collect());
        for search in ["v", "v2", "v29", "v2", "", "nothing"] {
            listing.search(search, |key| &values[key]);
            check(&listing, &values, search);
        }
        listing.search("kEY 0012", |key| &values[key]);
        assert_eq!(listing.keys(0..9), [key(12)]);
        assert_eq!((listing.position(&key(11)), listing.position(&key(13))), (0, 1));
    }
}
