//! Format 1: the first tables, and the store's id.

use redb::{TableDefinition, WriteTransaction};

use crate::disk::StoreError;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The tables by the names that they have in this format, whatever later formats make of them.
const TABLES: [&str; 9] =
    ["meta", "dictionaries", "states", "writes", "entries", "by_seq", "versions", "conflicts", "authors"];

pub(super) fn migrate(transaction: &WriteTransaction, new_id: u64) -> Result<(), StoreError> {
    for name in TABLES {
        transaction.open_table(Table::new(name))?;
    }
    transaction.open_table(Table::new("meta"))?.insert(&b"store"[..], &new_id.to_be_bytes()[..])?;
    Ok(())
}
