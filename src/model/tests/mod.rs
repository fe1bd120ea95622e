//! Stories of a page, told to its model.
//!
//! More than 500 lines: each story is short, and all stand on one world.

mod grid;
mod world;

use keybook_core::{
    ReplicaId, Resolution, device,
    wire::{AckCode, ByeCode, ServerFrame},
};

use self::world::{Disk, START_MS, World, first_page, key};
use super::*;

const VIEWPORT: Viewport = Viewport { height: 360, row_height: 36 };

fn search(world: &mut World, text: &str) {
    world.act(Act::Search(text.to_owned()));
}

fn sync(world: &World) -> Sync {
    world.model.status().sync
}

#[test]
fn a_page_shows_its_first_entries_before_it_is_alive() {
    let model = Model::new(first_page(3, &[("a", "1"), ("b", "2")]));
    assert_eq!((model.name(), model.len(), model.now_ms()), (Some("main"), 2, None));
    assert_eq!(model.keys(), [key("a"), key("b")]);
    assert_eq!(model.row(&key("b")).unwrap().value.text, "\"2\"");
    assert_eq!((model.position(&key("aa")), model.row(&key("aa"))), (1, None));
    let status = model.status();
    assert_eq!((status.connection, status.sync, status.live), (Connection::Connecting, Sync::Saved, 2));
    assert!(model.is_here() && !model.is_away() && status.author.is_none());
}

#[test]
fn an_act_before_the_page_is_alive_does_nothing() {
    let mut model = Model::new(first_page(3, &[("a", "x")]));
    assert_eq!(model.act(Act::Remove(key("a")), START_MS), None);
    assert_eq!((model.len(), model.poll_effect(START_MS), model.poll_timeout()), (1, None, None));
}

#[test]
fn the_shell_says_nothing_of_its_dictionary_until_somebody_knows() {
    let shell = World::new(FirstPage::shell());
    assert_eq!((shell.model.name(), shell.model.is_here(), shell.model.is_away()), (Some("main"), false, false));

    let mut away = World::new(FirstPage::shell());
    away.is_online = false;
    away.open_store();
    away.frame();
    assert!(away.model.is_away());

    let mut here = World::new(FirstPage::shell());
    here.open_store();
    here.frame();
    assert!(here.model.is_here() && here.model.status().connection == Connection::Live);
}

#[test]
fn a_row_is_shown_and_saved_as_soon_as_it_is_set() {
    let mut world = World::live();
    assert_eq!(world.set("k", "v"), Some(Focus::KeyField));
    assert_eq!(world.row("k"), Some(("v".to_owned(), EntryState::Saved)));
    assert_eq!((world.rows(), world.server_has("k")), (vec!["k".to_owned()], Some("\"v\"")));
    assert_eq!(world.model.form(), &Form::default(), "the form is empty for the next");
    assert_eq!(world.model.grid().cursor(), Some(&key("k")));
    assert_eq!(sync(&world), Sync::Saved);
}

#[test]
fn edits_go_from_on_this_device_to_saved() {
    let mut world = World::live();
    world.go_offline();
    world.set("k", "v");
    assert_eq!(world.row("k").unwrap().1, EntryState::OnDevice);
    assert_eq!((sync(&world), world.model.would_lose()), (Sync::OnDevice(1), false));
    assert!(world.asked.contains(&Effect::Device(device::Effect::Persist)), "the browser is asked to keep it");
    world.go_online();
    assert_eq!(world.row("k").unwrap().1, EntryState::Saved);
    assert_eq!((sync(&world), world.server_has("k")), (Sync::Saved, Some("\"v\"")));
}

