//! What an operation costs depends on what it is about, not on how much there is: many beside few, in one run.

use std::time::{Duration, Instant};

use crate::{config::Windows, session::*, testing::session::*, value::Value, variable::Type};

const FEW: i64 = 20;
const MANY: i64 = 20_000;

fn crowd(variables: i64) -> Session {
    let mut session = Session::with_windows(Windows::default());
    session.limits.batch_operations = u64::MAX;
    session.limits.variables_per_session = u64::MAX;
    let register = |n: i64| operation(&format!("v{n}"), register(plain(Type::Integer), n));
    session.write((0..variables).map(register).collect()).unwrap();
    session
}

/// There are a thousand times as many: a walk through all of them would take a thousand times as long. A tree that is
/// deeper, caches and a busy machine take some tens.
fn costs_the_same(times: u32, mut among_few: impl FnMut(u32), mut among_many: impl FnMut(u32)) {
    let (mut few, mut many) = (Duration::ZERO, Duration::ZERO);
    for n in 0..times {
        let began = Instant::now();
        among_few(n);
        few += began.elapsed();
        let began = Instant::now();
        among_many(n);
        many += began.elapsed();
    }
    assert!(many < few * 100, "{times} times: {few:?} among few, {many:?} among many");
}

#[test]
fn a_sync_without_news_does_not_look_at_the_names() {
    let session = crowd(FEW);
    let known = Some(session.state().revision);
    let (few, many) = (vec!["v1"; 1_000], vec!["v1"; 1_000_000]);
    let sync = |names: &[&str]| assert_eq!(session.state().sync(known, names, &[]), Sync::default());
    costs_the_same(2_000, |_| sync(&few), |_| sync(&many));
}

#[test]
fn a_filtered_sync_costs_as_much_as_there_are_changes() {
    let changed = |variables| {
        let mut session = crowd(variables);
        session.act("v7", set(-7));
        session
    };
    let (few, many) = (changed(FEW), changed(MANY));
    let sync = |session: &Session| {
        let known = Some(session.state().revision - 1);
        assert_eq!(session.state().sync_matching(known, &Filter::default()).changed.len(), 1);
    };
    costs_the_same(2_000, |_| sync(&few), |_| sync(&many));
}

#[test]
fn a_write_copies_only_what_it_changes() {
    let (mut few, mut many) = (crowd(FEW), crowd(MANY));
    let write = |session: &mut Session, n: u32| {
        assert!(session.act(&format!("v{}", n % 20), Action::Increment(Value::Int(1))).changed);
    };
    costs_the_same(2_000, |n| write(&mut few, n), |n| write(&mut many, n));
}
