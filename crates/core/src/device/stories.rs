//! The stories of a device: a page, its local store, and the other tabs.

use std::iter;

use super::*;
use crate::{
    Authors, Conflict, DictionaryId, Epoch, Lineage, Person, Secret, Seq, Value,
    client::BaseChange,
    wire::{
        Horizon,
        snapshot::{Header, encode_all},
    },
};

const NOW_MS: u64 = 1_800_000_000_000;

fn secret(number: u64) -> Secret {
    Secret([number as u8; 16])
}

/// A page whose store is being opened.
fn opening(replica: u64, lives: WhoLives) -> Device {
    Device::new(Client::opening(secret(replica), Person::generated(secret(1)), NOW_MS), lives)
}

/// A page whose store was opened, with what it has told and asked of others.
fn opened(replica: u64, lives: WhoLives, found: Found) -> (Device, Vec<Effect>) {
    let mut device = opening(replica, lives);
    device.handle_opened(found, NOW_MS);
    let effects = effects(&mut device, NOW_MS);
    (device, effects)
}

fn opened_empty(replica: u64) -> Device {
    opened(replica, WhoLives::Locks, Found::default()).0
}

/// What a store has that knows a dictionary without entries.
fn empty_dictionary() -> Stored {
    let authors = Authors::default();
    let lineage = Lineage { past: Vec::new(), current: Epoch(1) };
    let (dictionary, seq, horizon, digest) = (DictionaryId(77), Seq(3), Horizon::default(), authors.digest());
    let header = Header { dictionary, lineage, seq, horizon, digest };
    let snapshot = encode_all(&header, &authors, iter::empty(), iter::empty::<&Conflict>());
    Stored { header: header.encode(), snapshot, ..Stored::default() }
}

fn effects(device: &mut Device, now_ms: u64) -> Vec<Effect> {
    iter::from_fn(|| device.poll_effect(now_ms)).collect()
}

fn put(device: &mut Device, name: &str, json: &str) {
    let key = Key::parse(name).unwrap();
    let began = device.client().begin(&key);
    device.client_mut().put(&key, Value::parse(json).unwrap(), began, NOW_MS).unwrap();
}

fn shown<'a>(device: &'a Device, name: &str) -> Option<&'a str> {
    device.client().get(&Key::parse(name).unwrap()).map(Value::as_str)
}

/// What is asked of a store: the keys of the outbox, whether there is a base, and whose rows are deleted.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    keys: Vec<&'a str>,
    has_base: bool,
    adopted: &'a [ReplicaId],
}

/// The one change among the effects, if there is one.
fn asked(effects: &[Effect]) -> Option<Asked<'_>> {
    let mut changes = effects.iter().filter_map(|effect| match effect {
        Effect::Keep { change, adopted } => {
            let keys = change.outbox.iter().map(|(key, _)| key.as_str()).collect();
            Some(Asked { keys, has_base: change.base.is_some(), adopted })
        }
        _ => None,
    });
    let change = changes.next();
    assert_eq!(changes.next(), None, "one change at a time");
    change
}

fn keys<'a>(keys: &[&'a str]) -> Option<Asked<'a>> {
    Some(Asked { keys: keys.to_vec(), has_base: false, adopted: &[] })
}

/// Tells another device all that is told among the effects.
fn hear(device: &mut Device, effects: &[Effect], now_ms: u64) {
    for effect in effects {
        if let Effect::Tell(message) = effect {
            device.handle_told(message, now_ms);
        }
    }
}

/// All that pages tell each other arrives, and is answered, while nothing is to be kept.
fn talk(devices: &mut [Device], now_ms: u64) {
    loop {
        let told: Vec<Vec<Effect>> = devices.iter_mut().map(|device| effects(device, now_ms)).collect();
        if told.iter().all(Vec::is_empty) {
            return;
        }
        for (from, effects) in told.iter().enumerate() {
            for (_, device) in devices.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                hear(device, effects, now_ms);
            }
        }
    }
}

/// What a page had kept of an edit when it ended.
fn left_by(replica: u64, name: &str, json: &str) -> Left {
    let mut ended = opened_empty(replica);
    put(&mut ended, name, json);
    let key = Key::parse(name).unwrap();
    let stamp = ended.client().shown(&key).unwrap().stamp;
    ended.client_mut().record(&key, stamp, crate::Stamp::ZERO, None);
    let Some(Effect::Keep { change, .. }) = ended.poll_effect(NOW_MS) else { panic!("an edit is kept") };
    let outbox = change.outbox.into_iter().filter_map(|(key, rows)| Some((key, rows?))).collect();
    Left { outbox, steps: change.steps }
}

