use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::testing::commands::{NAMES, run, steps, windows};
use crate::{
    session::{Body, Change, ChangeKind, Event, Filter, Slot, State, Sync, apply},
    value::Value,
};

/// Name to version and value.
type Mirror = BTreeMap<String, (u64, Value)>;

fn mirror(state: &State, wanted: impl Fn(&str) -> bool) -> Mirror {
    let wanted = state.variables().filter(|it| wanted(&it.name));
    wanted.map(|it| (it.name.to_string(), (it.version, it.value.clone()))).collect()
}

fn merge(mirror: &mut Mirror, sync: &Sync) {
    if sync.full {
        mirror.clear();
    }
    for variable in &sync.changed {
        mirror.insert(variable.name.to_string(), (variable.version, variable.value.clone()));
    }
    for name in &sync.absent {
        assert!(sync.full || mirror.remove(name).is_some() || !mirror.contains_key(name));
    }
}

fn follow(mirror: &mut Mirror, event: &Event) {
    let Body::Written(changes) = &event.body else { return };
    for Change { name, version, kind } in changes.iter() {
        match kind {
            ChangeKind::Registered { value, .. } | ChangeKind::Set { value } => {
                mirror.insert(name.to_string(), (*version, value.clone()));
            }
            ChangeKind::Deleted => drop(mirror.remove(&**name)),
        }
    }
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    let known = [&NAMES[..], &["ghost"]].concat();
    let most = known.len();
    prop::sample::subsequence(known, 0..=most).prop_shuffle()
}

proptest! {
    #[test]
    fn a_mirror_that_syncs_from_any_revision_becomes_the_session(
        steps in steps(), windows in windows(), names in names(), new_names in names(), glob in "[a-c]?[*?]",
    ) {
        let session = run(&steps, |_, _, _| ());
        let filter = Filter::new(names.iter().copied(), &glob);
        let everyone: BTreeSet<&str> = names.iter().chain(&new_names).copied().collect();
        for windows in [&windows, &session.windows] {
            let (mut slot, mut past) = (Slot::Vacant, Vec::new());
            for event in &session.events {
                slot = apply(&session.id, &slot, event, windows);
                let Slot::Live(state) = &slot else { past.clear(); continue };
                past.push(state.clone());
                for known in &past {
                    let since = Some(known.revision);
                    let mut synced = mirror(known, |name| names.contains(&name));
                    let sync = state.sync(since, &names, &new_names);
                    merge(&mut synced, &sync);
                    prop_assert_eq!(synced, mirror(state, |name| everyone.contains(name)));
                    for variable in sync.changed.iter().filter(|_| !sync.full) {
                        prop_assert!(variable.revision > known.revision || new_names.contains(&&*variable.name));
                    }
                    prop_assert!(!sync.full || windows != &session.windows, "full only below the window");

                    let mut watched = mirror(known, |name| filter.matches(name));
                    merge(&mut watched, &state.sync_matching(since, &filter));
                    prop_assert_eq!(watched, mirror(state, |name| filter.matches(name)));

                    if let Ok(events) = state.log_since(known.revision) {
                        let mut followed = mirror(known, |_| true);
                        events.for_each(|event| follow(&mut followed, event));
                        prop_assert_eq!(followed, mirror(state, |_| true));
                    }
                }
                let first = state.sync(None, &names, &new_names);
                let told: Vec<&str> =
                    first.changed.iter().map(|it| &*it.name).chain(first.absent.iter().map(String::as_str)).collect();
                prop_assert!(first.full && told.len() == everyone.len());
                prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), everyone.clone());
            }
        }
    }

    #[test]
    fn a_deleted_name_is_told_to_everyone_who_knew_it(steps in steps(), windows in windows()) {
        let session = run(&steps, |_, _, _| ());
        let (mut slot, mut past) = (Slot::Vacant, Vec::new());
        for event in &session.events {
            slot = apply(&session.id, &slot, event, &windows);
            let Slot::Live(state) = &slot else { past.clear(); continue };
            past.push(state.clone());
            for known in &past {
                let gone = known.variables().filter(|it| state.variable(&it.name).is_none());
                let sync = state.sync(Some(known.revision), &NAMES, &[]);
                for variable in gone {
                    prop_assert!(sync.absent.iter().any(|name| **name == *variable.name));
                }
            }
        }
    }
}
