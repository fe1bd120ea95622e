//! The first entries of a dictionary, which the server renders into the document and hands to the page.
//!
//! The page shows them until its replica has read the dictionary. So the first thing that a person sees is right, without
//! a script too, and nothing flickers when the script takes over.

use keybook_core::{
    author::AuthorName,
    entry::{Entry, Seq},
    key::{DictionaryName, Key},
    lineage::Epoch,
    stamp::Stamp,
    value::Value,
};
use serde::{Deserialize, Serialize};

use super::row::{EntryState, Row, ValueText};

/// Entries in a document: more than a screen shows, few enough that the document stays small.
pub const FIRST_ROWS_MAX: usize = 100;

/// The beginning of a dictionary at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstPage {
    /// The dictionary's name.
    pub name: String,
    /// The epoch of `seq`.
    pub epoch: u64,
    /// The moment.
    pub seq: u64,
    /// How many entries the dictionary has.
    pub live: u64,
    /// The first of them in the order of their keys, at most [`FIRST_ROWS_MAX`].
    pub rows: Vec<FirstRow>,
}

/// An entry in the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstRow {
    /// The key.
    pub key: String,
    /// The value's beginning.
    pub value: ValueText,
    /// The stamp in hexadecimal.
    pub stamp: String,
    /// The name of who wrote it.
    pub author: String,
}

impl FirstPage {
    /// Of what a store holds: a cursor, a count, and the first live entries in the order of their keys.
    pub fn new(
        name: &DictionaryName,
        (epoch, seq): (Epoch, Seq),
        live: u64,
        entries: &[(Key, Entry, AuthorName)],
    ) -> Self {
        let rows = entries.iter().filter_map(|(key, entry, author)| {
            Some(FirstRow {
                key: key.as_str().to_owned(),
                value: ValueText::new(entry.value.as_ref()?),
                stamp: entry.stamp.to_string(),
                author: author.as_str().to_owned(),
            })
        });
        let rows = rows.take(FIRST_ROWS_MAX).collect();
        Self { name: name.as_str().to_owned(), epoch: epoch.0, seq: seq.0, live, rows }
    }

    /// The row of a key, if it is among the first. O(log n).
    pub fn row(&self, key: &str) -> Option<&FirstRow> {
        self.rows.binary_search_by(|row| row.key.as_str().cmp(key)).ok().map(|at| &self.rows[at])
    }
}

impl FirstRow {
    /// The row to show; none if the document was tampered with.
    pub fn to_row(&self) -> Option<Row> {
        Some(Row {
            key: Key::parse(&self.key).ok()?,
            value: self.value.clone(),
            stamp: self.stamp()?,
            author: self.author.clone(),
            state: EntryState::Saved,
        })
    }

    /// When and by which replica it was written.
    pub fn stamp(&self) -> Option<Stamp> {
        u128::from_str_radix(&self.stamp, 16).ok().map(|bits| Stamp::from_bytes(bits.to_be_bytes()))
    }

    /// The whole value; none if only its beginning is here.
    pub fn value(&self) -> Option<Value> {
        Value::from_input(&self.value.text).ok().filter(|_| self.value.is_complete)
    }
}

#[cfg(test)]
mod tests {
    use keybook_core::{
        author::AuthorId,
        stamp::{HybridTime, ReplicaId},
    };

    use super::*;

    #[test]
    fn what_the_server_renders_is_what_the_page_reads() {
        let stamp = Stamp::new(HybridTime::from_millis(1_764_000_000_000), true, ReplicaId(7));
        let entry = |value| Entry { value: Some(value), stamp, seq: Seq(3), author: AuthorId(1) };
        let (short, long) = (Value::parse("[1,2]").unwrap(), Value::from_text(&"x".repeat(1000)));
        let author = AuthorName::new("Ada");
        let entries = [
            (Key::parse("a").unwrap(), entry(short.clone()), author.clone()),
            (Key::parse("b").unwrap(), entry(long), author),
        ];
        let name = DictionaryName::parse("main").unwrap();
        let page = FirstPage::new(&name, (Epoch(5), Seq(3)), 2, &entries);

        assert_eq!(page.row("a").unwrap().to_row().unwrap().stamp, stamp);
        assert_eq!(page.row("a").unwrap().value(), Some(short));
        assert_eq!(page.row("b").unwrap().value(), None, "the beginning of a value is no value to edit");
        assert_eq!(page.row("c"), None);
    }
}