#[test]
fn edits_are_not_saved_where_nothing_keeps_them() {
    let mut world = World::live();
    world.go_offline();
    world.disk = Disk::Full;
    world.set("k", "v");
    assert_eq!((sync(&world), world.row("k").unwrap().1), (Sync::NotSaved(1), EntryState::NotSaved));
    assert_eq!(world.model.status().trouble.as_deref(), Some("the disk is full"));
    assert!(world.model.would_lose() && !world.model.is_durable());
    world.disk = Disk::Roomy;
    world.pass(10_000);
    assert_eq!((sync(&world), world.row("k").unwrap().1), (Sync::OnDevice(1), EntryState::OnDevice));

    let mut refused = World::new(first_page(0, &[]));
    refused.is_online = false;
    refused.model.handle_refused("a private window".to_owned(), START_MS);
    refused.follow();
    refused.set("k", "v");
    assert_eq!(sync(&refused), Sync::NotSaved(1));
    assert_eq!(refused.model.status().trouble.as_deref(), Some("a private window"));
}

#[test]
fn an_edit_is_being_saved_until_the_disk_has_it() {
    let mut world = World::live();
    world.go_offline();
    world.disk = Disk::Slow;
    world.set("k", "v");
    assert_eq!((sync(&world), world.row("k").unwrap().1), (Sync::Saving(1), EntryState::Saving));
    world.model.handle_kept(device::Kept::Whole);
    world.follow();
    assert!(world.frame().meets(Areas::ROWS));
    assert_eq!((sync(&world), world.row("k").unwrap().1), (Sync::OnDevice(1), EntryState::OnDevice));
}

#[test]
fn what_the_first_page_knows_is_shown_until_the_replica_has_it() {
    let mut world = World::new(first_page(1, &[("a", "x")]));
    world.frame();
    assert_eq!(world.row("a"), Some(("x".to_owned(), EntryState::Saved)));
    // A store that has read nothing knows less than the page.
    world.is_online = false;
    world.open_store();
    world.frame();
    assert_eq!(world.rows(), ["a"]);
    world.others_write("b", Some("y"), 1);
    world.go_online();
    assert_eq!(world.rows(), ["b"], "the server's word counts");
}

#[test]
fn a_value_whose_beginning_alone_is_known_is_not_edited() {
    let mut world = World::new(first_page(1, &[("a", &"x".repeat(500))]));
    world.act(Act::Edit(key("a")));
    world.act(Act::Remove(key("a")));
    assert_eq!((world.model.editor(), world.rows()), (None, vec!["a".to_owned()]));
}

#[test]
fn the_form_says_what_it_replaces_and_why_it_does_not() {
    let mut world = World::live();
    world.set("caf\u{e9}", &"v".repeat(100));
    world.act(Act::TypeKey(" cafe\u{301} ".to_owned()));
    let note = FormNote::Replaces(format!("replaces {}… by Ada", "v".repeat(80)));
    assert_eq!(world.model.form().note, note, "keys are normalized, and space around them is a slip");
    world.act(Act::TypeKey(String::new()));
    assert_eq!(world.model.form().note, FormNote::Nothing);
    assert_eq!(world.act(Act::Set), None);
    assert_eq!(world.model.form().note, FormNote::Refused("key is empty".to_owned()));
    assert_eq!(world.act(Act::EnterKey), Some(Focus::ValueField), "the value is typed next");
    world.act(Act::TypeKey("b".to_owned()));
    world.act(Act::TypeValue("2".to_owned()));
    assert_eq!(world.act(Act::EnterKey), Some(Focus::KeyField), "and then it is set");
    assert_eq!(world.server_has("b"), Some("2"));
}

/// A row that came back after a rollback has its author still, and says who has brought it.
#[test]
fn a_row_says_who_has_brought_it_back() {
    let mut world = World::new(first_page(0, &[]));
    world.go_online();
    world.bring_back("k");
    let author = |world: &World| world.model.row(&key("k")).unwrap().author;
    assert_eq!(author(&world), "Ada, brought back by Bo");
    world.others_write("k", Some("x"), 5);
    world.frame();
    assert_eq!(author(&world), "Bo");
}

