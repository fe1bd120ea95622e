//! Stamps: the total order in which writes win, and the hybrid logical clock that makes them.
//!
//! A stamp is 16 bytes, and comparing the bytes is comparing the stamps:
//!
//! | bits | field | why |
//! | --- | --- | --- |
//! | 48 | milliseconds since 1970, UTC | wall time, until the year 10889 |
//! | 15 | counter | orders what happens within a millisecond; overflows into the milliseconds |
//! | 1 | put | at the same time and counter a put beats a remove |
//! | 64 | replica | makes two replicas' stamps differ |
//!
//! The clock is the one of Kulkarni et al., *Logical Physical Clocks* (2014), reduced to what a last-write-wins element
//! needs: the stamps of one key rise, and those of different keys say nothing about cause and effect. It reads no clock
//! itself; wall time is an argument.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, decode, encode};

use crate::mutants::mutant;

/// A replica: one page load or one client, a random number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ReplicaId(#[n(0)] pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Hybrid time: milliseconds and a counter in one number of 63 bits, so that the successor of a time is plus one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HybridTime(u64);

impl HybridTime {
    const COUNTER_BITS: u32 = 15;
    const MAX: u64 = u64::MAX >> 1;

    /// The first time within a millisecond. Milliseconds beyond 48 bits saturate.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX >> Self::COUNTER_BITS) << Self::COUNTER_BITS)
    }

    /// The time that these parts make. Milliseconds beyond 48 bits saturate, and of the counter the low 15 bits count.
    pub fn new(millis: u64, counter: u16) -> Self {
        Self(Self::from_millis(millis).0 | u64::from(counter) & ((1 << Self::COUNTER_BITS) - 1))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// Position within the millisecond, 0 to 32767.
    pub fn counter(self) -> u16 {
        (self.0 & ((1 << Self::COUNTER_BITS) - 1)) as u16
    }

    /// One step later. The last time of all is its own successor.
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(Self::MAX))
    }

    /// Later by whole milliseconds, saturating.
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1 << Self::COUNTER_BITS)).min(Self::MAX))
    }
}

/// When and by which replica a value was written. Greater wins.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(u128);

impl Stamp {
    /// Below every stamp that a clock makes: "nothing was there".
    pub const ZERO: Stamp = Stamp(0);
    /// Above or equal to every stamp.
    pub const MAX: Stamp = Stamp(u128::MAX);

    /// The stamp that these parts make.
    pub fn new(time: HybridTime, put: bool, replica: ReplicaId) -> Self {
        Self(u128::from((time.0 << 1) | u64::from(put)) << 64 | u128::from(replica.0))
    }

    /// The hybrid time in the stamp.
    pub fn time(self) -> HybridTime {
        HybridTime((self.0 >> 65) as u64)
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.time().millis()
    }

    /// Whether the write was a put, and not a remove.
    pub fn is_put(self) -> bool {
        (self.0 >> 64) & 1 == 1
    }

    /// The replica that wrote.
    pub fn replica(self) -> ReplicaId {
        ReplicaId(self.0 as u64)
    }

    /// Big-endian, so that the order of the bytes is the order of the stamps.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Stamp::to_bytes`]; every 16 bytes are a stamp.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, kind) = (self.time(), if self.is_put() { "put" } else { "remove" });
        write!(f, "{}.{} {kind} {}", time.millis(), time.counter(), self.replica())
    }
}

impl<C> Encode<C> for Stamp {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Stamp {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes: &ByteSlice = d.decode_with(ctx)?;
        let bytes = <[u8; 16]>::try_from(&bytes[..]);
        bytes.map(Self::from_bytes).map_err(|_| decode::Error::message("a stamp has 16 bytes").at(at))
    }
}

/// A replica's clock: each stamp is above all that it made before, and above the one that its write replaces.
#[derive(Clone, Debug)]
pub struct Clock {
    replica: ReplicaId,
    last: HybridTime,
}

impl Clock {
    /// A clock that has made no stamp.
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica, last: HybridTime::default() }
    }

    /// The replica whose stamps these are.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The next stamp: at `now_ms` (the best estimate of the server's time), or one step above `replaced`, or one step
    /// above this clock's last, whichever is latest.
    pub fn stamp(&mut self, now_ms: u64, mut replaced: Stamp, put: bool) -> Stamp {
        if mutant!("a clock ignores what it replaces") {
            replaced = Stamp::ZERO;
        }
        self.last = HybridTime::from_millis(now_ms).max(replaced.time().next()).max(self.last.next());
        Stamp::new(self.last, put, self.replica)
    }

    /// Forgets the last time if it is above `admitted`, after the server has said that this clock is ahead.
    pub fn forget_above(&mut self, admitted: HybridTime) {
        if self.last > admitted {
            self.last = HybridTime::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: ReplicaId = ReplicaId(7);

    #[test]
    fn bytes_order_as_stamps() {
        let stamp = |ms, put, replica| Stamp::new(HybridTime::from_millis(ms), put, ReplicaId(replica));
        let rising = [stamp(1, false, 9), stamp(1, true, 0), stamp(1, true, 9), stamp(2, false, 0)];
        assert!(rising.is_sorted());
        assert!(rising.map(Stamp::to_bytes).is_sorted());
        assert_eq!(rising.map(|s| Stamp::from_bytes(s.to_bytes())), rising);
    }

    #[test]
    fn clock_is_monotone_while_wall_time_goes_back() {
        let mut clock = Clock::new(REPLICA);
        let first = clock.stamp(1000, Stamp::ZERO, true);
        let second = clock.stamp(10, Stamp::ZERO, false);
        assert!(second > first);
        assert_eq!(second.millis(), 1000);
        let replaced = Stamp::new(HybridTime::from_millis(5000), true, ReplicaId(1));
        assert!(clock.stamp(10, replaced, false) > replaced);
    }

    #[test]
    fn counter_overflows_into_milliseconds() {
        let mut time = HybridTime::from_millis(1);
        for _ in 0..1 << 15 {
            time = time.next();
        }
        assert_eq!((time.millis(), time.counter()), (2, 0));
        assert_eq!(HybridTime::from_millis(u64::MAX).plus_millis(u64::MAX).next(), HybridTime(HybridTime::MAX));
    }
}
