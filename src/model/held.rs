//! Edits that the server refused for good: they wait on this page for the person who made them.

use keybook_core::{
    Key, Stamp,
    client::{Client, EditError, RowState},
    wire::AckCode,
};

use super::row::ValueText;

/// A refused edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldEdit {
    /// The key.
    pub key: Key,
    /// The value; none for a remove.
    pub value: Option<ValueText>,
    /// Its stamp, which names it.
    pub stamp: Stamp,
    /// Why it was refused.
    pub reason: String,
}

/// The edits that wait for their user, in the order of their keys.
pub(super) fn held(client: &Client) -> Vec<HeldEdit> {
    if client.outbox().inactive() == 0 {
        return Vec::new();
    }
    let held = client.outbox().iter().filter_map(|(key, row)| {
        let reason = held_reason(row.state)?;
        Some(HeldEdit { key: key.clone(), value: row.value.as_ref().map(ValueText::new), stamp: row.stamp, reason })
    });
    held.collect()
}

/// Why an outbox row waits for its user; none if it does not.
pub(super) fn held_reason(state: RowState) -> Option<String> {
    let (code, data) = match state {
        RowState::Held { code, data } => (code, data),
        RowState::Orphaned => {
            return Some("it is of a state of this dictionary that the server no longer has".to_owned());
        }
        RowState::Queued | RowState::Sent | RowState::Acked(_) | RowState::Left(_) | RowState::Waiting { .. } => {
            return None;
        }
    };
    Some(match code {
        AckCode::Parked => "it is older than what this dictionary remembers of removed entries".to_owned(),
        AckCode::ReadOnly => "this dictionary is open for reading only".to_owned(),
        AckCode::TooLarge => format!("value is {data} bytes, over the server's limit"),
        AckCode::BadKey => format!("key is {data} bytes, and the server does not take it"),
        AckCode::Full => EditError::Full(data).to_string(),
        AckCode::FullBytes => EditError::FullBytes(data).to_string(),
        AckCode::BadValue => "the server does not take its value".to_owned(),
        AckCode::Unknown(code) => format!("the server does not take it (code {code})"),
        AckCode::Superseded
        | AckCode::Duplicate
        | AckCode::Busy
        | AckCode::ClockAhead
        | AckCode::NotAuthor
        | AckCode::ConditionFailed
        | AckCode::GroupRefused
        | AckCode::GroupTooLarge => return None,
    })
}