#[test]
fn a_removal_can_be_undone_for_ten_seconds() {
    let mut world = World::live();
    world.set("a", "1");
    world.set("b", "2");
    assert_eq!(world.act(Act::Remove(key("a"))), Some(Focus::Grid));
    world.act(Act::Go(Step::Home));
    world.act(Act::RemoveAtCursor);
    assert_eq!((world.model.removed(), world.rows()), (&[key("a"), key("b")][..], Vec::new()));
    assert_eq!(world.act(Act::UndoRemoval), Some(Focus::Grid));
    assert_eq!((world.model.removed().len(), world.rows()), (0, vec!["a".to_owned(), "b".to_owned()]));

    world.act(Act::Remove(key("a")));
    world.pass(9_000);
    assert_eq!(world.model.removed().len(), 1);
    world.pass(1_000);
    assert_eq!(world.model.removed().len(), 0);
    world.act(Act::UndoRemoval);
    assert_eq!(world.rows(), ["b"]);
}

#[test]
fn undo_and_redo_go_where_they_write_and_say_who_was_faster() {
    let mut world = World::live();
    for n in 0..50 {
        world.set(&format!("k{n:02}"), "v");
    }
    world.model.handle_viewport(VIEWPORT);
    world.act(Act::Go(Step::Home));
    assert_eq!(world.model.status().undoable, (50, 0));
    world.act(Act::Undo);
    assert_eq!((world.rows().len(), world.model.status().undoable), (20, (49, 1)));
    world.act(Act::Redo);
    assert_eq!(world.model.grid().cursor(), Some(&key("k49")));
    assert!(world.model.grid().target().is_some(), "the grid follows");

    world.others_write("k49", Some("theirs"), 5);
    world.frame();
    world.act(Act::Undo);
    assert_eq!(world.model.refusal(), Some("Bo has changed k49 since"));
    world.act(Act::CloseRefusal);
    assert_eq!(world.model.refusal(), None);
}

#[test]
fn a_refused_edit_waits_for_its_person() {
    let mut world = World::live();
    world.set("k", "v");
    world.refusal = Some((AckCode::TooLarge, 70_000));
    world.set("k", "w");
    let held = world.model.status().held.clone();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].reason, "value is 70000 bytes, over the server's limit");
    assert_eq!(world.row("k"), Some(("v".to_owned(), EntryState::Held(held[0].reason.clone()))));
    assert_eq!(world.model.status().unsaved(), 1);
    assert_eq!(world.act(Act::EditHeld), Some(Focus::ValueField));
    assert_eq!((&*world.model.form().key, &*world.model.form().value), ("k", "w"));
    world.act(Act::DiscardHeld);
    assert_eq!((world.model.status().held.len(), world.row("k").unwrap().1), (0, EntryState::Saved));
}

/// A dictionary that was full said so, and nobody knew that removing keys does not help there, and that shorter values do here.
#[test]
fn a_full_dictionary_says_what_helps() {
    let mut world = World::live();
    let mut check = |code, reason: &str| {
        world.refusal = Some((code, 1000));
        world.set("k", "v");
        assert_eq!(world.model.status().held[0].reason, reason);
        world.act(Act::DiscardHeld);
    };
    check(
        AckCode::Full,
        "the dictionary has 1000 keys with the removed ones, its limit: only keys that it has or had can be written",
    );
    check(
        AckCode::FullBytes,
        "the dictionary takes 1000 bytes, its limit: removed entries and shorter values make room",
    );
}

#[test]
fn the_cursor_moves_and_the_grid_follows() {
    let mut world = World::live();
    for n in 0..100 {
        world.set(&format!("k{n:02}"), "v");
    }
    world.model.handle_scroll(0);
    world.model.handle_viewport(VIEWPORT);
    let mut go = |step, expected: &str| {
        world.act(Act::Go(step));
        assert_eq!(world.model.grid().cursor(), Some(&key(expected)), "{step:?}");
        assert!(world.rows().contains(&expected.to_owned()), "{step:?}");
    };
    go(Step::Home, "k00");
    go(Step::Down, "k01");
    go(Step::PageDown, "k11");
    go(Step::Up, "k10");
    go(Step::PageUp, "k00");
    go(Step::Up, "k00");
    go(Step::End, "k99");
    go(Step::Down, "k99");
    world.act(Act::Go(Step::Left));
    assert_eq!(world.model.grid().column(), 0);
    for _ in 0..9 {
        world.act(Act::Go(Step::Right));
    }
    assert_eq!(world.model.grid().column(), COLUMNS - 1);
    let target = world.model.grid().target().unwrap();
    world.model.handle_scroll(target);
    world.model.handle_scrolled();
    assert_eq!(world.model.grid().target(), None);
    world.act(Act::Point(key("k95")));
    assert_eq!(world.model.cursor_row(), Some(95));
}