#[test]
fn what_follows_waits_until_a_change_is_kept_and_others_are_told_only_then() {
    let (mut device, mut other) = (opened_empty(1), opened_empty(2));
    put(&mut device, "a", "1");
    let first = effects(&mut device, NOW_MS);
    assert_eq!(asked(&first), keys(&["a"]));
    assert_eq!(device.storage(), Storage::Keeping);
    put(&mut device, "b", "1");
    put(&mut device, "a", "2");
    assert_eq!(effects(&mut device, NOW_MS), []);
    hear(&mut other, &first, NOW_MS);
    assert_eq!(shown(&other, "a"), None, "it is not kept yet");

    device.handle_kept(Kept::Whole);
    let second = effects(&mut device, NOW_MS);
    hear(&mut other, &second, NOW_MS);
    assert_eq!(shown(&other, "a"), Some("1"), "as it was kept");
    assert_eq!(asked(&second), keys(&["a", "b"]));
    device.handle_kept(Kept::Whole);
    hear(&mut other, &effects(&mut device, NOW_MS), NOW_MS);
    assert_eq!((shown(&other, "a"), shown(&other, "b")), (Some("2"), Some("1")));
    assert_eq!(device.storage(), Storage::Kept);
}

/// The disk is full for 15 s. What is typed meanwhile comes after what was typed before.
#[test]
fn a_full_disk_is_tried_again_and_nothing_overtakes() {
    let (mut device, mut other) = (opened_empty(1), opened_empty(2));
    put(&mut device, "a", "1");
    let first = effects(&mut device, NOW_MS);
    device.handle_unkept("full".to_owned(), NOW_MS);
    assert_eq!(device.storage(), Storage::NotKept { reason: "full" });
    put(&mut device, "b", "1");
    assert_eq!(effects(&mut device, NOW_MS + KEEP_AGAIN_AFTER_MS - 1), []);

    let again_ms = NOW_MS + KEEP_AGAIN_AFTER_MS;
    assert!(device.poll_timeout().is_some_and(|at_ms| at_ms <= again_ms));
    device.handle_timeout(again_ms);
    assert_eq!(effects(&mut device, again_ms), first, "the same again");
    assert_eq!(device.storage(), Storage::NotKept { reason: "full" }, "as long as it is not taken");
    device.handle_unkept("full yet".to_owned(), again_ms);
    assert_eq!(effects(&mut device, again_ms + 5000), []);
    assert_eq!(device.storage(), Storage::NotKept { reason: "full yet" });

    assert_eq!(effects(&mut device, again_ms + KEEP_AGAIN_AFTER_MS), first);
    device.handle_kept(Kept::Whole);
    let last = effects(&mut device, again_ms + KEEP_AGAIN_AFTER_MS);
    assert_eq!(asked(&last), keys(&["b"]));
    hear(&mut other, &last, again_ms);
    assert_eq!((shown(&other, "a"), shown(&other, "b")), (Some("1"), None));
}

/// Half of a disk is free, which the edits need and the entries do not get.
#[test]
fn without_room_for_the_base_the_edits_are_kept_at_once() {
    let stored = empty_dictionary();
    let (mut device, _) = opened(1, WhoLives::Locks, Found { stored, ..Found::default() });
    put(&mut device, "a", "1");
    assert_eq!(asked(&effects(&mut device, NOW_MS)), keys(&["a"]));
    // The store has lost what it had, and another edit comes with the base.
    device.handle_kept(Kept::Gap);
    put(&mut device, "b", "1");
    let with_base = effects(&mut device, NOW_MS);
    assert_eq!(asked(&with_base), Some(Asked { keys: vec!["b"], has_base: true, adopted: &[] }));

    device.handle_unkept("full".to_owned(), NOW_MS);
    assert_eq!(asked(&effects(&mut device, NOW_MS)), keys(&["b"]), "at once");
    device.handle_kept(Kept::Gap);
    put(&mut device, "c", "1");
    assert_eq!(asked(&effects(&mut device, NOW_MS)), keys(&["c"]), "no base from now on");
    device.handle_kept(Kept::Whole);
    effects(&mut device, NOW_MS);
    assert_eq!(device.storage(), Storage::Kept, "all edits are");
}

