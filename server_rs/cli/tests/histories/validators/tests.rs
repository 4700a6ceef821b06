//! Each promise has a stream that breaks it and no other.

use snakepit_proto::v1::{
    Change, ChangeKind, Changes, Heartbeat, Snapshot, Variable, WatchVariablesResponse,
    watch_variables_response::Event as Told,
};

use super::validate;
use crate::history::{End, Event, Message, Refusal, Stream, Watch};

const LAST: u64 = 6;

fn change(name: &str, revision: u64) -> Change {
    let variable = Variable { name: name.into(), revision, version: revision, ..Variable::default() };
    Change { kind: ChangeKind::Set.into(), variable: Some(variable) }
}

/// Revisions 2 to 6: an a each, and at 4 also a b.
fn log() -> Vec<Event> {
    let names = |revision| if revision == 4 { &["a", "b"][..] } else { &["a"] };
    let changes = |revision| names(revision).iter().map(|name| change(name, revision)).collect();
    (2..=LAST).map(|revision| Event { revision, changes: changes(revision) }).collect()
}

fn message(revision: u64, event: Told) -> Message {
    let message = WatchVariablesResponse { revision, event: Some(event), ..WatchVariablesResponse::default() };
    Message { at: 0, message }
}

fn told(revision: u64, names: &[&str]) -> Message {
    let changes = names.iter().map(|name| change(name, revision)).collect();
    message(revision, Told::Changes(Changes { changes }))
}

fn a(revision: u64) -> Message {
    told(revision, &["a"])
}

fn both(revision: u64) -> Message {
    told(revision, &["a", "b"])
}

fn beat(revision: u64) -> Message {
    message(revision, Told::Heartbeat(Heartbeat {}))
}

fn state(revision: u64) -> Message {
    message(revision, Told::Snapshot(Snapshot::default()))
}

fn stream(known: u64, messages: impl Into<Vec<Message>>) -> Stream {
    Stream { known, messages: messages.into(), end: End::Lost, ..Stream::default() }
}

/// The promises that a watch with these streams breaks.
fn broken(streams: impl Into<Vec<Stream>>) -> Vec<&'static str> {
    let watch = Watch { streams: streams.into(), ..Watch::default() };
    validate(&watch, &log(), LAST).into_iter().map(|violation| violation.rule).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn accepts_everything_told_once_across_interruptions() {
    let first = stream(0, [state(1), beat(1), a(2), a(3), beat(3)]);
    assert_eq!(
        broken([stream(0, []), first, stream(3, []), stream(3, [beat(3), both(4), a(5)]), stream(5, [a(6)])]),
        NONE
    );
    assert_eq!(broken([stream(0, [state(4), a(5), a(6), beat(6)])]), NONE);
    assert_eq!(broken([stream(0, [state(6)])]), NONE);
}

#[test]
fn accepts_a_filtered_watch_that_is_told_of_the_last_revision_by_a_sign_of_life() {
    let of_b = |streams| Watch { names: vec!["b".into()], streams, ..Watch::default() };
    let told_b = told(4, &["b"]);
    let whole = of_b(vec![stream(0, [state(1), beat(3), told_b.clone()]), stream(4, [beat(5), beat(6)])]);
    assert_eq!(validate(&whole, &log(), LAST), []);
    let short = of_b(vec![stream(0, [state(1), told_b])]);
    assert_eq!(validate(&short, &log(), LAST)[0].rule, "reliable");
}

#[test]
fn ordered() {
    assert_eq!(broken([stream(0, [state(1), a(2), both(4), a(3), a(5), a(6)])]), ["ordered"]);
}

#[test]
fn unique() {
    assert_eq!(broken([stream(0, [state(1), a(2), a(3), a(3), both(4), a(5), a(6)])]), ["unique"]);
    assert_eq!(broken([stream(0, [state(3), a(3), both(4), a(5), a(6)])]), ["unique"]);
}

#[test]
fn reliable() {
    assert_eq!(broken([stream(0, [state(1), a(2), both(4), a(5), a(6)])]), ["reliable"]);
    assert_eq!(broken([stream(0, [state(1), a(2), a(3), both(4), a(5)])]), ["reliable"]);
    assert_eq!(broken([]), ["reliable"]);
}

#[test]
fn reliable_also_means_that_what_is_told_is_what_happened() {
    let mut other = a(3);
    let Some(Told::Changes(changes)) = &mut other.message.event else { panic!() };
    changes.changes[0].variable.as_mut().unwrap().version = 9;
    assert_eq!(broken([stream(0, [state(1), a(2), other, both(4), a(5), a(6)])]), ["reliable"]);
}

#[test]
fn atomic() {
    assert_eq!(broken([stream(0, [state(1), a(2), a(3), a(4), a(5), a(6)])]), ["atomic"]);
    let split = stream(0, [state(1), a(2), a(3), a(4), told(4, &["b"]), a(5), a(6)]);
    assert_eq!(broken([split]), ["unique", "atomic"]);
}

#[test]
fn resumable() {
    let first = || stream(0, [state(1), a(2), a(3)]);
    assert_eq!(broken([first(), stream(3, [state(3), both(4), a(5), a(6)])]), ["resumable"]);
    assert_eq!(broken([first(), stream(3, [a(5), both(4), a(6)])]), ["ordered", "resumable"]);
    let refused = Stream { end: End::Refused(Refusal::of("COMPACTED", [])), ..stream(3, []) };
    assert_eq!(broken([first(), refused, stream(3, [both(4), a(5), a(6)])]), ["resumable"]);
}

#[test]
fn bookmarkable() {
    assert_eq!(broken([stream(0, [state(1), a(2), beat(3), a(3), both(4), a(5), a(6)])]), ["bookmarkable"]);
    assert_eq!(broken([stream(0, [state(1), a(2), a(3), beat(3), beat(2), both(4), a(5), a(6)])]), ["bookmarkable"]);
}
