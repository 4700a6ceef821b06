use std::fmt::Write as _;

use crate::{config::Windows, session::*, testing::session::*, variable::Type};

/// As in `full a=1 b=2 -c`.
fn shown(sync: &Sync) -> String {
    let mut text = if sync.full { "full".to_owned() } else { "part".to_owned() };
    for variable in &sync.changed {
        write!(text, " {}={}", variable.name, variable.value.preview()).unwrap();
    }
    for name in &sync.absent {
        write!(text, " -{name}").unwrap();
    }
    text
}

/// Revisions: 2 registers a and b, 3 sets a, 4 deletes b, 5 registers c.
fn session(windows: Windows) -> Session {
    let mut session = Session::with_windows(windows);
    let both = ["a", "b"].map(|name| operation(name, register(plain(Type::Integer), 1))).to_vec();
    session.write(both).unwrap();
    session.act("a", set(2));
    session.act("b", Action::Delete);
    session.act("c", register(plain(Type::Integer), 1));
    session
}

#[test]
fn a_sync_tells_what_changed_among_the_names_since_then() {
    let session = session(Windows::default());
    let sync = |known, names: &[&str], new: &[&str]| shown(&session.state().sync(known, names, new));
    assert_eq!(sync(None, &["a", "b"], &["x"]), "full a=2 -b -x");
    assert_eq!(sync(Some(0), &["a", "b"], &[]), "part a=2 -b");
    assert_eq!(sync(Some(2), &["a", "b"], &[]), "part a=2 -b");
    assert_eq!(sync(Some(3), &["a", "b"], &["c"]), "part c=1 -b");
    assert_eq!(sync(Some(3), &["a"], &["a", "x"]), "part a=2 -x");
    assert_eq!(sync(Some(4), &["a", "b"], &[]), "part");
    assert_eq!(sync(Some(5), &["a", "b", "c"], &[]), "part");
    assert_eq!(sync(Some(5), &["a", "b"], &["c"]), "part c=1");
    assert_eq!(sync(Some(6), &["a", "b"], &["c"]), "full a=2 c=1 -b");
}

#[test]
fn a_sync_from_before_a_forgotten_deletion_is_full() {
    let session = session(Windows { deleted_names: 0, ..Windows::default() });
    assert_eq!(shown(&session.state().sync(Some(3), &["a", "b"], &[])), "full a=2 -b");
    assert_eq!(shown(&session.state().sync(Some(4), &["a", "b"], &[])), "part");
    assert_eq!(shown(&session.state().sync_matching(Some(3), &Filter::default())), "full a=2 c=1");
}

#[test]
fn many_changes_are_told_like_few() {
    let mut session = session(Windows::default());
    let names: Vec<String> = (0..50).map(|n| format!("n{n:02}")).collect();
    let known = session.state().revision;
    session.write(names.iter().map(|name| operation(name, register(plain(Type::Integer), 7))).collect()).unwrap();
    session.act("n03", Action::Delete);
    let sync = session.state().sync(Some(known), &["a", "n01", "n03", "missing"], &["n02", "n01"]);
    assert_eq!(shown(&sync), "part n01=7 n02=7 -n03");
}

#[test]
fn a_filtered_sync_tells_what_matches() {
    let session = session(Windows::default());
    let sync = |known, filter: &Filter| shown(&session.state().sync_matching(known, filter));
    assert_eq!(sync(None, &Filter::default()), "full a=2 c=1");
    assert_eq!(sync(None, &Filter::new(["a", "b", "x"], "")), "full a=2 -b -x");
    assert_eq!(sync(None, &Filter::new(["b"], "[ac]*")), "full -b");
    assert_eq!(sync(None, &Filter::new(["b"], "?")), "full a=2 c=1 -b");
    assert_eq!(sync(Some(3), &Filter::default()), "part c=1 -b");
    assert_eq!(sync(Some(3), &Filter::new(["a"], "b*")), "part -b");
    assert_eq!(sync(Some(5), &Filter::default()), "part");
}