#[test]
fn a_base_that_finds_no_room_holds_up_nothing() {
    let stored = empty_dictionary();
    let (mut device, _) = opened(1, WhoLives::Locks, Found { stored, ..Found::default() });
    put(&mut device, "a", "1");
    effects(&mut device, NOW_MS);
    device.handle_kept(Kept::Gap);
    let change = effects(&mut device, NOW_MS);
    assert_eq!(asked(&change), Some(Asked { keys: vec![], has_base: true, adopted: &[] }));
    let is_snapshot = |change: &BaseChange| change.snapshot.is_some() && change.deltas.is_empty();
    assert!(
        change.iter().any(
            |effect| matches!(effect, Effect::Keep { change, .. } if change.base.as_ref().is_some_and(is_snapshot))
        )
    );
    put(&mut device, "b", "1");
    device.handle_unkept("full".to_owned(), NOW_MS);
    assert_eq!(asked(&effects(&mut device, NOW_MS)), keys(&["b"]));
    assert_eq!(device.storage(), Storage::Keeping);
}

/// A browser without IndexedDB, or one whose store does not open.
#[test]
fn where_nothing_is_kept_others_are_told_at_once() {
    let (mut device, mut other) = (opening(1, WhoLives::Locks), opened_empty(2));
    put(&mut device, "a", "1");
    assert_eq!(effects(&mut device, NOW_MS), [], "nobody is told before the store is known");
    assert_eq!(device.storage(), Storage::Opening);
    device.handle_refused("no store".to_owned(), NOW_MS);
    put(&mut device, "b", "1");
    let told = effects(&mut device, NOW_MS);
    assert_eq!(asked(&told), None);
    hear(&mut other, &told, NOW_MS);
    assert_eq!((shown(&other, "a"), shown(&other, "b")), (Some("1"), Some("1")));
    // A store that opens after all was given up.
    device.handle_opened(Found { replicas: vec![ReplicaId(9)], ..Found::default() }, NOW_MS);
    assert_eq!(device.storage(), Storage::Refused { reason: "no store" });
    assert_eq!(effects(&mut device, NOW_MS), []);
}

/// Another tab deletes what is kept, while a change of this one is on its way to the disk and two edits wait behind it.
#[test]
fn a_store_that_is_closed_is_asked_for_nothing_more() {
    let (mut device, mut other) = (opened_empty(1), opened_empty(2));
    put(&mut device, "a", "1");
    effects(&mut device, NOW_MS);
    put(&mut device, "b", "1");
    device.handle_refused("deleted".to_owned(), NOW_MS);
    let told = effects(&mut device, NOW_MS);
    assert_eq!(asked(&told), None);
    hear(&mut other, &told, NOW_MS);
    assert_eq!((shown(&other, "a"), shown(&other, "b")), (Some("1"), Some("1")));
    assert_eq!(device.storage(), Storage::Refused { reason: "deleted" });
    assert!(!device.storage().is_durable());

    device.handle_refused("closed".to_owned(), NOW_MS);
    device.handle_kept(Kept::Gap);
    device.handle_unkept("it was deleted".to_owned(), NOW_MS);
    put(&mut device, "c", "1");
    assert_eq!(asked(&effects(&mut device, NOW_MS + KEEP_AGAIN_AFTER_MS)), None);
    assert_eq!(device.storage(), Storage::Refused { reason: "deleted" }, "the first reason stays");
}

#[test]
fn what_had_no_room_in_a_store_that_is_closed_is_told_too() {
    let (mut device, mut other) = (opened_empty(1), opened_empty(2));
    put(&mut device, "a", "1");
    effects(&mut device, NOW_MS);
    device.handle_unkept("full".to_owned(), NOW_MS);
    device.handle_refused("deleted".to_owned(), NOW_MS);
    hear(&mut other, &effects(&mut device, NOW_MS), NOW_MS);
    assert_eq!(shown(&other, "a"), Some("1"));
}

