use std::time::Duration;

use crate::{config::Windows, error::Error, session::*, testing::session::*, value::Value, variable::Type};

fn counter(windows: Windows) -> Session {
    let mut session = Session::with_windows(windows);
    session.act("n", register(plain(Type::Integer), 0));
    session
}

fn add(session: &mut Session, name: &str) -> Result<Written, Refused> {
    session.write_as(key(name, 1), vec![operation("n", Action::Increment(Value::Int(1)))])
}

#[test]
fn a_repeat_is_answered_as_the_original_was_and_not_applied() {
    let mut session = counter(Windows::default());
    let first = add(&mut session, "k").unwrap();
    session.act("n", set(100));
    assert_eq!(add(&mut session, "k").unwrap(), first);
    assert_eq!((first.position.revision, &first.outcomes[0].value), (3, &Some(Value::Int(1).into())));
    assert_eq!(session.value("n"), Value::Int(100));
}

#[test]
fn a_repeat_comes_before_everything_that_could_refuse_it() {
    let mut session = counter(Windows::default());
    let once = |session: &mut Session| session.write_as(key("k", 1), vec![expecting(1, "n", Action::Delete)]);
    let first = once(&mut session).unwrap();
    session.limits.batch_operations = 0;
    assert_eq!(once(&mut session).unwrap(), first);
}

#[test]
fn the_same_key_with_another_request_is_invalid() {
    let mut session = counter(Windows::default());
    add(&mut session, "k").unwrap();
    let refused = session.write_as(key("k", 2), vec![operation("n", set(5))]).unwrap_err();
    assert!(matches!(refused.error, Error::InvalidRequest { field, .. } if field == "idempotency_key"));
    let other = Idempotency { client: "d".into(), ..key("k", 2) };
    assert!(session.write_as(other, vec![operation("n", set(5))]).unwrap().outcomes[0].changed);
}

#[test]
fn refusals_and_writes_that_changed_nothing_are_not_remembered() {
    let mut session = counter(Windows::default());
    assert!(session.write_as(key("k", 1), vec![operation("n", set("x"))]).is_err());
    assert!(!session.write_as(key("k", 2), vec![operation("n", set(0))]).unwrap().outcomes[0].changed);
    assert!(session.write_as(key("k", 3), vec![operation("n", set(1))]).unwrap().outcomes[0].changed);
}

#[test]
fn a_key_is_forgotten_after_so_many_writes_or_so_long() {
    let mut session = counter(Windows { idempotency_writes: 2, ..Windows::default() });
    for name in ["a", "b", "c"] {
        add(&mut session, name).unwrap();
    }
    assert_eq!(add(&mut session, "b").unwrap().outcomes[0].version, 3);
    assert_eq!(add(&mut session, "c").unwrap().outcomes[0].version, 4);
    assert_eq!(add(&mut session, "a").unwrap().outcomes[0].version, 5);

    let mut session = counter(Windows::default());
    add(&mut session, "a").unwrap();
    session.now = session.now.after(Duration::from_secs(600));
    add(&mut session, "b").unwrap();
    assert_eq!(add(&mut session, "a").unwrap().outcomes[0].version, 2);
    session.now = session.now.after(Duration::from_secs(1));
    session.act("n", set(-1));
    assert_eq!(add(&mut session, "b").unwrap().outcomes[0].version, 3);
    assert_eq!(add(&mut session, "a").unwrap().outcomes[0].version, 5);
}

#[test]
fn no_clock_that_was_set_forward_and_no_stop_makes_a_key_forgotten() {
    let mut session = counter(Windows::default());
    let first = add(&mut session, "a").unwrap();
    let day = Duration::from_secs(86_400);
    (session.now, session.suspended) = (session.now.after(day), day);
    add(&mut session, "b").unwrap();
    assert_eq!(add(&mut session, "a").unwrap(), first);
    // Back to the right time: what is lived never goes back.
    session.now = session.now.after(Duration::from_secs(600));
    session.suspended = day * 2;
    add(&mut session, "c").unwrap();
    assert_eq!(add(&mut session, "a").unwrap(), first);
    session.suspended = day;
    session.now = session.now.after(Duration::from_secs(1));
    session.act("n", set(-1));
    assert_ne!(add(&mut session, "a").unwrap(), first);
}

#[test]
fn a_repeat_is_recognised_even_after_its_value_grew_too_big_to_keep() {
    let mut session = Session::with_windows(Windows { log_bytes: 300, ..Windows::default() });
    session.act("l", register(plain(Type::List), Value::from_iter([])));
    let mut grow = |name: &str| {
        let action = Action::Append(vec![Value::from(&*"x".repeat(100))]);
        session.write_as(key(name, 1), vec![operation("l", action)]).unwrap()
    };
    let originals: Vec<_> = ["a", "b", "c"].map(&mut grow).to_vec();
    let repeats: Vec<_> = ["a", "b", "c"].map(&mut grow).to_vec();
    for (original, repeat) in originals.iter().zip(&repeats) {
        assert_eq!((original.position, original.outcomes[0].version), (repeat.position, repeat.outcomes[0].version));
    }
    assert!(repeats[0].outcomes[0].value.is_none());
}

#[test]
fn of_the_remembered_writes_only_the_newest_keep_their_big_values() {
    let windows = Windows { log_bytes: 1_500, idempotency_writes: 2, ..Windows::default() };
    let mut session = Session::with_windows(windows);
    session.act("s", register(plain(Type::List), Value::from_iter([])));
    let mut value = |name: &str, length: usize| {
        let action = Action::Append(vec![Value::from(&*"x".repeat(length))]);
        session.write_as(key(name, 1), vec![operation("s", action)]).unwrap().outcomes[0].value.clone()
    };
    for (index, name) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        assert!(value(name, 240).is_some());
        assert_eq!(value(name, 240).is_some(), index < 4, "{name} alone is bigger than all that is kept");
    }
    assert!(value("e", 240).is_none() && value("f", 240).is_none());
}
