//! The checker accepts what is right and nothing else: histories made by hand, each wrong in one way.

mod made;

use std::sync::Arc;

use prost_types::Timestamp;
use snakepit_proto::v1::{DeleteOperation, Snapshot, operation::Action, watch_variables_response::Event as Told};

use crate::history::{Answer, Asked, History, Refusal, Said, Stream, Watch};
use made::*;

const NONE: [&str; 0] = [];

#[test]
fn accepts_one_after_another() {
    let mut made = Made::begin();
    made.write("1", "", [set("a", 1)]);
    made.get("a");
    made.write("2", "", [expecting(1, set("a", 2))]);
    made.write("3", "", [increment("a"), operation("b", Action::Delete(DeleteOperation {}))]);
    made.write("4", "", [increment("b")]);
    made.get("b");
    made.sync(2);
    made.write("5", "", [set("a", 2)]);
    assert_eq!(made.broken(), NONE);
}

#[test]
fn accepts_writes_at_once_in_any_order() {
    let mut made = Made::begin();
    let second = made.write("2", "", [set("a", 2)]);
    let first = made.write("1", "", [set("a", 1)]);
    // The one that was committed first began and ended last.
    made.calls[first].began = 45;
    made.calls[second].began = 50;
    made.calls[second].ended = 1_000;
    assert_eq!(made.broken(), NONE);
}

#[test]
fn accepts_an_unknown_write_that_was_applied_and_one_that_was_not() {
    let mut made = Made::begin();
    let applied = made.write("1", "", [set("a", 1)]);
    made.calls[applied].told = Answer::Unknown("cut".into());
    let (began, ended) = (made.tick(), made.tick());
    made.push(began, ended, Asked::Write(keyed("2", "", [set("a", 2)])), Answer::Unknown("cut".into()));
    made.get("a");
    assert_eq!(made.broken(), NONE);
}

#[test]
fn accepts_a_repeat_that_is_told_what_the_original_was() {
    let mut made = Made::begin();
    let write = keyed("1", "k", [increment("a")]);
    let original = made.send(Arc::clone(&write));
    made.write("2", "", [increment("a")]);
    let repeat = made.send(write);
    assert_eq!(format!("{:?}", made.calls[original].told), format!("{:?}", made.calls[repeat].told));
    made.write("3", "k", [increment("b")]);
    assert_eq!(made.broken(), NONE);
}

#[test]
fn sees_a_stale_read() {
    let mut made = Made::begin();
    let (asked, stale) = made.answer("a");
    made.write("1", "", [set("a", 1)]);
    let (began, ended) = (made.tick(), made.tick());
    made.push(began, ended, asked, stale);
    assert_eq!(made.broken(), ["real time"]);
}

#[test]
fn sees_a_value_that_never_was() {
    let mut made = Made::begin();
    let read = made.get("a");
    let Answer::At { said: Said::Got { variables, .. }, .. } = &mut made.calls[read].told else { panic!() };
    variables[0].value = Some(int(5));
    assert_eq!(made.broken(), ["model"]);
}

#[test]
fn sees_an_acknowledged_write_that_is_lost() {
    let mut made = Made::begin();
    let (asked, read) = made.answer("a");
    made.write("1", "", [set("a", 1)]);
    made.log.pop();
    let (began, ended) = (made.tick(), made.tick());
    made.push(began, ended, asked, read);
    let history = History { last: 2, ..made.history() };
    assert_eq!(broken(&history), ["exactly once", "real time", "model"]);
}

#[test]
fn sees_a_write_that_is_applied_twice() {
    let mut made = Made::begin();
    let write = keyed("1", "k", [increment("a")]);
    let call = made.send(Arc::clone(&write));
    made.calls[call].told = Answer::Unknown("cut".into());
    let forgotten = keyed("1", "", [increment("a")]);
    let call = made.send(forgotten);
    made.calls[call].asked = Asked::Write(write);
    assert_eq!(made.broken(), ["exactly once", "model"]);
}

#[test]
fn sees_a_refused_write_that_is_applied() {
    let mut made = Made::begin();
    let call = made.write("1", "", [set("a", 1)]);
    made.calls[call].told = Answer::NotApplied("read-only".into());
    assert_eq!(made.broken(), ["exactly once"]);
}

#[test]
fn sees_a_write_that_is_acknowledged_at_the_revision_of_another() {
    let mut made = Made::begin();
    made.write("1", "", [set("a", 1)]);
    let call = made.write("2", "", [set("b", 1)]);
    let Answer::At { revision, .. } = &mut made.calls[call].told else { panic!() };
    *revision -= 1;
    assert_eq!(made.broken(), ["exactly once"]);
}

#[test]
fn sees_an_unknown_write_that_is_applied_before_it_is_sent() {
    let mut made = Made::begin();
    let call = made.write("1", "", [set("a", 1)]);
    made.get("a");
    made.calls[call].told = Answer::Unknown("cut".into());
    (made.calls[call].began, made.calls[call].ended) = (1_000, 1_001);
    assert_eq!(made.broken(), ["real time"]);
}

#[test]
fn sees_writes_out_of_their_real_order() {
    let mut made = Made::begin();
    let first = made.write("1", "", [set("a", 1)]);
    let second = made.write("2", "", [set("b", 1)]);
    (made.calls[first].began, made.calls[first].ended) = (1_000, 1_001);
    (made.calls[second].began, made.calls[second].ended) = (900, 901);
    assert_eq!(made.broken(), ["real time"]);
}

