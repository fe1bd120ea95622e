//! The data: what an entry is, how two of them merge, and what dates and names them. In reading order.

mod stamp;

mod author;
mod key;
mod secret;

pub(crate) mod json;
mod value;

mod entry;

mod dictionary;
mod digest;

mod branch;
mod conflict;
mod lineage;

pub use author::{Author, AuthorId, AuthorName, AuthorNumbers, Authors, Contributor, WrongNumber};
pub use branch::Branch;
pub use conflict::{Conflict, ConflictId, Conflicts, Resolution, Side, Winner};
pub use dictionary::{Dictionary, DictionaryId};
pub use digest::Digest;
pub use entry::{Entry, Rank, Seq};
pub use key::{DictionaryName, Key, KeyError, NameError};
pub use lineage::{Epoch, Lineage, PastEpoch};
pub use secret::{Person, Secret};
pub use stamp::{Clock, HybridTime, ReplicaId, Stamp};
pub use value::{Value, ValueError};
