//! Format 2: each row has a checksum, but for the format itself. An entry that was recovered says where it was confirmed; of those in
//! format 1 nobody knows that any more, so they count as others do. The counters of a dictionary have the bytes of its entries and
//! conflict rows, of its live entries, and of its versions. Versions are in the order in which they became some; of those in format 1 nobody knows that.
//!
//! Authors belong to a dictionary, with numbers in the order of their ids. Nobody knows when they wrote first, so they have places
//! before all others, at seq 0.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use keybook_core::{Author, AuthorId, AuthorName, Contributor, Digest, Seq, limits::AUTHORS_MAX};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::disk::{StoreError, sealed::seal, tables::Corrupt};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// By the number of the dictionary.
type Bytes = HashMap<Vec<u8>, u64>;

/// The tables whose rows change little.
const TABLES: [&str; 8] = ["meta", "dictionaries", "states", "writes", "entries", "by_seq", "conflicts", "authors"];
/// Where format 1 says of an entry whether it was recovered, and format 2 how many epochs its branch has.
const RECOVERED_AT: usize = 34;
/// Where format 1 says of an entry how many versions it has.
const VERSIONS_AT: usize = 35;
/// Where format 1 has the value of an entry; a tombstone ends there.
const VALUE_AT: usize = 36;
/// A terminator and a stamp end the key of a version.
const STAMP_BYTES: usize = 16;
/// Of a key that has so many, others may have left.
const VERSIONS_MAX: usize = 100;
/// Bytes of a row's key and value, in format 1, that belong neither to the key nor to the value of an entry or of a conflict, and what
/// format 2 counts for them.
const AROUND: [(&str, usize, u64); 2] = [("entries", 4 + 36, 32), ("conflicts", 4 + 17 + 59, 128)];
/// Likewise, of a version.
const AROUND_VERSION: (usize, u64) = (4 + 17 + 8, 128);
/// Rows that are held in memory at a time.
const ROWS: usize = 1000;

pub(super) fn migrate(transaction: &WriteTransaction, _: u64) -> Result<(), StoreError> {
    let authors = number_authors(transaction)?;
    let ((bytes, live_bytes), version_bytes) = (bytes(transaction)?, migrate_versions(transaction)?);
    for name in TABLES {
        let mut table = transaction.open_table(Table::new(name))?;
        let mut last: Option<Vec<u8>> = None;
        loop {
            let after = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = table.range::<&[u8]>((after, Bound::Unbounded))?.take(ROWS).map(|row| {
                let (key, row) = row?;
                let mut row = row.value().to_vec();
                if name == "entries"
                    && let Some(recovered) = row.get_mut(RECOVERED_AT)
                {
                    *recovered = 0;
                    row.drain(VERSIONS_AT..row.len().min(VERSIONS_AT + 1));
                }
                if name == "states" {
                    for bytes in [&bytes, &live_bytes, &version_bytes] {
                        row.extend(bytes.get(key.value()).copied().unwrap_or(0).to_be_bytes());
                    }
                    row.extend(authors.get(key.value()).copied().unwrap_or(0).to_be_bytes());
                }
                Ok((key.value().to_vec(), seal(name, key.value(), &row)))
            });
            let rows: Vec<_> = next.collect::<Result<_, StoreError>>()?;
            let Some((key, _)) = rows.last() else { break };
            last = Some(key.clone());
            for (key, sealed) in rows.iter().filter(|(key, _)| (name, &key[..]) != ("meta", b"format")) {
                table.insert(&key[..], &sealed[..])?;
            }
        }
    }
    Ok(())
}

/// The bytes of all entries and conflict rows, and those of the live entries, by the number of the dictionary.
fn bytes(transaction: &WriteTransaction) -> Result<(Bytes, Bytes), StoreError> {
    let (mut bytes, mut live_bytes) = (Bytes::new(), Bytes::new());
    for (name, around, counted) in AROUND {
        for row in transaction.open_table(Table::new(name))?.range::<&[u8]>(..)? {
            let (key, row) = row?;
            let number = key.value().get(..4).unwrap_or_default().to_vec();
            let content = (key.value().len() + row.value().len()).saturating_sub(around);
            let counted = content as u64 + counted;
            if name == "entries" && row.value().len() > VALUE_AT {
                *live_bytes.entry(number.clone()).or_default() += counted;
            }
            *bytes.entry(number).or_default() += counted;
        }
    }
    Ok((bytes, live_bytes))
}