#[test]
fn sees_an_expected_version_that_is_skipped() {
    let mut made = Made::begin();
    let call = made.write("1", "", [set("a", 1)]);
    made.calls[call].asked = Asked::Write(keyed("1", "", [expecting(7, set("a", 1))]));
    assert_eq!(made.broken(), ["model"]);
}

#[test]
fn sees_a_refusal_of_what_was_no_conflict_or_another_one() {
    for actual in ["1", "2"] {
        let mut made = Made::begin();
        let version = if actual == "1" { 1 } else { 9 };
        let facts = [("variable", "a"), ("expected", "1"), ("actual", actual), ("operation", "0")];
        let (began, ended) = (made.tick(), made.tick());
        let told = at(2, Said::Refused(Refusal::of("VERSION_CONFLICT", facts)));
        made.push(began, ended, Asked::Write(keyed("1", "", [expecting(version, set("a", 1))])), told);
        assert_eq!(made.broken(), ["model"]);
    }
}

#[test]
fn sees_a_refusal_from_a_state_that_was_not_there_yet() {
    let mut made = Made::begin();
    let (asked, before) = made.answer("a");
    made.write("1", "", [operation("a", Action::Delete(DeleteOperation {}))]);
    made.calls[1].ended = 1_000;
    made.write("2", "", [increment("a")]);
    let (began, ended) = (made.tick(), made.tick());
    made.push(began, ended, asked, before);
    assert_eq!(made.broken(), ["real time"]);
}

#[test]
fn sees_a_key_that_is_forgotten() {
    let mut made = Made::begin();
    let write = keyed("1", "k", [expecting(1, increment("a"))]);
    made.send(Arc::clone(&write));
    let forgotten = keyed("1", "", [expecting(1, increment("a"))]);
    let call = made.send(forgotten);
    made.calls[call].asked = Asked::Write(write);
    assert_eq!(made.broken(), ["model"]);
}

#[test]
fn sees_half_a_batch() {
    let mut made = Made::begin();
    made.write("1", "", [set("a", 1), set("b", 1)]);
    let Some(Told::Changes(changes)) = &mut made.log[1].message.event else { panic!() };
    changes.changes.pop();
    assert_eq!(made.broken(), ["model"]);
}

#[test]
fn sees_a_sync_that_leaves_something_out() {
    let mut made = Made::begin();
    made.write("1", "", [set("a", 1)]);
    let sync = made.sync(2);
    let Answer::At { said: Said::Synced(sync), .. } = &mut made.calls[sync].told else { panic!() };
    sync.changed.clear();
    assert_eq!(made.broken(), ["model"]);
}

#[test]
fn sees_a_log_with_a_gap_a_repeat_or_a_time_that_falls() {
    let made = || {
        let mut made = Made::begin();
        made.write("1", "", [set("a", 1)]);
        made.write("2", "", [set("a", 2)]);
        made
    };
    let mut gap = made();
    gap.log.remove(1);
    assert_eq!(gap.broken(), ["dense"]);
    let mut repeat = made();
    repeat.log.insert(1, repeat.log[1].clone());
    assert_eq!(repeat.broken(), ["dense"]);
    let mut short = made();
    short.log.pop();
    assert_eq!(short.broken(), ["dense"]);
    let mut back = made();
    let Some(Told::Changes(changes)) = &mut back.log[2].message.event else { panic!() };
    changes.changes[0].variable.as_mut().unwrap().updated_at = Some(Timestamp { seconds: 0, nanos: 0 });
    assert_eq!(back.broken(), ["dense"]);
}

#[test]
fn sees_an_answer_of_another_life() {
    let mut made = Made::begin();
    let read = made.get("a");
    let Answer::At { incarnation, .. } = &mut made.calls[read].told else { panic!() };
    *incarnation = b"another".as_slice().into();
    assert_eq!(made.broken(), ["one life"]);
}

/// A watch of all, opened after everything, that is told this at the last revision.
fn watching(mut made: Made, latest: bool, event: Told) -> Vec<&'static str> {
    let (revision, opened) = (made.model().revision, made.tick());
    let messages = vec![message(made.tick(), revision, Some(event))];
    let mut history = made.history();
    let streams = vec![Stream { opened, messages, ..Stream::default() }];
    history.watches.push(Watch { latest, streams, ..Watch::default() });
    broken(&history)
}

#[test]
fn sees_a_watch_that_begins_with_another_state() {
    for (count, expected) in [(2, &NONE[..]), (1, &["model"])] {
        let mut made = Made::begin();
        let variables = made.model().variables().take(count).cloned().collect();
        assert_eq!(watching(made, false, Told::Snapshot(Snapshot { variables })), expected);
    }
}

#[test]
fn sees_a_watch_of_the_latest_state_that_is_told_another() {
    for (count, expected) in [(2, &NONE[..]), (1, &["model"])] {
        let mut made = Made::begin();
        let mut sync = made.model().sync(0, &[], &[]);
        sync.changed.truncate(count);
        let (full, changed, absent) = (true, sync.changed, sync.absent);
        let told = snakepit_proto::v1::SyncVariablesResponse { full, changed, absent, ..Default::default() };
        assert_eq!(watching(made, true, Told::Latest(told)), expected);
    }
}
