//! Stories of the grid: what is half typed in it, and which rows stay where.

use keybook_core::Key;

use super::{
    super::*,
    VIEWPORT,
    world::{World, key},
};

/// A live page of a hundred entries, of which ten are in sight.
fn long() -> World {
    let mut world = World::live();
    for number in 0..100 {
        world.others_write(&format!("k{number:02}"), Some("1"), number);
    }
    world.frame();
    world.model.handle_viewport(VIEWPORT);
    world
}

/// The text of the editor.
fn typed(world: &World) -> Option<&str> {
    world.model.editor().map(|(_, draft)| &*draft.text)
}

fn waiting(world: &World) -> Vec<&str> {
    world.model.waiting_drafts().into_iter().map(Key::as_str).collect()
}

#[test]
fn an_edit_in_place_is_committed_once_and_only_if_it_changes_something() {
    let mut world = World::live();
    world.set("k", "v");
    assert_eq!(world.act(Act::EditAtCursor), None);
    assert_eq!(typed(&world), Some("v"));
    assert!(world.model.is_edited(&key("k")) && world.model.overtaken().is_none());
    world.act(Act::TypeEdit("w".to_owned()));
    assert_eq!(world.act(Act::CommitEdit), Some(Focus::Grid));
    // The field that loses the focus then has nothing more to say.
    assert_eq!(world.act(Act::LeaveEdit), None);
    assert_eq!(world.server_has("k"), Some("\"w\""));

    let stamp = world.model.row(&key("k")).unwrap().stamp;
    world.act(Act::Edit(key("k")));
    world.act(Act::CommitEdit);
    assert_eq!(world.model.row(&key("k")).unwrap().stamp, stamp, "the same value is not written again");

    world.act(Act::Edit(key("k")));
    world.act(Act::TypeEdit("x".to_owned()));
    assert_eq!(world.act(Act::CancelEdit), Some(Focus::Grid));
    assert_eq!((world.model.editor(), world.server_has("k")), (None, Some("\"w\"")));
}

#[test]
fn what_is_typed_stays_when_others_write_or_it_is_refused() {
    let mut world = World::live();
    world.set("k", "v");
    world.act(Act::Edit(key("k")));
    world.act(Act::TypeEdit("mine".to_owned()));
    world.others_write("k", Some("theirs"), 5);
    world.frame();
    let overtaken = "Bo has set it to theirs meanwhile. Enter replaces that, Escape keeps it.";
    assert_eq!((world.model.overtaken().as_deref(), typed(&world)), (Some(overtaken), Some("mine")));

    world.act(Act::TypeEdit("\"open".to_owned()));
    let too_long = format!("\"{}\"", "x".repeat(2 * 1024 * 1024));
    world.act(Act::TypeEdit(too_long));
    assert_eq!(world.act(Act::CommitEdit), None);
    assert!(world.model.editor().unwrap().1.error.is_some());
    world.act(Act::TypeEdit("mine".to_owned()));
    world.act(Act::CommitEdit);
    assert_eq!(world.row("k").unwrap().0, "mine");
}

#[test]
fn a_grid_that_gets_the_focus_has_a_cursor() {
    let mut world = World::live();
    world.model.handle_focus();
    assert_eq!(world.model.cursor_row(), None, "there is no row");
    world.others_write("a", Some("x"), 1);
    world.frame();
    world.model.handle_focus();
    assert_eq!(world.model.cursor_row(), Some(0));
}

/// A click elsewhere published whatever was typed, over what others had written meanwhile.
#[test]
fn who_leaves_an_edit_writes_what_is_valid_and_not_overtaken() {
    let mut world = World::live();
    world.set("a", "1");
    world.set("b", "2");
    let edit = |world: &mut World, name: &str, text: &str| {
        world.act(Act::Edit(key(name)));
        world.act(Act::TypeEdit(text.to_owned()));
    };
    edit(&mut world, "a", "3");
    world.act(Act::LeaveEdit);
    assert_eq!((world.server_has("a"), waiting(&world)), (Some("3"), vec![]));

    let too_long = format!("\"{}\"", "x".repeat(2 * 1024 * 1024));
    edit(&mut world, "a", &too_long);
    world.act(Act::LeaveEdit);
    assert_eq!((world.server_has("a"), waiting(&world), world.model.editor()), (Some("3"), vec!["a"], None));
    assert!(world.model.would_lose(), "whoever reloads the page now is asked");

    edit(&mut world, "b", "mine");
    world.others_write("b", Some("theirs"), 5);
    world.frame();
    // Going to another row is leaving too.
    world.act(Act::ResumeDraft);
    assert_eq!((typed(&world), waiting(&world)), (Some(&*too_long), vec!["b"]));
    world.act(Act::CancelEdit);
    assert_eq!((world.server_has("b"), waiting(&world)), (Some("\"theirs\""), vec!["b"]));
    world.act(Act::ResumeDraft);
    assert_eq!(typed(&world), Some("mine"));
    world.act(Act::CommitEdit);
    assert_eq!((world.server_has("b"), waiting(&world)), (Some("\"mine\""), vec![]));
    assert!(!world.model.would_lose());

    // What was opened and not touched is no draft.
    world.act(Act::Edit(key("b")));
    world.others_write("b", Some("theirs"), 9);
    world.frame();
    world.act(Act::LeaveEdit);
    assert_eq!((world.server_has("b"), waiting(&world)), (Some("\"theirs\""), vec![]));
}

