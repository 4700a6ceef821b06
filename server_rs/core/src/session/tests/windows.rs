use crate::{config::Windows, session::*, testing::session::*, value::Value, variable::Type};

#[test]
fn the_log_keeps_a_contiguous_run_and_says_where_it_begins() {
    let mut session = Session::with_windows(Windows { log_events: 3, ..Windows::default() });
    session.act("n", register(plain(Type::Integer), 0));
    for n in 1..=4 {
        session.act("n", set(n));
    }
    let revisions =
        |since| session.state().log_since(since).map(|it| it.map(|event| event.position.revision).collect());
    assert_eq!(revisions(3), Ok(vec![4, 5, 6]));
    assert_eq!(revisions(5), Ok(vec![6]));
    assert_eq!(revisions(6), Ok(vec![]));
    assert_eq!((revisions(u64::MAX - 1), revisions(u64::MAX)), (Ok(vec![]), Ok(vec![])));
    assert_eq!(revisions(2), Err(Behind::Compacted { oldest: 4 }));
    assert_eq!(revisions(0), Err(Behind::Compacted { oldest: 4 }));
}

#[test]
fn the_newest_event_and_the_newest_version_are_kept_whatever_their_size() {
    let tiny = Windows { log_bytes: 1, history_bytes: 1, log_events: 0, history_versions: 0, ..Windows::default() };
    let mut session = Session::with_windows(tiny);
    session.act("s", register(plain(Type::String), "a"));
    session.act("s", set(&*"x".repeat(1_000)));
    assert_eq!(session.state().log_since(2).unwrap().count(), 1);
    assert_eq!(session.state().log_since(1).err(), Some(Behind::Compacted { oldest: 3 }));
    assert_eq!(session.state().history("s").unwrap().map(|it| it.version).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_history_keeps_so_many_versions_and_so_many_bytes() {
    let mut session =
        Session::with_windows(Windows { history_versions: 3, history_bytes: 2_000, ..Windows::default() });
    session.act("s", register(plain(Type::String), "a"));
    for text in ["b", "c", "d"] {
        session.act("s", set(text));
    }
    let versions = |session: &Session| session.state().history("s").unwrap().map(|it| it.version).collect::<Vec<_>>();
    assert_eq!(versions(&session), [4, 3, 2]);
    session.act("s", set(&*"x".repeat(1_990)));
    assert_eq!(versions(&session), [5]);
    assert!(session.state().history("never").is_none());
}

#[test]
fn a_version_record_says_who_why_and_whether_it_was_secret() {
    let mut session = Session::live();
    session.act("k", register(crate::variable::Spec { secret: true, ..plain(Type::String) }, "hunter2"));
    session.act("k", Action::Delete);
    let records: Vec<_> = session.state().history("k").unwrap().collect();
    for record in &records {
        assert!(
            record.secret && record.time == session.now && &*record.author.name == "ann" && &*record.reason == "why"
        );
    }
    assert_eq!(records[1].value, Some(Value::from("hunter2")));
}

#[test]
fn a_forgotten_name_still_cannot_fool_an_expected_version() {
    let mut session = Session::with_windows(Windows { deleted_names: 1, ..Windows::default() });
    session.act("a", register(plain(Type::Integer), 1));
    for n in 2..=5 {
        session.act("a", set(n));
    }
    session.act("a", Action::Delete);
    session.act("b", register(plain(Type::Integer), 1));
    session.act("b", Action::Delete);
    assert!(session.state().history("a").is_none(), "a is forgotten");
    assert_eq!(session.act("a", register(plain(Type::Integer), 1)).version, 7);
    assert_eq!(session.act("b", register(plain(Type::Integer), 1)).version, 3, "b is not");
}

#[test]
fn the_histories_of_deleted_names_are_bounded_together_and_their_deletions_are_kept() {
    let mut session = Session::with_windows(Windows { deleted_bytes: 3_000, ..Windows::default() });
    for name in ["a", "b", "c", "d"] {
        session.act(name, register(plain(Type::String), &*"x".repeat(1_000)));
    }
    for name in ["a", "b", "c", "d"] {
        session.act(name, Action::Delete);
    }
    let state = session.state();
    let versions = |name| state.history(name).unwrap().map(|it| it.version).collect::<Vec<_>>();
    assert_eq!((versions("a"), versions("b")), (vec![2], vec![2]), "the first deleted keep only their deletion");
    assert_eq!((versions("c"), versions("d")), (vec![2, 1], vec![2, 1]));
    assert_eq!(state.sync(Some(5), &["a", "b", "c", "d"], &[]).absent.len(), 4);
    assert_eq!(session.act("a", register(plain(Type::String), "y")).version, 3);
    session.act("a", Action::Delete);
    let versions = |name| session.state().history(name).unwrap().map(|it| it.version).collect::<Vec<_>>();
    assert_eq!((versions("c"), versions("d"), versions("a")), (vec![2, 1], vec![2, 1], vec![4, 3, 2]));
}
