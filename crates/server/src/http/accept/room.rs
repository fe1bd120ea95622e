//! How many connections there may be, in all and of an address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Resource, getrlimit};
use tracing::warn;

use crate::limits::OTHER_FILES_MAX;

/// Counts the connections.
#[derive(Debug)]
pub(super) struct Room {
    in_all_max: usize,
    of_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    /// Under which it counts.
    address: Option<IpAddr>,
}

/// Why there is no room.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("{0} are open, which is the limit (--max-connections)")]
    InAll(usize),
    #[error("{0} of its address are open, which is the limit (--max-connections-per-address)")]
    OfAddress(usize),
}

impl Room {
    /// Nobody is here yet. There is never more room than the process may have open files.
    pub(super) fn new(in_all_max: usize, of_address_max: usize) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let possible = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES_MAX).max(1);
        if possible < in_all_max {
            warn!("at most {possible} connections instead of {in_all_max}: the process may have {files} open files");
        }
        Self { in_all_max: in_all_max.min(possible), of_address_max, taken: Mutex::default() }
    }

    /// Takes a place for a connection from `ip`.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Full> {
        let (mut taken, address) = (self.taken(), counted(ip));
        if taken.in_all >= self.in_all_max {
            return Err(Full::InAll(taken.in_all));
        }
        if let Some(address) = address {
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= self.of_address_max {
                return Err(Full::OfAddress(*of_address));
            }
            *of_address += 1;
        }
        taken.in_all += 1;
        Ok(Place { room: self.clone(), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.in_all -= 1;
        if let Some(address) = self.address {
            let of_address = taken.by_address.get_mut(&address).expect("it was counted when it entered");
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// The address that a connection counts for. This machine has none: behind a proxy all connections come from it. Whoever has an
/// address of IPv6 has the 2^64 beside it too.
fn counted(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(ip.into()),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Some(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets connections in one after another; expects how each fares, and that nothing is left when all have gone.
    fn check(ips: &[&str], expected: &[Option<Full>]) {
        let room = Arc::new(Room::new(4, 2));
        let entered: Vec<_> = ips.iter().map(|ip| room.enter(ip.parse().unwrap())).collect();
        let refused: Vec<_> = entered.iter().map(|entered| entered.as_ref().err()).collect();
        assert_eq!(refused, expected.iter().map(Option::as_ref).collect::<Vec<_>>(), "{ips:?}");
        drop(entered);
        let taken = room.taken();
        assert_eq!((taken.in_all, taken.by_address.len()), (0, 0), "{ips:?}");
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        check(&["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"], &[None, None, Some(Full::OfAddress(2)), None]);
        check(&["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"], &[None, None, Some(Full::OfAddress(2))]);
        check(&["2001:db8::1", "2001:db8::2", "2001:db8::3"], &[None, None, Some(Full::OfAddress(2))]);
        check(&["2001:db8::1", "2001:db8::2", "2001:db8:0:1::3"], &[None, None, None]);
    }

    #[test]
    fn a_proxy_on_this_machine_is_many() {
        check(&["127.0.0.1", "127.0.0.1", "127.0.0.1", "::1", "::1"], &[None, None, None, None, Some(Full::InAll(4))]);
    }
}
