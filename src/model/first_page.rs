//! The first entries of a dictionary, which the server renders into the document and hands to the page.
//!
//! The page shows them until its replica has read the dictionary. So the first thing that a person sees is right, without
//! a script too, and nothing flickers when the script takes over.

use std::{fmt, str::FromStr};

use keybook_core::{AuthorName, DictionaryName, Entry, Epoch, Key, Seq, Stamp, Value, cbor_array};

use super::row::{EntryState, Row, ValueText, author_text};

/// Entries in a document: more than a screen shows, few enough that the document stays small.
pub const FIRST_ROWS_MAX: usize = 100;

/// The beginning of a dictionary at one moment.
///
/// As a text it is CBOR in hexadecimal. The page reads CBOR anyway, and a reader of JSON would add a tenth to its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstPage {
    /// The dictionary's name; none in the shell.
    pub name: Option<String>,
    /// The epoch of `seq`.
    pub epoch: Epoch,
    /// The moment: the dictionary's head when it was read.
    pub seq: Seq,
    /// How many entries the dictionary has.
    pub live: u64,
    /// The first of them in the order of their keys, at most [`FIRST_ROWS_MAX`].
    pub rows: Vec<FirstRow>,
}

cbor_array!(FirstPage { name, epoch, seq, live, rows });

/// An entry in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstRow {
    /// The key.
    pub key: Key,
    /// The value's beginning.
    pub value: ValueText,
    /// When and by which replica it was written.
    pub stamp: Stamp,
    /// The name of who wrote it.
    pub author: AuthorName,
    /// The name of who has brought it back after the server had lost it.
    pub brought_back_by: Option<AuthorName>,
}

cbor_array!(FirstRow { key, value, stamp, author, brought_back_by });

/// The document holds something else than the server writes into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPageError;

impl FirstPage {
    /// Made of what a store holds: a cursor, a count, and the first entries in the order of their keys.
    pub fn new(
        name: &DictionaryName,
        (epoch, seq): (Epoch, Seq),
        live: u64,
        rows: impl IntoIterator<Item = FirstRow>,
    ) -> Self {
        let rows = rows.into_iter().take(FIRST_ROWS_MAX).collect();
        Self { name: Some(name.as_str().to_owned()), epoch, seq, live, rows }
    }

    /// What the shell carries: it is the document of no dictionary, and a device keeps it to open any of them.
    pub fn shell() -> Self {
        Self { name: None, epoch: Epoch(0), seq: Seq(0), live: 0, rows: Vec::new() }
    }

    /// Whether this is the shell's, and so says nothing of its dictionary.
    pub fn is_shell(&self) -> bool {
        self.name.is_none()
    }

    /// The row of a key, if it is among the first. O(log n).
    pub fn row(&self, key: &str) -> Option<&FirstRow> {
        self.rows.binary_search_by(|row| row.key.as_str().cmp(key)).ok().map(|at| &self.rows[at])
    }
}

impl FirstRow {
    /// Of an entry, who wrote it, and who has brought it back; none of a tombstone.
    pub fn new(key: Key, entry: &Entry, author: AuthorName, brought_back_by: Option<AuthorName>) -> Option<Self> {
        let value = ValueText::new(entry.value.as_ref()?);
        Some(Self { key, value, stamp: entry.stamp, author, brought_back_by })
    }

    /// The row to show.
    pub fn to_row(&self) -> Row {
        Row {
            key: self.key.clone(),
            value: self.value.clone(),
            stamp: self.stamp,
            author: author_text(&self.author, self.brought_back_by.as_ref()),
            state: EntryState::Saved,
            is_in_conflict: false,
        }
    }

    /// The whole value; none if only its beginning is here.
    pub fn value(&self) -> Option<Value> {
        Value::from_input(&self.value.text).ok().filter(|_| self.value.is_complete)
    }
}

impl fmt::Display for FirstPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = minicbor::to_vec(self).map_err(|_| fmt::Error)?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for FirstPage {
    type Err = FirstPageError;

    fn from_str(text: &str) -> Result<Self, FirstPageError> {
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect();
        minicbor::decode(&bytes.ok_or(FirstPageError)?).map_err(|_| FirstPageError)
    }
}

#[cfg(test)]
mod tests {
    use keybook_core::{AuthorId, HybridTime, ReplicaId};

    use super::*;

    #[test]
    fn what_the_server_renders_is_what_the_page_reads() {
        let stamp = Stamp::new(HybridTime::from_millis(1_764_000_000_000), true, ReplicaId(7));
        let entry = |value| Entry { value: Some(value), stamp, seq: Seq(3), author: AuthorId(1) };
        let (short, long) = (Value::parse("[1,2]").unwrap(), Value::from_text(&"x".repeat(1000)));
        let author = AuthorName::new("Ada");
        let row = |key, entry, by| FirstRow::new(Key::parse(key).unwrap(), entry, author.clone(), by).unwrap();
        let rows = [row("a", &entry(short.clone()), None), row("b", &entry(long), Some(AuthorName::new("Bo")))];
        let name = DictionaryName::parse("main").unwrap();
        let page = FirstPage::new(&name, (Epoch(5), Seq(3)), 2, rows);

        assert_eq!(page.to_string().parse(), Ok(page.clone()));
        assert_eq!("8".parse::<FirstPage>(), Err(FirstPageError));
        assert_eq!("80".parse::<FirstPage>(), Err(FirstPageError));
        assert_eq!(page.row("a").unwrap().to_row().stamp, stamp);
        assert_eq!(page.row("a").unwrap().value(), Some(short));
        assert_eq!(page.row("a").unwrap().to_row().author, "Ada");
        assert_eq!(page.row("b").unwrap().value(), None, "the beginning of a value is no value to edit");
        assert_eq!(page.row("b").unwrap().to_row().author, "Ada, brought back by Bo");
        assert_eq!(page.row("c"), None);
    }
}
