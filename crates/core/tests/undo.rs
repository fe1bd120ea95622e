//! Undo and redo: whose writes they take back, and whose they leave alone.

mod support;

use keybook_core::{
    Stamp,
    client::{Client, EditError, Stored, Undone},
    limits::Limits,
};
use support::{author, key, pair::Group, person, secret, value};

/// Writes as a page does: with what it shows before.
fn edit(group: &mut Group, index: usize, name: &str, json: Option<&str>) {
    let (key, now_ms) = (key(name), group.local_ms(index));
    let client = group.client(index);
    let shown = client.shown(&key).map(|shown| (shown.stamp, shown.value.cloned()));
    let (replaced, before) = shown.unwrap_or((Stamp::ZERO, None));
    let began = client.begin(&key);
    let stamp = match json {
        Some(json) => Some(client.put(&key, value(json), began, now_ms).unwrap()),
        None => client.remove(&key, began, now_ms).unwrap(),
    };
    client.record(&key, stamp.expect("something is written"), replaced, before);
}

fn undo(group: &mut Group, index: usize) -> Undone {
    let now_ms = group.local_ms(index);
    group.client(index).undo(None, now_ms).unwrap()
}

fn redo(group: &mut Group, index: usize) -> Undone {
    let now_ms = group.local_ms(index);
    group.client(index).redo(now_ms).unwrap()
}

fn written(name: &str) -> Undone {
    Undone::Written(key(name))
}

#[test]
fn each_step_is_taken_back_and_done_again_for_everybody() {
    for online in [true, false] {
        let mut group = Group::new(2, Limits::default());
        edit(&mut group, 1, "k", Some("0"));
        group.settle();
        if !online {
            group.disconnect();
        }
        edit(&mut group, 0, "k", Some("1"));
        edit(&mut group, 0, "k", Some("2"));
        edit(&mut group, 0, "k", None);
        edit(&mut group, 0, "l", Some("3"));
        let states = [(None, Some("3")), (None, None), (Some("2"), None), (Some("1"), None), (Some("0"), None)];
        for round in 0..3 {
            for (step, state) in states.iter().enumerate().skip(1) {
                assert_eq!(undo(&mut group, 0), written(if step == 1 { "l" } else { "k" }));
                group.settle();
                assert_eq!((group.shown(0, "k"), group.shown(0, "l")), *state, "undo, round {round}");
            }
            assert_eq!(undo(&mut group, 0), Undone::Nothing);
            for (step, state) in states.iter().enumerate().rev().skip(1) {
                assert_eq!(redo(&mut group, 0), written(if step == 0 { "l" } else { "k" }));
                group.settle();
                assert_eq!((group.shown(0, "k"), group.shown(0, "l")), *state, "redo, round {round}");
            }
            assert_eq!(redo(&mut group, 0), Undone::Nothing);
        }
        undo(&mut group, 0);
        undo(&mut group, 0);
        group.connected = true;
        group.pass(60_000);
        assert_eq!((group.shown(1, "k"), group.shown(1, "l")), (Some("2"), None));
        assert_eq!(group.client(1).conflicts().iter().count(), 0, "who undoes has seen what is undone");
    }
}

#[test]
fn what_somebody_else_has_written_since_stays() {
    let mut group = Group::new(2, Limits::default());
    edit(&mut group, 0, "a", Some("1"));
    edit(&mut group, 0, "k", Some("1"));
    group.settle();
    edit(&mut group, 1, "k", Some("2"));
    group.settle();
    assert_eq!(undo(&mut group, 0), Undone::Overtaken { key: key("k"), author: Some(author(2).id) });
    assert_eq!(group.shown(0, "k"), Some("2"));
    assert_eq!(undo(&mut group, 0), written("a"), "and is no longer in the way");
    assert_eq!(group.client(0).undoable(), (0, 1));
}

#[test]
fn a_new_write_ends_what_can_be_redone_and_a_key_can_be_named() {
    let mut group = Group::new(1, Limits::default());
    for name in ["a", "b", "c"] {
        edit(&mut group, 0, name, Some("1"));
    }
    let now_ms = group.local_ms(0);
    assert_eq!(group.client(0).undo(Some(&key("b")), now_ms), Ok(written("b")));
    assert_eq!(group.client(0).undo(Some(&key("b")), now_ms), Ok(Undone::Nothing));
    assert_eq!(["a", "b", "c"].map(|name| group.shown(0, name)), [Some("1"), None, Some("1")]);
    assert_eq!(group.client(0).undoable(), (2, 1));
    edit(&mut group, 0, "d", Some("1"));
    assert_eq!(group.client(0).undoable(), (3, 0));
}

#[test]
fn a_write_that_gets_a_new_stamp_can_be_undone() {
    let mut group = Group::new(1, Limits::default());
    edit(&mut group, 0, "k", Some("0"));
    group.settle();
    group.members[0].skew_ms = 3_600_000;
    edit(&mut group, 0, "k", Some("1"));
    let early = group.client(0).shown(&key("k")).unwrap().stamp;
    group.pass(1000);
    assert_ne!(group.client(0).shown(&key("k")).unwrap().stamp, early, "the server refused it");
    assert_eq!(undo(&mut group, 0), written("k"));
    group.settle();
    assert_eq!(group.shown(0, "k"), Some("0"));
}

#[test]
fn a_step_that_may_not_be_taken_stays() {
    let mut group = Group::new(1, Limits::default());
    edit(&mut group, 0, "k", Some("0"));
    group.settle();
    group.role = keybook_core::wire::Role::Reader;
    group.disconnect();
    group.connected = true;
    group.pass(60_000);
    let now_ms = group.local_ms(0);
    assert_eq!(group.client(0).undo(None, now_ms), Err(EditError::ReadOnly));
    assert_eq!(group.client(0).undoable(), (1, 0));
}

#[test]
fn steps_outlive_the_page_and_are_bounded() {
    let mut group = Group::new(1, Limits::default());
    let now_ms = group.local_ms(0);
    let page = || {
        let mut client = Client::opening(secret(7), person(1), now_ms);
        client.handle_stored(&Stored::default(), now_ms);
        client
    };
    group.members[0].client = page();
    group.settle();
    for n in 0..150 {
        edit(&mut group, 0, &format!("k{n}"), Some("1"));
    }
    group.settle();
    assert_eq!(undo(&mut group, 0), written("k149"));
    group.settle();
    let kept = group.client(0).take_local_change().steps.expect("they have changed");
    assert_eq!(group.client(0).take_local_change().steps, None, "once");

    group.disconnect();
    group.members[0].client = page();
    group.client(0).adopt_steps(&kept, now_ms);
    group.connected = true;
    group.settle();
    assert_eq!(group.client(0).undoable(), (99, 1));
    assert_eq!(redo(&mut group, 0), written("k149"));
    assert_eq!(undo(&mut group, 0), written("k149"));
    assert_eq!(undo(&mut group, 0), written("k148"));
    group.settle();
    assert_eq!((group.shown(0, "k148"), group.shown(0, "k147")), (None, Some("1")));
    group.client(0).adopt_steps(b"no CBOR", now_ms);
    assert_eq!(group.client(0).undoable(), (98, 2), "what cannot be read changes nothing");

    let long = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..9 {
        edit(&mut group, 0, "long", Some(&long));
        edit(&mut group, 0, "long", None);
    }
    assert!(group.client(0).undoable().0 < 20, "the values are bounded too");
}