/// Exchanges the table of versions for two: what each key has, and the values. Returns their bytes by the number of the dictionary.
fn migrate_versions(transaction: &WriteTransaction) -> Result<Bytes, StoreError> {
    let mut bytes = Bytes::new();
    {
        let old = transaction.open_table(Table::new("versions"))?;
        let mut moved = transaction.open_table(Table::new("moved"))?;
        let states = transaction.open_table(Table::new("states"))?;
        let mut histories = transaction.open_table(Table::new("histories"))?;
        let (around, counted) = AROUND_VERSION;
        let mut of_key: (Vec<u8>, Vec<u8>) = Default::default();
        let mut keep = |(key, stamps): (Vec<u8>, Vec<u8>)| -> Result<(), StoreError> {
            if stamps.is_empty() {
                return Ok(());
            }
            // From when on the history is complete: the head, or the beginning.
            let has_all = stamps.len() / (8 + STAMP_BYTES) < VERSIONS_MAX;
            let head = states.get(&key[..4])?.and_then(|row| row.value().first_chunk().copied()).unwrap_or([0; 8]);
            let row = [if has_all { [0; 8] } else { head }.to_vec(), stamps].concat();
            histories.insert(&key[..], &seal("histories", &key, &row)[..])?;
            Ok(())
        };
        for row in old.range::<&[u8]>(..)? {
            let (name, row) = row?;
            let (name, row) = (name.value(), row.value());
            let Some((key, stamp)) = name.split_at_checked(name.len().saturating_sub(STAMP_BYTES)) else { continue };
            let (Some((number, text)), Some((author, value))) = (key.split_at_checked(4), row.split_at_checked(8))
            else {
                continue;
            };
            *bytes.entry(number.to_vec()).or_default() +=
                (name.len() + row.len()).saturating_sub(around) as u64 + counted;
            let key = key.strip_suffix(&[0]).unwrap_or(key);
            if of_key.0 != key {
                keep(std::mem::replace(&mut of_key, (key.to_vec(), Vec::new())))?;
            }
            of_key.1.extend([&[0; 8], stamp].concat());
            let name = [number, &[0; 8], text, stamp].concat();
            let row = [&[0; 8], &[0][..], author, value].concat();
            moved.insert(&name[..], &seal("versions", &name, &row)[..])?;
        }
        keep(of_key)?;
    }
    transaction.delete_table(Table::new("versions"))?;
    transaction.rename_table(Table::new("moved"), Table::new("versions"))?;
    Ok(bytes)
}

/// Where the rows of each table have ids of authors, behind the beginning.
const AUTHORS_AT: [(&str, &[usize]); 3] = [("entries", &[26]), ("versions", &[0]), ("conflicts", &[27, 51])];
/// Where a row of `states` has the digest.
const DIGEST_AT: usize = 24;

/// Gives each dictionary its authors. Returns how many it has, by its number.
fn number_authors(transaction: &WriteTransaction) -> Result<HashMap<Vec<u8>, u16>, StoreError> {
    let mut counts = HashMap::new();
    let mut authors = transaction.open_table(Table::new("authors"))?;
    let mut names: BTreeMap<[u8; 8], String> = BTreeMap::new();
    for row in authors.range::<&[u8]>(..)? {
        let (id, name) = row?;
        names.insert(field(id.value(), 0)?, String::from_utf8_lossy(name.value()).into_owned());
    }
    for id in names.keys() {
        authors.remove(&id[..])?;
    }
    let mut of_dictionary: BTreeMap<[u8; 4], BTreeSet<[u8; 8]>> = BTreeMap::new();
    for (table, places) in AUTHORS_AT {
        for row in transaction.open_table(Table::new(table))?.range::<&[u8]>(..)? {
            let (key, row) = row?;
            let ids = of_dictionary.entry(field(key.value(), 0)?).or_default();
            for &at in places {
                ids.insert(field(row.value(), at)?);
            }
        }
    }
    let mut states = transaction.open_table(Table::new("states"))?;
    let mut by_seq = transaction.open_table(Table::new("by_seq"))?;
    for (dictionary, ids) in of_dictionary {
        let state = states.get(&dictionary[..])?.map(|row| row.value().to_vec());
        let mut state = state.ok_or(Corrupt { table: "states" })?;
        let mut digest = Digest::from_bytes(field(&state, DIGEST_AT)?);
        let (ids, mut count) = (ids.into_iter().filter(|id| u64::from_be_bytes(*id) != 0), 0_u16);
        for (number, id) in (1..=AUTHORS_MAX).zip(ids) {
            let name = names.get(&id).map(|name| AuthorName::new(name));
            let id = AuthorId(u64::from_be_bytes(id));
            let name = name.unwrap_or_else(|| AuthorName::generated(id));
            let place = [&[0; 8][..], &(number - 1).to_be_bytes()].concat();
            let (id_bytes, text) = (id.0.to_be_bytes(), name.as_str().as_bytes());
            let row = [&number.to_be_bytes()[..], &place, &place, text].concat();
            authors.insert(&[&dictionary[..], &id_bytes].concat()[..], &row[..])?;
            by_seq.insert(&[&dictionary[..], &place].concat()[..], &[&[2][..], &id_bytes].concat()[..])?;
            digest.add_author(&Contributor {
                number,
                author: Author { id, name: name.clone() },
                made: Seq(0),
                seq: Seq(0),
            });
            count = number;
        }
        state[DIGEST_AT..DIGEST_AT + 16].copy_from_slice(&digest.to_bytes());
        states.insert(&dictionary[..], &state[..])?;
        counts.insert(dictionary.to_vec(), count);
    }
    Ok(counts)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], StoreError> {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    Ok(*field.ok_or(Corrupt { table: "meta" })?)
}
