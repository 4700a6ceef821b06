use std::sync::Arc;

use proptest::prelude::*;

use crate::testing::commands::{content, run, steps, windows};
use crate::{
    config::Windows,
    session::{Behind, Body, Event, Slot, State, apply},
    testing::session::Session,
};

fn replayed(session: &Session, windows: &Windows) -> Vec<Slot> {
    let mut slot = Slot::Vacant;
    let step = |event: &Arc<Event>| {
        slot = apply(&session.id, &slot, event, windows);
        slot.clone()
    };
    session.events.iter().map(step).collect()
}

fn hash(slot: &Slot) -> Option<[u8; 32]> {
    match slot {
        Slot::Live(state) => Some(state.hash()),
        Slot::Vacant | Slot::Ended(_) => None,
    }
}

fn live(slot: &Slot) -> Option<&Arc<State>> {
    match slot {
        Slot::Live(state) => Some(state),
        Slot::Vacant | Slot::Ended(_) => None,
    }
}

proptest! {
    #[test]
    fn replaying_the_events_under_any_windows_gives_the_same_session(steps in steps(), windows in windows()) {
        let mut decided = Vec::new();
        let session = run(&steps, |_, _, session| {
            if decided.len() < session.events.len() {
                decided.push((hash(&session.slot), content(&session.slot), session.slot.position()));
            }
        });
        for windows in [&session.windows, &windows] {
            let again: Vec<_> = replayed(&session, windows);
            let again: Vec<_> = again.iter().map(|slot| (hash(slot), content(slot), slot.position())).collect();
            prop_assert_eq!(&again, &decided);
        }
    }

    #[test]
    fn every_change_changes_the_hash(steps in steps()) {
        let session = run(&steps, |_, _, _| ());
        let hashes: Vec<_> = replayed(&session, &session.windows).iter().filter_map(hash).collect();
        for (index, hash) in hashes.iter().enumerate() {
            prop_assert!(!hashes[..index].contains(hash));
        }
    }

    #[test]
    fn the_log_is_a_contiguous_run_of_the_newest_events(steps in steps(), windows in windows()) {
        let session = run(&steps, |_, _, _| ());
        let mut life: Vec<&Arc<Event>> = Vec::new();
        for (event, slot) in session.events.iter().zip(replayed(&session, &windows)) {
            if matches!(event.body, Body::Created { .. }) {
                life.clear();
            }
            life.push(event);
            let Some(state) = live(&slot) else { continue };
            for since in 0..state.revision + 2 {
                let expected = &life[usize::try_from(since).unwrap().min(life.len())..];
                match state.log_since(since) {
                    Ok(events) => prop_assert!(events.eq(expected.iter().copied())),
                    Err(Behind::Compacted { oldest }) => {
                        prop_assert!(since + 1 < oldest && oldest <= state.revision);
                        prop_assert!(state.log_since(oldest - 1).is_ok());
                    }
                    Err(Behind::Unheld) => prop_assert!(false, "all are held"),
                }
            }
            let kept = state.log_since(state.revision - 1).unwrap().count();
            prop_assert_eq!(kept, 1, "the newest is always kept");
            let kept = (0..state.revision).filter_map(|since| state.log_since(since).ok()).map(Iterator::count).max();
            prop_assert!(kept <= Some(windows.log_events.max(1)));
        }
    }

    #[test]
    fn a_history_is_the_newest_part_of_the_whole_one(steps in steps(), windows in windows()) {
        let session = run(&steps, |_, _, _| ());
        let endless = Windows { history_versions: usize::MAX, history_bytes: u64::MAX, ..Windows::default() };
        for (whole, part) in replayed(&session, &endless).iter().zip(replayed(&session, &windows)) {
            let (Some(whole), Some(part)) = (live(whole), live(&part)) else { continue };
            for name in crate::testing::commands::NAMES {
                let Some(kept) = part.history(name) else {
                    prop_assert!(part.variable(name).is_none());
                    continue;
                };
                let (kept, all): (Vec<_>, Vec<_>) = (kept.collect(), whole.history(name).unwrap().collect());
                prop_assert!((1..=windows.history_versions.max(1)).contains(&kept.len()));
                prop_assert_eq!(&kept[..], &all[..kept.len()]);
                if let Some(variable) = part.variable(name) {
                    prop_assert_eq!((kept[0].version, kept[0].value.as_ref()), (variable.version, Some(&variable.value)));
                }
            }
        }
    }
}
