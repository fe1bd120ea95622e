//! Format 2: each row has a checksum, but for the format itself. An entry that was recovered says where it was confirmed; of those in
//! format 1 nobody knows that any more, so they count as others do. The counters of a dictionary have the bytes of its entries and
//! conflict rows.

use std::{collections::HashMap, ops::Bound};

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::disk::{StoreError, sealed::seal};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const TABLES: [&str; 9] =
    ["meta", "dictionaries", "states", "writes", "entries", "by_seq", "versions", "conflicts", "authors"];
/// Where format 1 says of an entry whether it was recovered, and format 2 how many epochs its branch has.
const RECOVERED_AT: usize = 34;
/// Bytes of a row's key and value, in format 1, that belong neither to the key nor to the value of an entry or of a conflict, and what
/// format 2 counts for them.
const AROUND: [(&str, usize, u64); 2] = [("entries", 4 + 36, 32), ("conflicts", 4 + 17 + 59, 128)];
/// Rows that are held in memory at a time.
const ROWS: usize = 1000;

pub(super) fn migrate(transaction: &WriteTransaction, _: u64) -> Result<(), StoreError> {
    let bytes = bytes(transaction)?;
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
                }
                if name == "states" {
                    row.extend(bytes.get(key.value()).copied().unwrap_or(0).to_be_bytes());
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

/// By the number of the dictionary.
fn bytes(transaction: &WriteTransaction) -> Result<HashMap<Vec<u8>, u64>, StoreError> {
    let mut bytes: HashMap<Vec<u8>, u64> = HashMap::new();
    for (name, around, counted) in AROUND {
        for row in transaction.open_table(Table::new(name))?.range::<&[u8]>(..)? {
            let (key, row) = row?;
            let number = key.value().get(..4).unwrap_or_default().to_vec();
            let content = (key.value().len() + row.value().len()).saturating_sub(around);
            *bytes.entry(number).or_default() += content as u64 + counted;
        }
    }
    Ok(bytes)
}
