//! The stories of two ends that are not of one version, and of clients that do not keep to the protocol.

mod support;

use keybook_core::{
    Seq,
    client::{Event, Phase, RowState},
    limits::{Limits, PUSHES_IN_FLIGHT_MAX},
    server::{Now, Request, Session},
    wire::{AckCode, ByeCode, ClientFrame, Exception, FRAME_IGNORED_MIN, ServerFrame, Versions},
};
use support::{author, frames::push, key, pair::Group, person, secret};

const NOW_MS: u64 = 1_800_000_000_000;

/// A frame of this number, with something in it.
fn unknown_frame(number: u64) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.array(2).unwrap().u64(number).unwrap().str("news").unwrap();
    encoder.into_writer()
}

/// A session that has said Welcome.
fn greeted() -> Session {
    let mut store = support::store::Store::default();
    store.start(keybook_core::Epoch(1));
    let mut session = Session::new(Limits::default(), Now::both(NOW_MS));
    session.handle_message(&ClientFrame::hello(secret(1), person(1)).encode(), Now::both(NOW_MS));
    assert!(matches!(session.poll_request(), Some(Request::Open { .. })));
    session.handle_opened(store.opened(), Now::both(NOW_MS));
    assert!(matches!(sent(&mut session), Some(ServerFrame::Welcome { version: 1, .. })));
    session
}

fn sent(session: &mut Session) -> Option<ServerFrame> {
    session.poll_transmit().map(|bytes| ServerFrame::decode(&bytes).unwrap())
}

fn bye(session: &mut Session) -> (ByeCode, String) {
    match sent(session) {
        Some(ServerFrame::Bye { code, message, .. }) => (code, message),
        other => panic!("no Bye: {other:?}"),
    }
}

/// Each frame of a later server was the end of the connection, so no frame could ever be added.
#[test]
fn a_client_ignores_frames_that_it_does_not_know() {
    let mut group = Group::new(1, Limits::default());
    let now_ms = group.now_ms;
    for number in [7, 21, 25, 63, FRAME_IGNORED_MIN, u64::MAX] {
        group.client(0).handle_message(&unknown_frame(number), now_ms);
    }
    group.put(0, "k", "1");
    group.settle();
    assert_eq!((group.client(0).phase(), group.client(0).outbox().active()), (Phase::Following, 0));
    assert!(!group.members[0].events.iter().any(|event| matches!(event, Event::Unreadable(_))));
}

#[test]
fn a_server_ignores_frames_that_it_can_do_without() {
    let mut session = greeted();
    session.handle_message(&unknown_frame(FRAME_IGNORED_MIN), Now::both(NOW_MS));
    session.handle_message(&unknown_frame(u64::MAX), Now::both(NOW_MS));
    assert_eq!((session.is_closed(), session.poll_request()), (false, None));
    session.handle_message(&unknown_frame(FRAME_IGNORED_MIN - 1), Now::both(NOW_MS));
    assert_eq!(bye(&mut session), (ByeCode::Protocol, "unknown frame 63".to_owned()));
    // It is no Hello.
    let mut session = Session::new(Limits::default(), Now::both(NOW_MS));
    session.handle_message(&unknown_frame(FRAME_IGNORED_MIN), Now::both(NOW_MS));
    assert!(session.is_closed());
}

/// A code that a client did not know was the end of its connection, and of the next one, since the write was sent again.
#[test]
fn an_unknown_code_counts_as_its_class_says() {
    let check = |code: u32, expected: &[RowState]| {
        let mut group = Group::new(1, Limits::default());
        group.put(0, "k", "1");
        let now_ms = group.now_ms;
        let client = group.client(0);
        while client.poll_transmit().is_some() {}
        let exceptions = vec![Exception { index: 0, code: AckCode::Unknown(code), data: 5000 }];
        client.handle_message(&ServerFrame::Ack { batch: 0, seq: Seq(7), exceptions }.encode(), now_ms);
        let states: Vec<_> = client.outbox().rows(&key("k")).iter().map(|row| row.state).collect();
        assert_eq!(states, expected, "{code}");
    };
    let waits = RowState::Waiting { until_ms: NOW_MS + 5000 };
    for (code, state) in [(2, RowState::Acked(Seq(7))), (9, RowState::Acked(Seq(7))), (12, waits), (19, waits)] {
        check(code, &[state]);
    }
    for code in [99, 1000, u32::MAX] {
        check(code, &[RowState::Held { code: AckCode::Unknown(code), data: 5000 }]);
    }
}

