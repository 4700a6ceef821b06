//! A session over a journal that is closed and opened again at any moment is the session that was never closed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;
use snakepit_core::{
    session::{Behind, Event, Slot, State},
    testing::{
        commands::{NAMES, Step, limits, steps, windows},
        session::Session,
    },
    variable::Timestamp,
};
use tempfile::TempDir;

use super::*;

/// All events of the log after a revision: those that are held, and before them those that the home has.
fn log(state: &State, home: Option<&Disk>, revision: u64) -> Result<Vec<Arc<Event>>, Behind> {
    match state.log_since(revision) {
        Ok(events) => Ok(events.cloned().collect()),
        Err(Behind::Unheld) => {
            let stored = home.unwrap().events().unwrap();
            let mut events = stored.after(&state.id, state.incarnation, revision).unwrap();
            let newest = events.last().unwrap().position.revision;
            events.extend(log(state, home, newest)?);
            Ok(events)
        }
        Err(compacted) => Err(compacted),
    }
}

/// Everything that can be asked of a slot, as text.
fn told(slot: &Slot, home: Option<&Disk>) -> BTreeMap<String, String> {
    let Slot::Live(state) = slot else { return BTreeMap::from([("slot".into(), format!("{slot:?}"))]) };
    let mut told = BTreeMap::from([
        ("position".into(), format!("{:?} {:?}", state.position(), state.hash())),
        ("bytes".into(), state.value_bytes().to_string()),
        ("windows".into(), format!("{:?} {}", state.forgotten(), state.oldest_event())),
        ("writes".into(), format!("{:?}", state.remembered().collect::<Vec<_>>())),
    ]);
    for revision in 0..state.revision + 2 {
        told.insert(format!("log since {revision}"), format!("{:?}", log(state, home, revision)));
        told.insert(format!("sync since {revision}"), format!("{:?}", state.sync(Some(revision), &NAMES, &[])));
    }
    for name in NAMES {
        let history = state.history(name).map(Iterator::collect::<Vec<_>>);
        told.insert(format!("history of {name}"), format!("{:?} {history:?}", state.variable(name)));
    }
    told
}

/// A session's home, and the directory that it is in.
struct Kept {
    directory: TempDir,
    disk: Option<Disk>,
    upkeep: Upkeep,
}

impl Kept {
    fn open(&mut self, windows: &Windows) -> Option<Slot> {
        drop(self.disk.take());
        let mut disk = Disk::open_with(self.directory.path(), windows, self.upkeep.clone()).unwrap();
        let mut recovered = disk.recovered();
        self.disk = Some(disk);
        assert!(recovered.len() <= 1);
        recovered.pop().map(|kept| kept.slot)
    }
}

/// What happens to the journal before a step.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// What was decided is committed.
    Commit,
    /// It is left for a greater group.
    Wait,
    /// It is committed, and the journal is opened anew.
    Reopen,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![6 => Just(Fate::Commit), 2 => Just(Fate::Wait), 1 => Just(Fate::Reopen)];
    prop::collection::vec(fate, 90)
}

fn upkeep() -> impl Strategy<Value = Upkeep> {
    (1_usize..12, 1_u64..3_000, 0_u64..30).prop_map(|(fold_events, fold_bytes, checkpoint_pages)| Upkeep {
        fold_events,
        fold_bytes,
        checkpoint_pages,
    })
}

/// What ended a day ago is forgotten, by the real clock.
fn now() -> Timestamp {
    Timestamp::default().after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

fn vacant(now: Timestamp, windows: &Windows) -> Session {
    Session { limits: limits(), now, windows: windows.clone(), ..Session::vacant() }
}

fn run(session: &mut Session, step: &Step) -> String {
    session.now.0 = session.now.0.checked_add_signed(step.passed * 1_000_000).unwrap();
    session.admin = step.admin;
    format!("{:?}", session.run(&step.command))
}

/// Runs the steps on a session that is kept and on one that is not; `each` is told both after each opening.
fn keep(
    steps: &[Step],
    fates: &[Fate],
    upkeep: Upkeep,
    windows: &[Windows],
    mut each: impl FnMut(&Session, &Disk, &Session, &str, &str),
) {
    let mut kept = Kept { directory: tempfile::tempdir().unwrap(), disk: None, upkeep };
    let (mut windows, mut group) = (windows.iter().cycle(), Vec::new());
    let mut opened = windows.next().unwrap();
    assert!(kept.open(opened).is_none());
    let now = now();
    let (mut alone, mut session) = (vacant(now, opened), vacant(now, opened));
    for (step, fate) in steps.iter().zip(fates.iter().cycle()) {
        let (expected, events) = (run(&mut alone, step), session.events.len());
        let answer = run(&mut session, step);
        for event in &session.events[events..] {
            let (event, after) = (std::sync::Arc::clone(event), session.slot.clone());
            group.push(Append { session: session.id.clone(), event, after });
        }
        if !matches!(fate, Fate::Wait) && !group.is_empty() {
            commit(kept.disk.as_mut().unwrap(), &std::mem::take(&mut group)).unwrap();
        }
        if matches!(fate, Fate::Reopen) {
            opened = windows.next().unwrap();
            session.slot = kept.open(opened).unwrap_or_default();
            session.windows = opened.clone();
        }
        each(&session, kept.disk.as_ref().unwrap(), &alone, &answer, &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_session_that_is_kept_answers_as_if_it_had_never_been_closed(
        steps in steps(), fates in fates(), upkeep in upkeep(), windows in windows(),
    ) {
        keep(&steps, &fates, upkeep, &[windows], |session, home, alone, answer, expected| {
            assert_eq!(answer, expected);
            assert_eq!(told(&session.slot, Some(home)), told(&alone.slot, None));
        });
    }

    #[test]
    fn opening_it_under_other_windows_gives_the_same_session(
        steps in steps(), fates in fates(), upkeep in upkeep(), windows in prop::collection::vec(windows(), 2..5),
    ) {
        let hash = |slot: &Slot| match slot {
            Slot::Live(state) => Some(State::hash(state)),
            _ => None,
        };
        let mut same = true;
        keep(&steps, &fates, upkeep, &windows, |session, _, alone, answer, expected| {
            // A write that one of them remembers, or a version that only one of them keeps, ends the comparison.
            same &= answer == expected;
            if same {
                assert_eq!(hash(&session.slot), hash(&alone.slot));
            }
        });
    }
}
