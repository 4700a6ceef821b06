use crate::{
    error::Error,
    session::*,
    testing::session::*,
    value::Value,
    variable::{Spec, Type},
};

#[test]
fn registering_the_same_spec_again_changes_nothing() {
    let mut session = Session::live();
    session.act("t", register(up_to(2.0), 0.7));
    session.act("t", set(0.9));
    let again = session.act("t", register(up_to(2.0), 0.1));
    assert_eq!((again.changed, again.version), (false, 2));
    assert_eq!(session.value("t"), Value::Float(0.9));
    assert!(matches!(session.refusal("t", register(up_to(1.0), 0.1)), Error::VariableExists { .. }));
}

#[test]
fn replacing_needs_an_admin_and_goes_on_counting() {
    let mut session = Session::live();
    session.act("t", register(up_to(2.0), 1));
    let replaced = session.act("t", replace(plain(Type::Integer), 5));
    assert_eq!((replaced.changed, replaced.version), (true, 2));
    assert!(!session.act("t", replace(plain(Type::Integer), 5)).changed);
    assert_eq!(session.act("t", replace(plain(Type::Integer), 6)).version, 3);
    session.admin = false;
    assert!(matches!(
        session.refusal("t", replace(plain(Type::Integer), 7)),
        Error::PermissionDenied { role: "admin", .. }
    ));
}

#[test]
fn a_read_only_variable_changes_only_by_replacement() {
    let mut session = Session::live();
    let fixed = || Spec { read_only: true, ..plain(Type::Integer) };
    session.act("f", register(fixed(), 1));
    for action in [set(2), set(1), Action::Increment(Value::Int(1)), Action::Delete, Action::Rollback { version: 1 }] {
        assert!(matches!(session.refusal("f", action), Error::VariableReadOnly { .. }));
    }
    assert!(!session.act("f", register(fixed(), 9)).changed);
    assert_eq!(session.act("f", replace(fixed(), 2)).version, 2);
    assert_eq!(session.value("f"), Value::Int(2));
}

#[test]
fn equal_is_no_change_bit_by_bit() {
    let mut session = Session::live();
    let free = crate::variable::FloatConstraints { allow_nan: true, ..Default::default() };
    let spec = Spec::new(Type::Float, crate::variable::Constraints::Float(free));
    session.act("n", register(spec, f64::NAN));
    let revision = session.state().revision;
    assert!(!session.act("n", set(f64::NAN)).changed);
    assert_eq!(session.state().revision, revision);
    assert!(session.act("n", set(0.0)).changed);
    assert!(session.act("n", set(-0.0)).changed);
    assert!(!session.act("n", Action::Increment(Value::Float(-0.0))).changed);
    session.act("f", register(up_to(2.0), 1));
    assert!(!session.act("f", set(1.0)).changed, "1 became 1.0 at registration");
}

#[test]
fn an_increment_adds_numbers_of_the_variables_kind_and_never_overflows() {
    let mut session = Session::live();
    session.act("i", register(plain(Type::Integer), i64::MAX - 1));
    session.act("f", register(up_to(2.0), 0.5));
    session.act("s", register(plain(Type::String), "a"));
    session.act("n", register(Spec { nullable: true, ..plain(Type::Integer) }, Value::Null));
    let grown = session.act("i", Action::Increment(Value::Int(1)));
    assert_eq!((grown.version, grown.value), (2, Some(Value::Int(i64::MAX).into())));
    assert_eq!(session.act("f", Action::Increment(Value::Int(1))).value, Some(Value::Float(1.5).into()));
    for (name, amount) in [("i", Value::Int(1)), ("f", Value::Float(1.0)), ("f", Value::Float(f64::NAN))] {
        assert!(matches!(session.refusal(name, Action::Increment(amount)), Error::ConstraintViolated { .. }));
    }
    let mismatches = [
        ("i", Value::Float(1.0)),
        ("i", Value::Bool(true)),
        ("f", Value::Int(i64::MAX)),
        ("s", Value::Int(1)),
        ("n", Value::Int(1)),
    ];
    for (name, amount) in mismatches {
        assert!(matches!(session.refusal(name, Action::Increment(amount)), Error::TypeMismatch { .. }), "{name}");
    }
}