#[test]
fn a_search_shows_what_it_finds_and_offers_what_it_does_not() {
    let mut world = World::live();
    for (name, value) in [("Apple", "red"), ("Banana", "yellow"), ("Cherry", "Red")] {
        world.set(name, value);
    }
    search(&mut world, "rED");
    assert_eq!(world.rows(), ["Apple", "Cherry"]);
    world.others_write("Brick", Some("red"), 1);
    world.frame();
    assert_eq!(world.rows(), ["Apple", "Brick", "Cherry"]);
    search(&mut world, "plum");
    assert!(world.model.is_empty() && world.model.status().live == 4);
    assert_eq!(world.act(Act::AddSearched), Some(Focus::ValueField));
    assert_eq!(world.model.form().key, "plum");
    search(&mut world, "");
    assert_eq!(world.rows().len(), 4);
}

#[test]
fn a_long_search_takes_several_frames() {
    let mut world = World::live();
    let value = "x".repeat(60_000);
    for n in 0..100 {
        world.set(&format!("k{n:02}"), &value);
    }
    search(&mut world, "x");
    assert!(world.model.is_searching() && world.model.wants_frame() && !world.rows().is_empty());
    let before = world.model.len();
    assert!(world.frame().meets(Areas::ROWS));
    assert!(world.model.len() > before);
    for _ in 0..10 {
        world.frame();
    }
    assert_eq!((world.model.len(), world.model.is_searching(), world.model.wants_frame()), (100, false, false));
}

/// A losing value for which there was no room was told nowhere, unless some other row was open.
#[test]
fn losing_values_without_a_row_are_told() {
    let mut world = World::live();
    let said = |world: &World| (world.model.status().conflicts_text(), world.model.status().conflicts_note());
    assert_eq!(said(&world), (None, Some("No conflict is open.".to_owned())));
    let told = |text: &str, note: Option<&str>| (Some(text.to_owned()), note.map(str::to_owned));
    world.lose("k");
    assert_eq!(said(&world), told("Conflicts 1", None));
    world.untold = 2;
    world.others_write("l", Some("1"), 1);
    world.pass(2000);
    world.frame();
    assert_eq!(said(&world), told("Conflicts 3", Some("2 more losing values are in the history of their keys.")));
    world.act(Act::Review);
    let id = world.model.comparisons()[0].conflict.clone().unwrap();
    world.act(Act::Resolve(id, Resolution::Dismissed));
    world.frame();
    assert_eq!(said(&world), told("Conflicts 2", Some("2 losing values are in the history of their keys.")));
    world.untold = 1;
    world.others_write("l", Some("2"), 1);
    world.pass(2000);
    world.frame();
    assert_eq!(said(&world), told("Conflicts 1", Some("1 losing value is in the history of its key.")));
}

#[test]
fn a_conflict_is_told_compared_and_decided() {
    let mut world = World::live();
    world.lose("k");
    let status = world.model.status();
    assert_eq!((status.conflicts, status.lost, world.model.unheard()), (1, 1, 1));
    assert!(world.model.row(&key("k")).unwrap().is_in_conflict);
    assert_eq!(world.act(Act::Review), Some(Focus::Dialog));
    assert_eq!((world.model.compared(), world.model.unheard()), (Some(Compared::Conflicts), 0));
    let comparisons = world.model.comparisons();
    let [comparison] = &comparisons[..] else { panic!("{comparisons:?}") };
    let text = |written: &Written| written.value.as_ref().unwrap().text.clone();
    assert_eq!((text(&comparison.now), text(&comparison.other)), ("theirs".to_owned(), "mine".to_owned()));
    assert!(comparison.is_own && comparison.now.by.as_ref().unwrap().name == "Bo");

    let id = comparison.conflict.clone().unwrap();
    assert_eq!(world.act(Act::Resolve(id, Resolution::Restored)), Some(Focus::Dialog));
    assert_eq!((world.model.comparisons().len(), world.row("k").unwrap().0), (0, "mine".to_owned()));
    world.act(Act::CloseComparison);
    assert_eq!(world.model.compared(), None);
    world.act(Act::Undo);
    assert_eq!(world.row("k").unwrap().0, "theirs", "a decision can be undone");
}