#[test]
fn an_unknown_bye_says_when_to_come_back() {
    let mut group = Group::new(1, Limits::default());
    let now_ms = group.now_ms;
    let bye = ServerFrame::Bye { code: ByeCode::Unknown(40), message: "moving".into(), retry_after_ms: 3000 };
    let client = group.client(0);
    client.handle_message(&bye.encode(), now_ms);
    assert_eq!(client.poll_action(), Some(keybook_core::client::Action::Disconnect));
    client.handle_disconnected(now_ms, 0);
    assert_eq!(client.poll_timeout(), Some(now_ms + 3000));
}

/// Both ends speak the newest version that both know. What else a Hello of other versions says may have another form.
#[test]
fn both_ends_agree_on_a_version() {
    let versions = |oldest, newest| Versions { oldest, newest };
    let check = |ours: Versions, theirs: Versions, expected: Option<u64>| {
        assert_eq!((ours.common(theirs), theirs.common(ours)), (expected, expected));
    };
    check(versions(1, 1), versions(1, 3), Some(1));
    check(versions(1, 4), versions(2, 3), Some(3));
    check(versions(1, 2), versions(3, 4), None);
    check(versions(1, 1), versions(1, 1), Some(1));

    let hello = |oldest: u64, newest: u64| {
        let mut encoder = minicbor::Encoder::new(Vec::new());
        encoder.array(3).unwrap().u8(0).unwrap().encode(versions(oldest, newest)).unwrap().str("all is new").unwrap();
        let mut session = Session::new(Limits::default(), Now::both(NOW_MS));
        session.handle_message(encoder.writer(), Now::both(NOW_MS));
        bye(&mut session)
    };
    let expected = |text: &str| (ByeCode::Version, text.to_owned());
    assert_eq!(hello(2, 3), expected("versions are 2 to 3, here they are 1 to 1"));
    let newest = format!("versions are {0} to {0}, here they are 1 to 1", u64::MAX);
    assert_eq!(hello(u64::MAX, u64::MAX), expected(&newest));
    assert_eq!(hello(3, 2).0, ByeCode::Version);
    assert_eq!(hello(1, 3).0, ByeCode::Protocol, "it speaks version 1, and this is none of that");
}

/// A snapshot of some keys would take the place of all.
#[test]
fn a_snapshot_of_a_part_is_not_taken() {
    let mut bytes = support::frames::sample_store().snapshot();
    // Of the header's six elements, seven: the reserved prefix behind the digest.
    let mut decoder = minicbor::Decoder::new(&bytes);
    decoder.skip().unwrap();
    let end = decoder.position();
    assert_eq!(bytes[0], 0x86);
    bytes[0] = 0x87;
    bytes.splice(end..end, *b"\x65menu/");
    let error = keybook_core::wire::snapshot::Snapshot::decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("it is of a part of the dictionary"), "{error}");
}

/// A client resumed at a cursor beyond the head and was sent a Delta that ran backward, from there to the head.
#[test]
fn a_resume_beyond_the_head_is_refused() {
    let mut store = support::store::Store::default();
    store.start(keybook_core::Epoch(1));
    let mut session = greeted();
    session.handle_message(
        &ClientFrame::Resume { epoch: keybook_core::Epoch(1), cursor: Seq(9) }.encode(),
        Now::both(NOW_MS),
    );
    assert_eq!(session.poll_request(), Some(Request::CatchUp { after: Seq(9) }));
    session.handle_catch_up(&store.catch_up(Seq(9), 1000));
    assert_eq!(bye(&mut session), (ByeCode::Protocol, "the cursor of Resume is 9, the head is 0".to_owned()));
}

/// A server reads no ninth push before one of eight has its ack.
#[test]
fn so_many_pushes_are_read_as_may_be_without_an_ack() {
    let mut session = greeted();
    for number in 0..PUSHES_IN_FLIGHT_MAX {
        assert!(session.wants_frame(), "push {number}");
        session.handle_message(&push(1, 1).encode(), Now::both(NOW_MS));
        let Some(Request::Apply { command, batch, .. }) = session.poll_request() else { panic!("a push") };
        if number + 1 == PUSHES_IN_FLIGHT_MAX {
            assert!(!session.wants_frame());
            session.handle_receipt(batch, &keybook_core::server::Receipt::turned_away(&command, AckCode::Busy, 1));
            assert!(session.wants_frame());
        }
    }
    assert_eq!(session.actor().map(|actor| actor.author.id), Some(author(1).id));
}