/// A tab was closed with an edit and a step to undo. The one that gets its lock takes both over, and says so.
#[test]
fn what_a_page_has_left_is_deleted_with_the_change_that_brings_it_in() {
    let left = left_by(9, "a", "1");
    let found = Found { replicas: vec![ReplicaId(9)], ..Found::default() };
    let (mut device, began) = opened(1, WhoLives::Locks, found);
    let mut other = opened_empty(2);
    assert!(began.contains(&Effect::Watch(ReplicaId(9))));
    device.handle_ended(ReplicaId(9), NOW_MS);
    put(&mut device, "b", "1");
    let reading = effects(&mut device, NOW_MS);
    assert_eq!(reading[0], Effect::ReadLeft(ReplicaId(9)));
    assert_eq!(asked(&reading), keys(&["b"]), "nothing is deleted before it is read");
    device.handle_left(ReplicaId(9), &left, NOW_MS);
    assert_eq!(effects(&mut device, NOW_MS), [], "one change at a time");
    device.handle_kept(Kept::Whole);
    let change = effects(&mut device, NOW_MS);
    assert_eq!(asked(&change), Some(Asked { keys: vec!["a"], has_base: false, adopted: &[ReplicaId(9)] }));
    assert_eq!(shown(&device, "a"), Some("1"));
    assert_eq!(device.client().undoable(), (1, 0));
    hear(&mut other, &reading, NOW_MS);
    hear(&mut other, &change, NOW_MS);
    assert_eq!(shown(&other, "a"), None, "it is not kept as this one's yet");

    // Without room both wait.
    device.handle_unkept("full".to_owned(), NOW_MS);
    let again = effects(&mut device, NOW_MS + KEEP_AGAIN_AFTER_MS);
    assert_eq!(asked(&again), asked(&change).map(|asked| Asked { adopted: &[ReplicaId(9)], ..asked }));
    device.handle_kept(Kept::Whole);
    hear(&mut other, &effects(&mut device, NOW_MS), NOW_MS);
    assert_eq!(shown(&other, "a"), Some("1"));
    assert_eq!(other.client().sibling_edits(), 2);
}

#[test]
fn a_page_without_a_store_leaves_alone_what_others_have_left() {
    let mut device = opened_empty(1);
    device.handle_refused("closed".to_owned(), NOW_MS);
    effects(&mut device, NOW_MS);
    device.handle_ended(ReplicaId(9), NOW_MS);
    assert_eq!(effects(&mut device, NOW_MS), []);
    // What it was reading then, it tells with the end of who had it.
    device.handle_left(ReplicaId(8), &left_by(8, "a", "1"), NOW_MS);
    let mut other = opened_empty(2);
    hear(&mut other, &effects(&mut device, NOW_MS), NOW_MS);
    assert_eq!(shown(&other, "a"), Some("1"));
}

/// Without Web Locks: three tabs, and what a fourth has left. The first does not answer.
#[test]
fn where_tabs_are_asked_the_least_of_those_that_live_takes_over() {
    let found = || Found { replicas: vec![ReplicaId(9)], ..Found::default() };
    let mut tabs: Vec<Device> = [1, 2, 3].map(|replica| opened(replica, WhoLives::Asked, found()).0).into();
    tabs.sort_by_key(|tab| tab.client().replica());
    talk(&mut tabs, NOW_MS);
    for tab in &mut tabs {
        tab.client_mut().ask_siblings();
    }
    talk(&mut tabs, NOW_MS);
    let frozen = tabs.remove(0);
    let mut now_ms = NOW_MS;
    let mut read = Vec::new();
    for _ in 0..3 {
        now_ms += ANSWER_MS_MAX;
        for (index, tab) in tabs.iter_mut().enumerate() {
            assert!(tab.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms));
            tab.handle_timeout(now_ms);
            let asked = effects(tab, now_ms);
            read.extend(asked.iter().filter_map(|effect| match effect {
                Effect::ReadLeft(replica) => Some((index, *replica)),
                _ => None,
            }));
            // The asked one answers before the other asks.
            tab.effects.extend(asked.into_iter().filter(|effect| matches!(effect, Effect::Tell(_))));
        }
        talk(&mut tabs, now_ms);
    }
    read.sort_unstable();
    let (least, first) = (0, frozen.client().replica());
    let mut left = [first, ReplicaId(9)];
    left.sort_unstable();
    assert_eq!(read, left.map(|replica| (least, replica)), "each once, and by the least that lives");
}

#[test]
fn a_tab_that_has_outlived_all_others_asks_nobody() {
    let found = Found { replicas: vec![ReplicaId(9)], ..Found::default() };
    let (mut device, _) = opened(1, WhoLives::Asked, found);
    let later_ms = NOW_MS + ANSWER_MS_MAX;
    device.handle_timeout(later_ms);
    assert!(effects(&mut device, later_ms).contains(&Effect::ReadLeft(ReplicaId(9))));
    device.handle_timeout(later_ms + ANSWER_MS_MAX);
    assert_eq!(effects(&mut device, later_ms + ANSWER_MS_MAX), []);
}

