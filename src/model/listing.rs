//! The keys that are shown, in order: all of them, or those that a search finds.
//!
//! A listing holds no values and no signals: rows are read for the visible window alone.

use std::{collections::BTreeSet, ops::Range};

use keybook_core::Key;

use super::{
    search::{Fold, Search},
    sorted::Sorted,
};

/// Sorted keys.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    fold: Fold,
    all: Sorted<Key>,
    search: Option<Search>,
}

impl Listing {
    /// A listing of sorted keys, which is searched by this folding.
    pub(super) fn new(keys: Vec<Key>, fold: Fold) -> Self {
        Self { fold, all: Sorted::new(keys), search: None }
    }

    /// Searches by this folding from now on.
    pub(super) fn set_fold(&mut self, fold: Fold) {
        self.fold = fold;
    }

    /// Takes other keys, sorted, and looks for the same text among them. O(size of the dictionary).
    pub(super) fn reset(&mut self, keys: Vec<Key>) {
        self.all = Sorted::new(keys);
        if let Some(search) = &mut self.search {
            search.start_over();
        }
    }

    /// Takes changed keys in, each with the JSON of its value, or nothing if it has none any more.
    /// Each costs what [`Sorted`] says.
    pub(super) fn update<'a>(&mut self, changed: &BTreeSet<Key>, value: impl Fn(&Key) -> Option<&'a str>) {
        for key in changed {
            let value = value(key);
            match value {
                Some(_) => self.all.insert(key.clone()),
                None => self.all.remove(key),
            }
            if let Some(search) = &mut self.search {
                search.update(key, value);
            }
        }
    }

    /// Begins to look for a text; an empty one shows all. The rest is done by [`Listing::step`].
    pub(super) fn search(&mut self, text: &str) {
        self.search = Search::begin(text, self.fold, self.search.take());
    }

    /// Goes on with the search, until so many bytes are examined. Returns whether there was one under way.
    pub(super) fn step<'a>(&mut self, value: impl Fn(&Key) -> Option<&'a str>, budget_bytes: usize) -> bool {
        let Some(search) = self.search.as_mut().filter(|search| !search.is_done()) else { return false };
        search.step(&self.all, value, budget_bytes);
        true
    }

    /// Whether a search is under way: keys that it finds may follow those that are shown.
    pub(super) fn is_searching(&self) -> bool {
        self.search.as_ref().is_some_and(|search| !search.is_done())
    }

    /// How many keys are shown.
    pub(super) fn len(&self) -> usize {
        self.shown().len()
    }

    /// How many keys there are, found or not.
    pub(super) fn total(&self) -> usize {
        self.all.len()
    }

    /// A part of the keys that are shown, cut at the end of the list.
    pub(super) fn keys(&self, range: Range<usize>) -> impl Iterator<Item = &Key> {
        self.shown().range(range)
    }

    /// Where a key is, or would be. O(log n).
    pub(super) fn position(&self, key: &Key) -> usize {
        self.shown().position(key)
    }

    fn shown(&self) -> &Sorted<Key> {
        self.search.as_ref().map_or(&self.all, Search::found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::search::fold_ascii, *};

    type Values = BTreeMap<Key, String>;

    fn key(number: usize) -> Key {
        Key::parse(&format!("Key {number:05}")).unwrap()
    }

    fn values(numbers: Range<usize>) -> Values {
        numbers.map(|n| (key(n), format!("v{n}"))).collect()
    }

    fn listing(values: &Values) -> Listing {
        Listing::new(values.keys().cloned().collect(), fold_ascii)
    }

    /// Searches to the end.
    fn finish(listing: &mut Listing, values: &Values) {
        while listing.step(|key| values.get(key).map(String::as_str), 10_000) {}
    }

    fn check(listing: &mut Listing, values: &Values, search: &str) {
        finish(listing, values);
        let found = |(key, value): &(&Key, &String)| {
            key.as_str().to_ascii_lowercase().contains(search) || value.contains(search)
        };
        let expected: Vec<&Key> = values.iter().filter(found).map(|(key, _)| key).collect();
        assert!(listing.keys(0..usize::MAX).eq(expected.iter().copied()), "{search:?}");
        assert_eq!((listing.len(), listing.total()), (expected.len(), values.len()));
        for at in [0, expected.len() / 2] {
            assert!(expected.get(at).is_none_or(|key| listing.position(key) == at), "{search:?}");
        }
    }

    #[test]
    fn few_and_many_changes_leave_what_a_new_listing_has() {
        for step in [1, 7, 500] {
            for search in ["", "7", "v1"] {
                let mut values = values(0..5000);
                let mut listing = listing(&values);
                listing.search(search);
                check(&mut listing, &values, search);

                let changed: BTreeSet<Key> = (0..10_000).step_by(step).map(key).collect();
                for (n, key) in changed.iter().enumerate() {
                    match n % 3 {
                        0 => drop(values.remove(key)),
                        _ => drop(values.insert(key.clone(), format!("v{}", n * 31 % 100))),
                    }
                }
                listing.update(&changed, |key| values.get(key).map(String::as_str));
                check(&mut listing, &values, search);
            }
        }
    }

    #[test]
    fn a_search_grows_and_shrinks() {
        let values = values(0..3000);
        let mut listing = listing(&values);
        for search in ["v", "v2", "v29", "v2", "", "nothing"] {
            listing.search(search);
            check(&mut listing, &values, search);
        }
        listing.search("kEY 00012");
        finish(&mut listing, &values);
        assert!(listing.keys(0..9).eq(&[key(12)]));
        assert_eq!((listing.position(&key(11)), listing.position(&key(13))), (0, 1));
    }

    /// What changes while a search is under way, before and behind the place where it is, is found as it is in the end.
    #[test]
    fn a_search_meets_changes() {
        for seed in 0..10 {
            let mut random = fastrand::Rng::with_seed(seed);
            let value = |n: usize| format!("v{n}");
            let mut values: Values = (0..1500).map(|n| (key(n * 2), value(n))).collect();
            let mut listing = listing(&values);
            let mut slices = 0;
            for search in ["v", "v1", "v12", "v"] {
                listing.search(search);
                while listing.is_searching() {
                    listing.step(|key| values.get(key).map(String::as_str), 10_000);
                    slices += 1;
                    let changed: BTreeSet<Key> = (0..20).map(|_| key(random.usize(0..3200))).collect();
                    for key in &changed {
                        match random.bool() {
                            true => drop(values.remove(key)),
                            false => drop(values.insert(key.clone(), value(random.usize(0..3000)))),
                        }
                    }
                    listing.update(&changed, |key| values.get(key).map(String::as_str));
                }
                check(&mut listing, &values, search);
            }
            assert!(slices > 30, "seed {seed}: {slices} slices");
        }
    }

    #[test]
    fn a_search_starts_over_among_other_keys() {
        let (few, many) = (values(0..10), values(0..3000));
        let mut listing = listing(&few);
        listing.search("v2");
        check(&mut listing, &few, "v2");
        listing.reset(many.keys().cloned().collect());
        check(&mut listing, &many, "v2");
    }
}