#[test]
fn what_others_changed_meanwhile_is_told_once() {
    let mut world = World::live();
    world.set("a", "old");
    world.set("b", "old");
    world.go_offline();
    world.pass(10 * 60_000);
    world.others_write("a", Some("new"), 1);
    world.others_write("c", Some("new"), 2);
    world.go_online();
    assert_eq!(world.model.status().changed, 2);
    world.act(Act::Review);
    let comparisons = world.model.comparisons();
    let [a, c] = &comparisons[..] else { panic!("{comparisons:?}") };
    assert_eq!((a.key.as_str(), a.other.value.as_ref().unwrap().text.as_str()), ("a", "old"));
    assert_eq!((c.key.as_str(), &c.other.value, &c.other.by), ("c", &None, &None));
    assert_ne!(a.name(), c.name());
    assert_eq!(world.act(Act::CloseNews), Some(Focus::Grid));
    assert_eq!(world.model.status().changed, 0);
}

#[test]
fn a_name_is_kept_unless_it_is_empty() {
    let mut world = World::live();
    world.act(Act::BeginRename);
    assert!(world.model.is_renaming());
    world.act(Act::Rename("  ".to_owned()));
    assert!(!world.model.is_renaming() && world.model.status().author.as_deref() == Some("Ada"));
    world.act(Act::BeginRename);
    world.act(Act::EndRename);
    world.act(Act::Rename("Eve".to_owned()));
    assert_eq!(world.model.status().author.as_deref(), Some("Eve"));
    assert!(
        world.asked.iter().any(|effect| matches!(effect, Effect::KeepAuthor(author) if author.name.as_str() == "Eve"))
    );
}

#[test]
fn forgetting_asks_once_more_if_it_would_lose_edits() {
    let mut world = World::live();
    world.act(Act::Forget);
    assert_eq!(world.asked.pop(), Some(Effect::Forget));
    world.model.handle_refused("it was forgotten here".to_owned(), world.now_ms);
    world.follow();
    world.frame();
    assert_eq!(world.model.status().trouble.as_deref(), Some("it was forgotten here"));

    let mut world = World::live();
    world.go_offline();
    world.set("k", "v");
    world.asked.clear();
    world.act(Act::Forget);
    assert!(world.model.is_forgetting() && world.asked.is_empty());
    world.act(Act::OpenDevicePanel);
    assert!(!world.model.is_forgetting() && world.asked.pop() == Some(Effect::Look));
    world.act(Act::Forget);
    world.act(Act::Forget);
    assert_eq!(world.asked.pop(), Some(Effect::Forget));
}

#[test]
fn the_panel_shows_the_room_and_exports_what_is_not_saved() {
    let mut world = World::live();
    let room = Room { used_bytes: 1, quota_bytes: 2, is_kept: true };
    world.model.handle_room(Some(room));
    assert!(world.frame().meets(Areas::SIDE) && world.model.room() == Some(room));
    world.go_offline();
    world.set("a\"b", "v");
    world.set("c", "1");
    world.act(Act::Remove(key("c")));
    world.asked.clear();
    world.act(Act::Export);
    let expected = "[\n{\"key\":\"a\\\"b\",\"value\":\"v\"},\n{\"key\":\"c\",\"remove\":true}\n]\n";
    assert_eq!(world.asked, [Effect::Export(expected.to_owned())]);
}