/// Half-typed text was published when its row left the screen, whatever had taken it away.
#[test]
fn an_edit_outlives_the_place_of_its_row() {
    let mut world = long();
    world.act(Act::Edit(key("k05")));
    world.act(Act::TypeEdit("half".to_owned()));
    let check = |world: &World, at: usize, len: usize, offset: i64| {
        let keys = world.model.keys();
        assert_eq!((keys.iter().position(|shown| *shown == key("k05")), keys.len()), (Some(at), len));
        assert_eq!((world.model.offset(), typed(world)), (offset, Some("half")));
        assert_eq!(world.server_has("k05"), Some("\"1\""));
    };
    check(&world, 5, 20, 0);
    // Far below: it sticks above the others, which stand where they would.
    world.model.handle_scroll(50 * 36);
    check(&world, 0, 31, 39 * 36);
    // Others insert: it is below.
    for number in 0..50 {
        world.others_write(&format!("a{number:02}"), Some("1"), 200 + number);
    }
    world.frame();
    world.model.handle_scroll(0);
    check(&world, 20, 21, 0);
    // Nothing finds it, and then it is gone: it says so.
    world.act(Act::Search("a01".to_owned()));
    world.frame();
    check(&world, 0, 2, -36);
    world.act(Act::Search(String::new()));
    world.others_write("k05", None, 500);
    world.frame();
    assert!(world.model.overtaken().unwrap().starts_with("It was removed meanwhile."));
    assert_eq!((world.model.keys()[0].as_str(), typed(&world)), ("k05", Some("half")));
    world.act(Act::LeaveEdit);
    assert_eq!((world.server_has("k05"), waiting(&world)), (None, vec!["k05"]));
    world.act(Act::ResumeDraft);
    world.model.handle_scroll(90 * 36);
    assert_eq!(world.act(Act::CommitEdit), Some(Focus::Grid));
    assert_eq!(world.server_has("k05"), Some("\"half\""));
    let row = world.model.position(&key("k05"));
    assert_eq!(
        (world.model.cursor_row(), world.model.grid().target()),
        (Some(row), Some(36 * row as u32)),
        "it is in sight"
    );
}

/// The first press in a scrolled grid gave it the focus, and that put the cursor on a row out of sight and scrolled there. What was then
/// under the pointer was another row.
#[test]
fn the_first_press_moves_no_row() {
    let mut world = long();
    world.model.handle_scroll(50 * 36 + 10);
    world.model.handle_focus();
    assert_eq!((world.model.grid().cursor(), world.model.grid().target()), (Some(&key("k51")), None));
}

/// An insert moved the rows, and a press hit another one than was under the pointer when the person decided.
#[test]
fn what_others_insert_and_remove_moves_no_row_in_sight() {
    let mut world = long();
    world.model.handle_scroll(20 * 36 + 10);
    // As the driver does, when the page has scrolled.
    let scrolled = |world: &mut World| {
        world.frame();
        let target = world.model.grid().target();
        world.model.handle_scrolled();
        target
    };
    let insert = |world: &mut World, name: &str| world.others_write(name, Some("1"), 500);
    insert(&mut world, "a1");
    insert(&mut world, "a2");
    assert_eq!(scrolled(&mut world), Some(22 * 36 + 10), "the first row in sight stays");
    world.others_write("a1", None, 600);
    assert_eq!(scrolled(&mut world), Some(21 * 36 + 10));
    insert(&mut world, "k99a");
    assert_eq!(scrolled(&mut world), None, "what comes below moves nothing");

    // What comes between the first row and that under the pointer moves the first.
    world.model.handle_pointer(Some(key("k25")));
    insert(&mut world, "k22a");
    assert_eq!(scrolled(&mut world), Some(22 * 36 + 10));
    world.model.handle_pointer(Some(key("k70")));
    insert(&mut world, "k23a");
    assert_eq!(scrolled(&mut world), None, "a row out of sight is no anchor");

    // At the beginning what is new is seen, unless somebody is there.
    world.model.handle_pointer(None);
    world.model.handle_scroll(0);
    insert(&mut world, "a0");
    assert_eq!(scrolled(&mut world), None);
    world.model.handle_pointer(Some(key("k00")));
    insert(&mut world, "a00");
    assert_eq!(scrolled(&mut world), Some(36));
}
