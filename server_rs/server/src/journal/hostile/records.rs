//! Records whose bytes are not what was written, though their checksum says so: another program's, or a forger's.

use std::sync::Arc;

use proptest::{prelude::*, sample::Index};
use snakepit_core::{
    session::{Body, Event, Original, Slot, VersionRecord, apply},
    testing::{
        commands::{run, steps, windows},
        fuzz::{config, harmed},
        session::Session,
        whole,
    },
    variable::Spec,
};

use crate::journal::record::{Ended, Life, Record};

/// What a record is written as is read as the same; so reading twice is reading once.
fn settles<R: Record>(bytes: &[u8]) -> bool {
    let Ok(record) = R::decode(bytes) else { return false };
    let written = record.encode();
    assert_eq!(R::decode(&written).map(|again| again.encode()).ok(), Some(written));
    true
}

/// Encoded records.
type Records = Vec<Vec<u8>>;

/// The encoded events of a session, and of what else a journal has records.
fn records() -> BoxedStrategy<(Records, Records)> {
    steps()
        .prop_map(|steps| {
            let mut others = Vec::new();
            let session = run(&steps, |_, _, session| {
                let Slot::Live(state) = &session.slot else { return };
                if !others.is_empty() && session.events.len() % 4 != 0 {
                    return;
                }
                others.push(Life::of(state).encode());
                others.extend(state.variables().map(|variable| variable.spec.encode()));
                let histories = state.variables().filter_map(|variable| state.history(&variable.name));
                others.extend(histories.flatten().map(|record| record.encode()));
                others.extend(state.remembered().map(|original| original.encode()));
            });
            (session.events.iter().map(|event| event.encode()).collect(), others)
        })
        .boxed()
}

/// One of these, harmed.
fn harmed_one(records: Vec<Vec<u8>>) -> BoxedStrategy<Vec<u8>> {
    harmed(prop::sample::select(records)).boxed()
}

/// How many harmed events one case replays.
const HARMED: u32 = 8;

/// A session's events with some of them harmed, and other harmed records.
fn journals() -> BoxedStrategy<(Records, Records)> {
    records()
        .prop_flat_map(|(events, others)| {
            let count = HARMED as usize;
            let harmed = prop::collection::vec((any::<Index>(), harmed_one(events.clone())), count);
            let events = harmed.prop_map(move |harmed| {
                let mut events = events.clone();
                for (place, event) in harmed {
                    let place = place.index(events.len());
                    events[place] = event;
                }
                events
            });
            (events, prop::collection::vec(harmed_one(others), count))
        })
        .boxed()
}

proptest! {
    #![proptest_config(config(250, HARMED))]

    #[test]
    fn whatever_events_are_read_replay_to_a_whole_session(
        (events, _) in journals(), windows in windows(), after in steps(),
    ) {
        let mut session = Session { windows: windows.clone(), ..Session::vacant() };
        let mut next = 1;
        for event in events {
            settles::<Event>(&event);
            let Ok(mut event) = Event::decode(&event) else { continue };
            // An event of another revision than the next one is told as a loss, and not applied.
            event.position.revision = if matches!(event.body, Body::Created { .. }) { 1 } else { next };
            next = event.position.revision + 1;
            session.slot = apply(&session.id, &session.slot, &Arc::new(event), &windows);
            if let Slot::Live(state) = &session.slot {
                whole::check(state);
                assert_eq!(Life::decode(&Life::of(state).encode()).unwrap(), Life::of(state));
            }
        }
        // And life goes on from there.
        session.now = session.now.max(match &session.slot {
            Slot::Live(state) => state.last_event,
            Slot::Vacant | Slot::Ended(_) => session.now,
        });
        for step in after.iter().take(12) {
            session.admin = step.admin;
            drop(session.run(&step.command));
            if let Slot::Live(state) = &session.slot {
                whole::check(state);
            }
        }
    }

    #[test]
    fn whatever_rows_are_read_are_written_as_they_are(( _, others) in journals()) {
        for bytes in others {
            settles::<Life>(&bytes);
            settles::<Ended>(&bytes);
            settles::<Spec>(&bytes);
            settles::<VersionRecord>(&bytes);
            settles::<Original>(&bytes);
            // A damaged row of one table may be a whole row of another; what restores from them is tested with files.
        }
    }
}