#[test]
fn with_locks_tabs_are_asked_now_and_then_and_watched_once() {
    let (mut device, mut other) = (opened_empty(1), opened_empty(2));
    device.client_mut().ask_siblings();
    hear(&mut other, &effects(&mut device, NOW_MS), NOW_MS);
    device.client_mut().ask_siblings();
    hear(&mut other, &effects(&mut device, NOW_MS), NOW_MS);
    let watched =
        effects(&mut other, NOW_MS).into_iter().filter(|effect| *effect == Effect::Watch(secret(1).replica()));
    assert_eq!(watched.count(), 1);
    let ask_ms = NOW_MS + ASK_EVERY_MS;
    for at_ms in [ask_ms - 1, ask_ms] {
        other.handle_timeout(at_ms);
        let told = effects(&mut other, at_ms);
        assert_eq!(told.len(), usize::from(at_ms == ask_ms), "{told:?}");
        assert!(told.iter().all(|effect| matches!(effect, Effect::Tell(_))), "nobody is taken over");
    }
}

#[test]
fn the_browser_is_asked_once_to_keep_what_is_there() {
    let stored = empty_dictionary();
    let (mut unedited, _) = opened(1, WhoLives::Locks, Found { stored, ..Found::default() });
    unedited.client_mut().handle_disconnected(NOW_MS, 0);
    unedited.client_mut().keep_whole();
    assert_eq!(asked(&effects(&mut unedited, NOW_MS)), Some(Asked { keys: vec![], has_base: true, adopted: &[] }));
    unedited.handle_kept(Kept::Whole);
    assert!(!effects(&mut unedited, NOW_MS).contains(&Effect::Persist), "what the server has is not worth it");
    let mut device = opened_empty(1);
    put(&mut device, "a", "1");
    effects(&mut device, NOW_MS);
    device.handle_kept(Kept::Whole);
    assert!(!effects(&mut device, NOW_MS).contains(&Effect::Persist), "the connection may come");
    device.client_mut().handle_disconnected(NOW_MS, 0);
    for (name, is_asked) in [("b", true), ("c", false)] {
        put(&mut device, name, "1");
        assert!(!effects(&mut device, NOW_MS).contains(&Effect::Persist), "an edit that is kept is worth it");
        device.handle_kept(Kept::Whole);
        assert_eq!(effects(&mut device, NOW_MS).contains(&Effect::Persist), is_asked);
    }
}

#[test]
fn a_page_hears_nothing_while_its_store_is_being_opened() {
    let (mut device, mut other) = (opening(1, WhoLives::Locks), opened_empty(2));
    put(&mut other, "a", "1");
    effects(&mut other, NOW_MS);
    other.handle_kept(Kept::Whole);
    let told = effects(&mut other, NOW_MS);
    hear(&mut device, &told, NOW_MS);
    assert_eq!(shown(&device, "a"), None);
    assert_eq!(effects(&mut device, NOW_MS), []);
    // It asks once it is open.
    device.handle_opened(Found::default(), NOW_MS);
    let mut both = [device, other];
    talk(&mut both, NOW_MS);
    assert_eq!(shown(&both[0], "a"), Some("1"));
}

/// Tests these tests: with each planted fault its story fails. The simulator catches others, see `tests/mutants.rs`.
#[cfg(keybook_mutants)]
#[test]
fn each_mutant_is_caught_by_its_story() {
    use std::panic::catch_unwind;

    type Story = fn();
    let stories: [(&str, Story); 9] = [
        ("a tab is told before it is kept", what_follows_waits_until_a_change_is_kept_and_others_are_told_only_then),
        ("what was not taken is dropped", a_full_disk_is_tried_again_and_nothing_overtakes),
        ("what was not taken is overtaken", a_full_disk_is_tried_again_and_nothing_overtakes),
        ("room for the base is tried for ever", without_room_for_the_base_the_edits_are_kept_at_once),
        ("a refused store goes on", a_store_that_is_closed_is_asked_for_nothing_more),
        ("what was under way to a closed store is told to nobody", a_store_that_is_closed_is_asked_for_nothing_more),
        ("what was left is deleted unread", what_a_page_has_left_is_deleted_with_the_change_that_brings_it_in),
        ("everybody who asks takes over", where_tabs_are_asked_the_least_of_those_that_live_takes_over),
        ("the browser is asked at each edit", the_browser_is_asked_once_to_keep_what_is_there),
    ];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<&str> = stories
        .into_iter()
        .filter(|(mutant, story)| {
            crate::mutants::turn_on(Some(mutant));
            catch_unwind(story).is_ok()
        })
        .map(|(mutant, _)| mutant)
        .collect();
    crate::mutants::turn_on(None);
    std::panic::set_hook(hook);
    assert_eq!(missed, [""; 0], "not caught");
}
