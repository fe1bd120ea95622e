//! Reads a Delta in place: a load of a thousand receivers measures the server, not its own allocations.

use keybook_core::Seq;
use minicbor::{Decoder, data::Type, decode::Error};

/// The number of a Delta among the frames.
const DELTA: u64 = 17;

/// The seq that a Delta leads to, once it is the last of a catch-up, after `each` was shown its entries: key and value.
/// None for any other frame.
pub(super) fn read(frame: &[u8], mut each: impl FnMut(&str, Option<&str>)) -> Result<Option<Option<Seq>>, Error> {
    let mut decoder = Decoder::new(frame);
    let elements = list(&mut decoder)?;
    if decoder.u64()? != DELTA {
        return Ok(None);
    }
    let to = decoder.u64()?;
    decoder.skip()?;
    for _ in 0..list(&mut decoder)? {
        let fields = list(&mut decoder)?;
        if decoder.datatype()? != Type::String {
            (0..fields).try_for_each(|_| decoder.skip())?;
            continue;
        }
        let key = decoder.str()?;
        let value: Option<&str> = decoder.decode()?;
        each(key, value);
        for _ in 2..fields {
            decoder.skip()?;
        }
    }
    let more = elements > 4 && decoder.decode::<Option<bool>>()? == Some(true);
    Ok(Some((!more).then_some(Seq(to))))
}

fn list(decoder: &mut Decoder<'_>) -> Result<u64, Error> {
    decoder.array()?.ok_or_else(|| Error::message("a list without its length"))
}

#[cfg(test)]
mod tests {
    use keybook_core::{
        Author, AuthorId, AuthorName, Contributor, Key, Stamp, Value,
        wire::{Delta, ServerFrame, WireChange, WireChanges, WireEntry},
    };

    use super::*;

    #[test]
    fn it_reads_what_the_core_writes() {
        let id = AuthorId(1);
        let entry = |key: &str, value: Option<&str>| {
            let (key, value) = (Key::parse(key).unwrap(), value.map(|value| Value::parse(value).unwrap()));
            WireChange::Entry(WireEntry { key, value, stamp: Stamp::MAX, author: 1, back: None })
        };
        let author = Author { id, name: AuthorName::generated(id) };
        let author = WireChange::Author(Contributor { number: 1, author, made: Seq(7), seq: Seq(7) });
        let delta = Delta {
            to: Seq(7),
            advance: 1,
            changes: WireChanges(vec![author, entry("a", Some("\"x\"")), entry("b", None)]),
            more: None,
        };
        let check = |frame: ServerFrame, expected: Option<Option<Seq>>, keys: &[&str]| {
            let mut found = Vec::new();
            let seq =
                read(&frame.encode(), |key, value| found.push((key.to_owned(), value.map(str::to_owned)))).unwrap();
            assert_eq!(seq, expected);
            assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys);
        };
        check(ServerFrame::Delta(Delta { more: Some(true), ..delta.clone() }), Some(None), &["a", "b"]);
        check(ServerFrame::Delta(delta), Some(Some(Seq(7))), &["a", "b"]);
        check(ServerFrame::Pong { client_ms: 1, server_ms: 2 }, None, &[]);
        assert!(read(&[0x82, 17, 0x80], |_, _| ()).is_err());
    }
}