#[test]
fn entries_are_compared_with_the_servers_after_a_while_and_when_asked() {
    let mut world = World::live();
    world.set("k", "v");
    assert!(!world.model.status().is_verified);
    world.pass(30_000);
    assert!(world.model.status().is_verified);
    world.act(Act::Check);
    assert!(world.model.status().is_verified, "the server has answered");
    world.go_offline();
    world.go_online();
    world.pass(30_000);
    assert!(world.model.status().is_verified);
}

#[test]
fn what_the_server_says_at_the_end_stays_until_it_serves_again() {
    let mut world = World::live();
    let bye = |code, message: &str| ServerFrame::Bye { code, message: message.to_owned(), retry_after_ms: 60_000 };
    let check = |world: &mut World, code, expected: Option<&str>| {
        world.send(&bye(code, "enough"));
        assert_eq!(world.model.poll_effect(world.now_ms), Some(Effect::Disconnect));
        world.go_offline();
        assert_eq!(world.model.notice(), expected);
        world.go_online();
        assert_eq!(world.model.notice(), None);
    };
    check(&mut world, ByeCode::Shutdown, None);
    for code in [ByeCode::Failed, ByeCode::Damaged] {
        check(&mut world, code, Some("The server ended the connection: enough."));
    }
    let text = "This page and its server speak different versions: reload the page.";
    check(&mut world, ByeCode::Version, Some(text));
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut world = World::live();
    world.is_online = false;
    world.model.handle_message(&[0xff], world.now_ms);
    world.follow();
    world.frame();
    assert!(world.model.notice().unwrap().starts_with("What the server sent cannot be read"));
    world.go_online();
    assert_eq!(world.model.notice(), None);

    let left = device::Left { outbox: vec![(key("k"), vec![0xff])], steps: None };
    world.model.handle_left(ReplicaId(9), &left, world.now_ms);
    world.follow();
    world.frame();
    let notice = "What this device had kept cannot be read: the edits of 1 keys.";
    assert_eq!(world.model.notice(), Some(notice), "it stays until the page is loaded again");
}

#[test]
fn plain_http_is_explained_once() {
    let mut world = World::live();
    world.model.side.is_plain_http = true;
    assert!(world.model.is_plain_http());
    world.act(Act::AcceptPlainHttp);
    assert!(!world.model.is_plain_http() && world.asked.contains(&Effect::KeepPlainHttp));
}

#[test]
fn areas_change_with_what_they_show() {
    let mut world = World::live();
    world.pass(5_000);
    assert_eq!(world.frame(), Areas::default(), "nothing happens, nothing changes");
    world.others_write("a", Some("x"), 1);
    let areas = world.model.frame(world.now_ms);
    assert!(areas.meets(Areas::ROWS) && areas.meets(Areas::STATUS) && !areas.meets(Areas::EDITOR | Areas::SIDE));
    world.pass(5_000);
    world.model.act(Act::TypeKey("a".to_owned()), world.now_ms);
    assert_eq!(world.model.frame(world.now_ms), Areas::EDITOR);
    world.model.act(Act::BeginRename, world.now_ms);
    assert_eq!(world.model.frame(world.now_ms), Areas::SIDE);
    world.model.act(Act::Go(Step::Home), world.now_ms);
    assert_eq!(world.model.frame(world.now_ms), Areas::ROWS);
}

#[test]
fn ages_are_told_every_twenty_seconds() {
    let mut world = World::live();
    world.set("k", "v");
    world.pass(10_000);
    let before = world.model.now_ms().unwrap();
    world.pass(20_000);
    assert_eq!(world.model.now_ms(), Some(before + 20_000));
    assert!(world.model.poll_timeout().is_some_and(|at_ms| at_ms <= world.now_ms + 20_000));
}

#[test]
fn a_page_that_is_closed_by_another_tab_says_so() {
    let mut world = World::live();
    assert!(world.model.is_durable());
    world.model.handle_refused("another tab has deleted what is kept here".to_owned(), world.now_ms);
    world.follow();
    assert!(world.frame().meets(Areas::STATUS));
    assert!(!world.model.is_durable() && !world.model.would_lose());
    assert_eq!(world.model.status().trouble.as_deref(), Some("another tab has deleted what is kept here"));
}