#[test]
fn an_append_grows_a_list_within_its_limits() {
    let mut session = Session::live();
    let limits = crate::variable::CollectionConstraints { max_items: Some(3), max_depth: None };
    let spec = Spec::new(Type::List, crate::variable::Constraints::Collection(limits));
    session.act("l", register(spec, Value::from_iter([Value::Int(1)])));
    session.act("i", register(plain(Type::Integer), 1));
    let grown = session.act("l", Action::Append(vec![Value::Null, "x".into()]));
    assert_eq!(grown.value, Some(Value::from_iter([Value::Int(1), Value::Null, "x".into()]).into()));
    assert!(matches!(session.refusal("l", Action::Append(vec![Value::Null])), Error::ConstraintViolated { .. }));
    assert!(
        matches!(session.refusal("l", Action::Append(vec![])), Error::InvalidRequest { field, .. } if field == "items")
    );
    assert!(matches!(session.refusal("i", Action::Append(vec![Value::Int(1)])), Error::TypeMismatch { .. }));
}

#[test]
fn a_rollback_brings_a_kept_value_back_as_a_new_version_if_the_spec_still_takes_it() {
    let mut session = Session::live();
    session.act("t", register(up_to(2.0), 2.0));
    session.act("t", set(0.5));
    let back = session.act("t", Action::Rollback { version: 1 });
    assert_eq!((back.changed, back.version, back.value), (true, 3, Some(Value::Float(2.0).into())));
    assert!(!session.act("t", Action::Rollback { version: 1 }).changed);
    for version in [0, 4, 99] {
        let refused = session.refusal("t", Action::Rollback { version });
        assert!(matches!(refused, Error::InvalidRequest { field, .. } if field == "version"));
    }
    session.act("t", replace(up_to(1.0), 0.0));
    assert!(matches!(session.refusal("t", Action::Rollback { version: 1 }), Error::ConstraintViolated { .. }));
    assert!(session.act("t", Action::Rollback { version: 2 }).changed);
}

#[test]
fn a_name_goes_on_counting_after_its_deletion() {
    let mut session = Session::live();
    session.act("a", register(plain(Type::Integer), 1));
    let deleted = session.act("a", Action::Delete);
    assert_eq!((deleted.changed, deleted.version, session.version("a")), (true, 2, None));
    assert!(matches!(session.refusal("a", Action::Delete), Error::VariableNotFound { .. }));
    assert!(matches!(session.refusal("a", Action::Rollback { version: 1 }), Error::VariableNotFound { .. }));
    assert_eq!(session.act("a", register(plain(Type::Integer), 1)).version, 3);
    let deletion = session.refusal("a", Action::Rollback { version: 2 });
    assert!(matches!(deletion, Error::InvalidRequest { field, .. } if field == "version"));
    let kinds: Vec<_> =
        session.state().history("a").unwrap().map(|it| (it.version, it.kind, it.value.is_some())).collect();
    let expected =
        [(3, RecordKind::Registered, true), (2, RecordKind::Deleted, false), (1, RecordKind::Registered, true)];
    assert_eq!(kinds, expected);
}

#[test]
fn an_unknown_name_is_answered_with_the_closest_ones() {
    let mut session = Session::live();
    for name in ["llm_temperature", "llm_model", "temperature", "zzz"] {
        session.act(name, register(plain(Type::Integer), 1));
    }
    match session.refusal("llm_temprature", set(1)) {
        Error::VariableNotFound { closest, .. } => assert_eq!(closest[0], "llm_temperature"),
        other => panic!("{other:?}"),
    }
    assert!(session.state().closest("q").is_empty());
}

#[test]
fn a_refused_value_leaves_spec_validation_to_registration() {
    let mut session = Session::live();
    let bad = || up_to(-1.0);
    assert!(
        matches!(session.refusal("a", register(bad(), 0.0)), Error::InvalidRequest { field, .. } if field == "constraints.min")
    );
    assert!(matches!(session.refusal("a", register(up_to(1.0), 2.0)), Error::ConstraintViolated { .. }));
    assert!(matches!(session.refusal("a", register(up_to(1.0), true)), Error::TypeMismatch { .. }));
    assert!(matches!(session.refusal("a", register(up_to(1.0), Value::Null)), Error::TypeMismatch { .. }));
    assert_eq!(session.state().revision, 1);
}
