use std::time::Duration;

use crate::{
    error::Error,
    session::*,
    testing::session::*,
    variable::{Timestamp, Type},
};

#[test]
fn a_create_makes_a_life_once_and_a_retry_finds_that_it_did() {
    let mut session = Session::vacant();
    assert_eq!(session.run(&create(1)).unwrap(), Answer::Created { created: true });
    assert_eq!(session.run(&create(1)).unwrap(), Answer::Created { created: true });
    assert_eq!(session.run(&create(2)).unwrap(), Answer::Created { created: false });
    assert_eq!(session.state().position(), Position { incarnation: incarnation(1), revision: 1 });
}

#[test]
fn an_ended_id_takes_a_new_life_but_never_the_same_again() {
    let mut session = Session::live();
    session.act("a", register(plain(Type::Integer), 1));
    session.run(&Command::Delete { incarnation: None }).unwrap();
    assert!(
        matches!(session.run(&create(1)).unwrap_err().error, Error::InvalidRequest { field, .. } if field == "incarnation")
    );
    session.run(&create(2)).unwrap();
    assert_eq!(session.state().position(), Position { incarnation: incarnation(2), revision: 1 });
    assert!(session.state().is_empty());
}

#[test]
fn a_deleted_session_is_not_found_and_an_expired_one_is_for_a_day() {
    let mut deleted = Session::live();
    let ended = deleted.run(&Command::Delete { incarnation: Some(incarnation(1)) }).unwrap();
    assert_eq!(ended, Answer::Ended(Position { incarnation: incarnation(1), revision: 2 }));
    assert!(matches!(deleted.refusal("a", set(1)), Error::SessionNotFound { .. }));

    let mut expired = Session::live();
    expired.run(&Command::Expire).unwrap();
    assert!(matches!(expired.refusal("a", set(1)), Error::SessionExpired { .. }));
    let ended = expired.now;
    expired.now = ended.after(Duration::from_secs((24 * 60 - 1) * 60));
    assert!(matches!(expired.run(&Command::Expire).unwrap_err().error, Error::SessionExpired { .. }));
    expired.now = ended.after(Duration::from_secs(86_400));
    assert!(matches!(expired.refusal("a", set(1)), Error::SessionNotFound { .. }));

    assert!(matches!(Session::vacant().refusal("a", set(1)), Error::SessionNotFound { .. }));
}

#[test]
fn another_life_than_the_live_one_is_an_expired_session() {
    let mut session = Session::live();
    let error = session.run(&Command::Delete { incarnation: Some(incarnation(9)) }).unwrap_err().error;
    assert!(matches!(error, Error::SessionExpired { .. }));
    let write = Write {
        incarnation: Some(incarnation(9)),
        operations: vec![operation("a", set(1))],
        reason: "".into(),
        idempotency: None,
        encoded_len: 0,
    };
    assert!(matches!(session.run(&Command::Write(write)).unwrap_err().error, Error::SessionExpired { .. }));
}

#[test]
fn a_create_refuses_too_short_a_ttl_and_too_many_labels() {
    let mut session = Session::vacant();
    let mut asked = |ttl, labels: usize| {
        let metadata = (0..labels).map(|n| (n.to_string(), String::new())).collect();
        session.run(&Command::Create(Create { incarnation: incarnation(1), ttl, metadata })).map_err(|it| it.error)
    };
    let short = Some(Duration::from_millis(999));
    assert!(matches!(asked(short, 0), Err(Error::InvalidRequest { field, .. }) if field == "ttl"));
    assert!(matches!(asked(None, 65), Err(Error::InvalidRequest { field, .. }) if field == "metadata"));
    assert!(asked(Some(Duration::from_secs(1)), 64).is_ok());
}

#[test]
fn time_never_runs_backwards_in_a_session() {
    let mut session = Session::live();
    let began = session.now;
    session.act("a", register(plain(Type::Integer), 1));
    session.now = Timestamp(0);
    session.act("a", set(2));
    assert_eq!(session.state().last_event, began);
    assert_eq!(session.state().variable("a").unwrap().updated_at, began);
    session.run(&Command::Expire).unwrap();
    session.run(&create(2)).unwrap();
    assert_eq!(session.state().created_at, began);
}

#[test]
fn an_event_that_does_not_fit_leaves_the_slot_as_it_is() {
    let mut session = Session::live();
    session.act("a", register(plain(Type::Integer), 1));
    let write = session.events.last().unwrap();
    assert!(matches!(apply(&session.id, &Slot::Vacant, write, &session.windows), Slot::Vacant));
}

#[test]
fn ids_are_short_and_plain() {
    for good in ["a", "a:b.c-d_9", &"x".repeat(128)] {
        assert_eq!(&*SessionId::parse(good).unwrap(), good);
    }
    for bad in ["", "a b", "ä", "a/b", &"x".repeat(129)] {
        assert!(matches!(SessionId::parse(bad), Err(Error::InvalidRequest { field, .. }) if field == "session_id"));
    }
    assert_eq!(incarnation(0x0a).to_string(), "0a".repeat(16));
    assert!(
        matches!(Incarnation::try_from(&[1, 2][..]), Err(Error::InvalidRequest { field, .. }) if field == "incarnation")
    );
}
