use std::time::{Duration, Instant};

use crate::{config::Windows, session::*, testing::session::*, value::Value, variable::Type};

const VARIABLES: i64 = 20_000;

fn crowded() -> Session {
    let mut session = Session::with_windows(Windows::default());
    session.limits.batch_operations = u64::MAX;
    session.limits.variables_per_session = u64::MAX;
    let register = |n: i64| operation(&format!("v{n}"), register(plain(Type::Integer), n));
    session.write((0..VARIABLES).map(register).collect()).unwrap();
    session
}

/// What takes microseconds may take a thousandfold on a busy machine, but not the time of a walk through everything.
fn quick(times: u32, mut what: impl FnMut(u32)) {
    let started = Instant::now();
    (0..times).for_each(&mut what);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_sync_without_news_does_not_look_at_the_names() {
    let session = crowded();
    let names = vec!["v1"; 1_000_000];
    let known = Some(session.state().revision);
    quick(10_000, |_| assert_eq!(session.state().sync(known, &names, &[]), Sync::default()));
}

#[test]
fn a_filtered_sync_costs_as_much_as_there_are_changes() {
    let mut session = crowded();
    session.act("v7", set(-7));
    let known = Some(session.state().revision - 1);
    quick(100_000, |_| assert_eq!(session.state().sync_matching(known, &Filter::default()).changed.len(), 1));
}

#[test]
fn a_write_copies_only_what_it_changes() {
    let mut session = crowded();
    quick(20_000, |n| assert!(session.act(&format!("v{}", n % 500), Action::Increment(Value::Int(1))).changed));
}
