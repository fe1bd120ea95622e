//! What is measured, of any subject. Preparing, checking and dropping are outside the times.

use std::{collections::BTreeMap, time::Duration};

use keybook_bench::samples::processor_time;

use crate::{
    subject::Subject,
    workload::{ENTRIES, Workload, Write},
};

/// What has a row in the report, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    SingleOperations,
    Overwrites,
    MergeThere,
    MergeBack,
    Encode,
    LoadAndRead,
    StateThere,
    SingleUpdates,
}

impl Measure {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::SingleOperations => "100 000 puts, each its own operation",
            Self::Overwrites => "100 000 overwrites",
            Self::MergeThere => "merge of replicas, 50k disjoint + 50k conflicting: there",
            Self::MergeBack => "and back",
            Self::Encode => "encode the state",
            Self::LoadAndRead => "load it and read all",
            Self::StateThere => "load the other's state and merge it",
            Self::SingleUpdates => "decode and apply 100 000 single updates",
        }
    }
}

/// What one run of a task gives: times, and sizes in bytes an entry.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) times: Vec<(Measure, Duration)>,
    pub(crate) state_bytes: Option<usize>,
    pub(crate) update_bytes: Option<usize>,
}

/// Every task, of one subject.
pub(crate) fn tasks<S: Subject>() -> [fn(&Workload) -> Outcome; 4] {
    [operations::<S>, merge::<S>, state::<S>, updates::<S>]
}

fn operations<S: Subject>(work: &Workload) -> Outcome {
    let mut replica = S::new(1);
    let (first, ()) = processor_time(|| set_all(&mut replica, &work.first));
    check(&replica, &work.first);
    let (again, ()) = processor_time(|| set_all(&mut replica, &work.again));
    check(&replica, &work.again);
    let times = vec![(Measure::SingleOperations, first), (Measure::Overwrites, again)];
    Outcome { times, ..Outcome::default() }
}

fn merge<S: Subject>(work: &Workload) -> Outcome {
    let (mut one, mut other) = (S::new(1), S::new(2));
    set_all(&mut one, &work.first);
    set_all(&mut other, &work.other);
    let (there, ()) = processor_time(|| one.merge(&mut other));
    let (back, ()) = processor_time(|| other.merge(&mut one));
    assert_eq!(entries(&one), entries(&other), "{}: the replicas converge", S::NAME);
    assert_eq!(entries(&one).len(), ENTRIES + ENTRIES / 2);
    Outcome { times: vec![(Measure::MergeThere, there), (Measure::MergeBack, back)], ..Outcome::default() }
}

fn state<S: Subject>(work: &Workload) -> Outcome {
    let mut replica = S::new(1);
    set_all(&mut replica, &work.first);
    let (encode, bytes) = processor_time(|| replica.encode());
    let (load, (loaded, read)) = processor_time(|| {
        let loaded = S::load(&bytes);
        let mut read = 0;
        loaded.read(|key, value| read += key.len() + value.len());
        (loaded, read)
    });
    assert_eq!(read, ENTRIES * (16 + 32));
    check(&loaded, &work.first);
    drop(loaded);
    let mut other = S::new(2);
    set_all(&mut other, &work.other);
    let (there, ()) = processor_time(|| other.merge(&mut S::load(&bytes)));
    assert_eq!(entries(&other).len(), ENTRIES + ENTRIES / 2);
    let times = vec![(Measure::Encode, encode), (Measure::LoadAndRead, load), (Measure::StateThere, there)];
    Outcome { times, state_bytes: Some(bytes.len()), ..Outcome::default() }
}

fn updates<S: Subject>(work: &Workload) -> Outcome {
    let writes = &work.first[..S::UPDATES];
    let mut writer = S::new(1);
    let updates: Vec<Vec<u8>> = writes.iter().map(|(key, value)| writer.set_to_update(key, value)).collect();
    let mut reader = S::new(2);
    let (apply, ()) = processor_time(|| updates.iter().for_each(|update| reader.apply(update)));
    check(&reader, writes);
    let apply = apply * (ENTRIES / S::UPDATES) as u32;
    let bytes = updates.iter().map(Vec::len).sum::<usize>() / updates.len();
    Outcome { times: vec![(Measure::SingleUpdates, apply)], update_bytes: Some(bytes), ..Outcome::default() }
}

fn set_all(replica: &mut impl Subject, writes: &[Write]) {
    writes.iter().for_each(|(key, value)| replica.set(key, value));
}

fn entries(replica: &impl Subject) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    replica.read(|key, value| _ = entries.insert(key.to_owned(), value.to_owned()));
    entries
}

fn check<S: Subject>(replica: &S, writes: &[Write]) {
    assert!(entries(replica) == writes.iter().cloned().collect(), "{}: reads what was written", S::NAME);
}
