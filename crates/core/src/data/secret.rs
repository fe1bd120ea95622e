//! Secrets: what shows that a replica, or an author, is one's own.
//!
//! An id is a hash of a secret. Everybody sees the ids; a secret leaves its device only for the server, in Hello, which computes the id
//! and keeps nothing of it. So nobody writes as somebody else.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, decode, encode};

use crate::{Author, AuthorId, AuthorName, ReplicaId, cbor_array};

/// 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// The replica whose secret this is.
    pub fn replica(&self) -> ReplicaId {
        ReplicaId(self.hash("keybook v1 replica"))
    }

    /// The author whose secret this is.
    pub fn author(&self) -> AuthorId {
        AuthorId(self.hash("keybook v1 author"))
    }

    fn hash(&self, context: &str) -> u64 {
        let hash = blake3::derive_key(context, &self.0);
        u64::from_be_bytes(hash[..8].try_into().expect("BLAKE3 has 32 bytes"))
    }
}

/// It is in no log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<C> Encode<C> for Secret {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes: &ByteSlice = d.decode_with(ctx)?;
        let bytes = <[u8; 16]>::try_from(&bytes[..]);
        bytes.map(Self).map_err(|_| decode::Error::message("a secret has 16 bytes").at(at))
    }
}

/// An author as the server is told: who has the secret is the author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Stays.
    pub secret: Secret,
    /// May change.
    pub name: AuthorName,
}

cbor_array!(Person { secret, name });

impl Person {
    /// The author that everybody sees.
    pub fn author(&self) -> Author {
        Author { id: self.secret.author(), name: self.name.clone() }
    }

    /// Somebody who has not chosen a name.
    pub fn generated(secret: Secret) -> Self {
        Self { secret, name: AuthorName::generated(secret.author()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docs/protocol.md has it.
    #[test]
    fn ids_are_hashes_of_secrets() {
        let secret = Secret(std::array::from_fn(|n| n as u8));
        assert_eq!((secret.replica().0, secret.author().0), (0x8caa812972dc104f, 0xfc6df35d0fc42f06));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
