//! The stories of what goes wrong around a client: servers that start again and again, clocks that jump, limits that change.

mod support;

use keybook_core::{Epoch, limits::Limits};
use support::pair::Group;

fn group(clients: u64) -> Group {
    Group::new(clients, Limits::default())
}

/// A server that is started each night and written once a year: after 1024 starts no epoch was left that it shared with a page
/// that had slept meanwhile, and all that this one had waited for its user.
#[test]
fn starts_without_a_write_cost_no_history() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let mut store = group.store.clone();
    (2..1500).for_each(|epoch| store.start(Epoch(epoch)));
    group.restart(store, 1500);
    group.pass(60_000);
    for index in 0..2 {
        assert_eq!((group.shown(index, "a"), group.members[index].fetches), (Some("1"), 0));
        assert_eq!(group.client(index).outbox().iter().count(), 0);
    }
    assert_eq!(group.store.summary().lineage.past.len(), 1, "of all these one has written");
}
