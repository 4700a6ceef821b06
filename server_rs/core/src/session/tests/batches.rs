use crate::{error::Error, session::*, testing::session::*, value::Value, variable::Type};

fn with_two() -> Session {
    let mut session = Session::live();
    session
        .write(vec![
            operation("a", register(plain(Type::Integer), 1)),
            operation("b", register(plain(Type::Integer), 2)),
        ])
        .unwrap();
    session
}

#[test]
fn a_batch_is_one_revision_with_an_outcome_per_operation() {
    let mut session = with_two();
    let written = session
        .write(vec![
            operation("b", set(2)),
            operation("a", Action::Increment(Value::Int(4))),
            operation("c", register(plain(Type::Integer), 0)),
        ])
        .unwrap();
    assert_eq!(written.position.revision, 3);
    let outcomes: Vec<_> = written.outcomes.iter().map(|it| (&*it.name, it.changed, it.version)).collect();
    assert_eq!(outcomes, [("b", false, 1), ("a", true, 2), ("c", true, 1)]);
    let revisions: Vec<_> = session.state().variables().map(|it| it.revision).collect();
    assert_eq!(revisions, [3, 2, 3]);
}

#[test]
fn a_batch_that_fails_in_part_changes_nothing_and_says_which_operation() {
    let mut session = with_two();
    let before = session.state().hash();
    let refused = session.write(vec![operation("a", set(9)), operation("b", set("x"))]).unwrap_err();
    assert_eq!(refused.operation, Some(1));
    assert!(matches!(refused.error, Error::TypeMismatch { .. }));
    assert_eq!((session.state().hash(), session.events.len()), (before, 2));
}

#[test]
fn expected_versions_speak_of_the_state_before_the_batch() {
    let mut session = with_two();
    session.write(vec![expecting(1, "a", set(5)), expecting(1, "b", set(6))]).unwrap();
    let refused = session.write(vec![expecting(2, "a", set(7)), expecting(1, "b", set(8))]).unwrap_err();
    assert_eq!(refused.operation, Some(1));
    assert!(matches!(refused.error, Error::VersionConflict { expected: 1, actual: 2, .. }));
    assert_eq!(session.value("a"), Value::Int(5));
}

#[test]
fn expected_version_0_means_that_it_must_not_exist() {
    let mut session = with_two();
    let taken = session.write(vec![expecting(0, "a", register(plain(Type::Integer), 1))]).unwrap_err();
    assert!(matches!(taken.error, Error::VersionConflict { expected: 0, actual: 1, .. }));
    session.act("a", Action::Delete);
    let gone = session.write(vec![expecting(2, "a", set(1))]).unwrap_err();
    assert!(matches!(gone.error, Error::VersionConflict { expected: 2, actual: 0, .. }));
    session.write(vec![expecting(0, "a", register(plain(Type::Integer), 1))]).unwrap();
    assert_eq!(session.version("a"), Some(3));
}

#[test]
fn a_batch_without_a_change_commits_nothing() {
    let mut session = with_two();
    let written = session.write(vec![operation("a", set(1)), operation("b", set(2))]).unwrap();
    assert_eq!((written.position.revision, session.state().revision, session.events.len()), (2, 2, 2));
    assert!(written.outcomes.iter().all(|outcome| !outcome.changed));
}

#[test]
fn a_name_occurs_once_in_a_batch() {
    let mut session = with_two();
    let refused = session.write(vec![operation("a", set(1)), operation("a", set(2))]).unwrap_err();
    assert_eq!(refused.operation, Some(1));
    assert!(matches!(refused.error, Error::InvalidRequest { field, .. } if field == "operations.name"));
}

#[test]
fn a_batch_is_held_to_every_limit() {
    fn limit(result: Result<Answer, Refused>) -> &'static str {
        match result.unwrap_err().error {
            Error::LimitExceeded { limit, .. } => limit,
            other => panic!("{other:?}"),
        }
    }
    let mut session = Session::live();
    session.limits.batch_operations = 2;
    session.limits.batch_bytes = 100;
    session.limits.value_bytes = 30;
    session.limits.variables_per_session = 3;
    session.limits.session_value_bytes = 60;
    let text = |length: usize| register(plain(Type::String), &*"x".repeat(length));
    let write = |operations: Vec<Operation>, encoded_len| {
        Command::Write(Write { incarnation: None, operations, reason: "".into(), idempotency: None, encoded_len })
    };
    let three = ["a", "b", "c"].map(|name| operation(name, text(1))).to_vec();
    assert_eq!(limit(session.run(&write(three, 0))), "batch_operations");
    let two = || ["a", "b"].map(|name| operation(name, text(26))).to_vec();
    assert_eq!(limit(session.run(&write(two(), 101))), "batch_bytes");
    assert_eq!(limit(session.run(&write(vec![operation("a", text(29))], 0))), "value_bytes");
    session.run(&write(two(), 100)).unwrap();
    assert_eq!(session.state().value_bytes(), 56);
    assert_eq!(limit(session.run(&write(vec![operation("c", text(3))], 1_000))), "session_value_bytes");
    session.run(&write(vec![operation("c", text(2))], 1_000)).unwrap();
    assert_eq!(limit(session.run(&write(vec![operation("d", text(0))], 0))), "variables_per_session");
    session.run(&write(vec![operation("c", Action::Delete), operation("d", text(2))], 0)).unwrap();
    session.limits.session_value_bytes = 1;
    session.limits.variables_per_session = 1;
    session.act("d", Action::Delete);
    session.act("a", set("shorter"));
    assert!(matches!(
        session.refusal("a", set("even longer")),
        Error::LimitExceeded { limit: "session_value_bytes", .. }
    ));
}

#[test]
fn a_write_says_something_and_says_it_shortly() {
    let mut session = with_two();
    let mut field = |operations: Vec<Operation>, reason: &str, key: &str| {
        let idempotency = Some(Idempotency { client: "c".into(), key: key.into(), fingerprint: [0; 32] });
        let write = Write { incarnation: None, operations, reason: reason.into(), idempotency, encoded_len: 0 };
        match session.run(&Command::Write(write)).map_err(|refused| refused.error) {
            Err(Error::InvalidRequest { field, .. }) => Some(field),
            Ok(_) => None,
            other => panic!("{other:?}"),
        }
    };
    let some = || vec![operation("a", set(3))];
    assert_eq!(field(vec![], "", "k").as_deref(), Some("operations"));
    assert_eq!(field(some(), &"ä".repeat(1_025), "k").as_deref(), Some("reason"));
    assert_eq!(field(some(), "", &"k".repeat(129)).as_deref(), Some("idempotency_key"));
    assert_eq!(field(some(), &"ä".repeat(1_024), &"ä".repeat(128)), None);
}

#[test]
fn a_write_whose_answer_would_not_fit_into_a_message_is_refused_before_it_is_done() {
    let mut session = Session::live();
    session.limits.message_bytes = 3_000;
    for name in ["a", "b", "c"] {
        session.act(name, register(plain(Type::String), &*"x".repeat(1_000)));
        session.act(name, set(""));
    }
    let roll_back =
        |names: &[&str]| names.iter().map(|name| operation(name, Action::Rollback { version: 1 })).collect();
    let before = session.events.len();
    let refused = session.write(roll_back(&["a", "b", "c"])).unwrap_err();
    assert_eq!(refused.error, crate::error::Error::LimitExceeded { limit: "message_bytes", max: 3_000 });
    assert_eq!(session.events.len(), before);
    assert!(session.write(roll_back(&["a", "b"])).is_ok());
}
