//! A sorted list that takes insertions in its middle.
//!
//! It is kept in chunks of at most [`CHUNK_MAX`] items, with the number of items up to the end of each. An insertion moves half a
//! chunk, and the numbers of the chunks behind it; in one vector of a million keys it moved half of 24 MB.
//!
//! The order is that of `T`: keys today; a pair of what else is sorted by and the key makes a list in that order.

use std::ops::Range;

/// Items of a chunk. So many keys are 12 KiB, which is moved as fast as the numbers of a million items' chunks.
const CHUNK_MAX: usize = 512;

/// A sorted list without duplicates.
#[derive(Clone, Debug)]
pub(super) struct Sorted<T> {
    /// None is empty.
    chunks: Vec<Vec<T>>,
    /// How many items there are up to the end of each chunk.
    ends: Vec<usize>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), ends: Vec::new() }
    }
}

impl<T: Ord + Clone> Sorted<T> {
    /// Of sorted items. O(n).
    pub(super) fn new(items: Vec<T>) -> Self {
        debug_assert!(items.is_sorted());
        let mut list = Self::default();
        for item in items {
            list.push(item);
        }
        list
    }

    pub(super) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Adds an item that is greater than all others.
    pub(super) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            // Room is left for what is inserted later.
            Some(chunk) if chunk.len() < CHUNK_MAX * 3 / 4 => chunk.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK_MAX);
                chunk.push(item);
                self.chunks.push(chunk);
                self.ends.push(self.len());
            }
        }
        if let Some(end) = self.ends.last_mut() {
            *end += 1;
        }
    }

    /// Adds an item, if it is not there. O(log n), and what the module says.
    pub(super) fn insert(&mut self, item: T) {
        let at = self.chunk_of(&item).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at) else { return self.push(item) };
        let Err(place) = chunk.binary_search(&item) else { return };
        chunk.insert(place, item);
        self.ends[at..].iter_mut().for_each(|end| *end += 1);
        if self.chunks[at].len() == CHUNK_MAX {
            let upper = self.chunks[at].split_off(CHUNK_MAX / 2);
            self.ends.insert(at, self.ends[at] - upper.len());
            self.chunks.insert(at + 1, upper);
        }
    }

    /// Takes an item out, if it is there. O(log n), and what the module says.
    pub(super) fn remove(&mut self, item: &T) {
        let at = self.chunk_of(item);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let Ok(place) = chunk.binary_search(item) else { return };
        chunk.remove(place);
        self.ends[at..].iter_mut().for_each(|end| *end -= 1);
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
            self.ends.remove(at);
        }
    }

    /// Where an item is, or would be. O(log n).
    pub(super) fn position(&self, item: &T) -> usize {
        self.place(item).unwrap_or_else(|place| place)
    }

    /// Where the first item is that is greater than this one, or would be. O(log n).
    pub(super) fn position_after(&self, item: &T) -> usize {
        self.place(item).map_or_else(|place| place, |place| place + 1)
    }

    /// Where an item is, or else would be.
    fn place(&self, item: &T) -> Result<usize, usize> {
        let at = self.chunk_of(item);
        let start = self.start(at);
        let place = self.chunks.get(at).map_or(Err(0), |chunk| chunk.binary_search(item));
        place.map(|place| start + place).map_err(|place| start + place)
    }

    /// The items of a range, cut at the end of the list. O(log n), and for each item.
    pub(super) fn range(&self, range: Range<usize>) -> impl Iterator<Item = &T> {
        let at = self.ends.partition_point(|end| *end <= range.start);
        let skipped = range.start - self.start(at).min(range.start);
        let len = range.end.saturating_sub(range.start);
        self.chunks[at..].iter().flatten().skip(skipped).take(len)
    }

    /// The chunk that holds an item, or would; the number of chunks for one that is greater than all.
    fn chunk_of(&self, item: &T) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last < item))
    }

    /// How many items there are before a chunk.
    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &Sorted<u32>, model: &[u32], seed: u64) {
        assert_eq!(list.len(), model.len(), "seed {seed}");
        assert!(list.range(0..usize::MAX).eq(model), "seed {seed}");
        assert!(list.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() < CHUNK_MAX), "seed {seed}");
        assert_eq!(list.chunks.len(), list.ends.len(), "seed {seed}");
    }

    /// Whatever is done, it is what a plain vector would be.
    #[test]
    fn it_is_what_a_vector_is() {
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut model: Vec<u32> = (0..random.u32(0..4000)).map(|n| n * 3).collect();
            let mut list = Sorted::new(model.clone());
            // Some worlds grow, some shrink to nothing, some do both in one place.
            let (growth, span) = (random.f64(), random.u32(1..15_000));
            for _ in 0..3000 {
                let item = random.u32(0..span);
                let place = model.binary_search(&item);
                assert_eq!(list.position(&item), place.unwrap_or_else(|place| place), "seed {seed}");
                if random.f64() < growth {
                    list.insert(item);
                    if let Err(place) = place {
                        model.insert(place, item);
                    }
                } else {
                    list.remove(&item);
                    if let Ok(place) = place {
                        model.remove(place);
                    }
                }
                let start = random.usize(0..=model.len() + 2);
                let end = (start + random.usize(0..80)).min(model.len());
                let expected = model.get(start..end).unwrap_or_default();
                assert!(list.range(start..start + (end - start.min(end))).eq(expected), "seed {seed}, from {start}");
            }
            check(&list, &model, seed);
            for item in model.drain(..) {
                list.remove(&item);
            }
            check(&list, &[], seed);
        }
    }

    #[test]
    fn a_range_ends_with_the_list() {
        let list = Sorted::new((0..1000).collect::<Vec<u32>>());
        assert!(list.range(990..usize::MAX).eq(&(990..1000).collect::<Vec<u32>>()));
        assert_eq!(list.range(1000..1010).count() + list.range(5000..5010).count(), 0);
        assert_eq!(Sorted::<u32>::default().range(0..9).count(), 0);
    }
}
