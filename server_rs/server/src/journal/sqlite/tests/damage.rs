//! A journal whose file was damaged anywhere opens as it was, or it does not open and says why.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
    time::{SystemTime, UNIX_EPOCH},
};

use proptest::{prelude::*, sample::Index};
use snakepit_core::{
    session::{Action, Command, SessionId, Slot, apply},
    testing::{fuzz as hostile, session::*},
    variable::{Timestamp, Type},
};

use super::*;

/// The file of a closed journal, and what it holds.
struct Whole {
    bytes: Vec<u8>,
    holds: BTreeMap<String, String>,
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let upkeep = Upkeep { fold_events: 40, ..Upkeep::default() };
    let mut disk = Disk::open_with(directory.path(), &Windows::default(), upkeep).unwrap();
    for (index, id) in ["first", "ended", "large", "short"].into_iter().enumerate() {
        let mut session = Session { id: SessionId::parse(id).unwrap(), now: now(), ..Session::vacant() };
        session.run(&create(1)).unwrap();
        for turn in 0..[130, 20, 230, 7][index] {
            let (name, text) = (format!("v{}", turn % 23), format!("{turn}").repeat(20 + turn % 60));
            match (turn / 23, turn % 23) {
                (0, _) => drop(session.act(&name, register(plain(Type::String), &*text))),
                (5, 7) => drop(session.act(&name, Action::Delete)),
                (6.., 7) => drop(session.act("v1", set(&*text))),
                _ => drop(session.write_as(key(&turn.to_string(), 1), vec![operation(&name, set(&*text))])),
            }
        }
        if id == "ended" {
            session.run(&Command::Delete { incarnation: None }).unwrap();
        }
        let appends = session.events.iter().map(|event| {
            let (event, after) = (Arc::clone(event), session.slot.clone());
            Append { session: session.id.clone(), event, after }
        });
        // What the id stands for after each event is asked for by the writer.
        let mut slot = Slot::Vacant;
        for mut append in appends {
            slot = apply(&session.id, &slot, &append.event, &session.windows);
            append.after = slot.clone();
            commit(&mut disk, &[append]).unwrap();
        }
    }
    drop(disk);
    let bytes = fs::read(directory.path().join("journal.db")).unwrap();
    let holds = held(&mut Disk::open(directory.path(), &Windows::default()).unwrap());
    Whole { bytes, holds }
});

/// What ended a day ago is forgotten, by the real clock.
fn now() -> Timestamp {
    Timestamp::default().after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

/// All that can be asked of what was recovered: the answers by what was asked. An event that a watch would have to ask
/// the journal for is what it was, or it is said that it is lost.
fn held(disk: &mut Disk) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    let events = disk.events().unwrap();
    for Recovered { session, slot, .. } in disk.recovered() {
        let Slot::Live(state) = &slot else {
            held.insert(format!("{session}"), format!("{slot:?}"));
            continue;
        };
        let mut tell = |what: &str, answer: String| held.insert(format!("{what} of {session}"), answer);
        tell("state", format!("{:?} {:?} {}", state.position(), state.hash(), state.value_bytes()));
        tell("sync", format!("{:?} {:?}", state.forgotten(), state.sync(Some(100), &["v7", "v8"], &[])));
        tell("writes", format!("{:?}", state.remembered().collect::<Vec<_>>()));
        for name in (0..23).map(|name| format!("v{name}")) {
            let versions = state.history(&name).map(Iterator::collect::<Vec<_>>);
            tell(&name, format!("{:?} {versions:?}", state.variable(&name)));
        }
        let mut after = 0;
        while after < state.revision {
            let Ok(next) = events.after(&session, state.incarnation, after) else {
                after += 1;
                continue;
            };
            for event in &next {
                tell(&format!("event {}", event.position.revision), format!("{event:?}"));
            }
            after = next.last().map_or(state.revision, |event| event.position.revision);
        }
    }
    held
}

/// What differs.
fn differences(whole: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let lost = |what: &str| what.starts_with("event ") && !found.contains_key(what);
    let differs = |what: &&String| whole.get(*what) != found.get(*what) && !lost(what);
    whole.keys().chain(found.keys()).filter(differs).take(5).cloned().collect()
}

/// Something that happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    /// A bit turns.
    Turn(Index, u32),
    /// Something else is written to a place within a page.
    Overwrite(Index, Vec<u8>),
    /// The same near a page's beginning, where it says what is in it.
    Head(Index, usize, u8),
    /// A sector is empty.
    Zero(Index, usize),
    /// A page is where another should be.
    Misplace(Index, Index),
    /// The end is missing.
    Cut(Index),
}

/// The pages, counted from 0, that the two tables begin at which nothing counts the rows of: docs/reliability.md tells of
/// them.
static UNCOUNTED: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("journal.db");
    fs::write(&file, &WHOLE.bytes).unwrap();
    let db = rusqlite::Connection::open(file).unwrap();
    let mut roots = db.prepare("SELECT rootpage - 1 FROM sqlite_schema WHERE name IN ('touches', 'writes')").unwrap();
    roots.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
});

fn damage() -> BoxedStrategy<Damage> {
    let place = any::<Index>;
    prop_oneof![
        6 => (place(), 0..8_u32).prop_map(|(at, bit)| Damage::Turn(at, bit)),
        3 => (place(), prop::collection::vec(any::<u8>(), 1..70)).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        4 => (place(), 0..40_usize, any::<u8>()).prop_map(|(page, at, byte)| Damage::Head(page, at, byte)),
        1 => (place(), prop::sample::select(vec![512, 4_096])).prop_map(|(at, size)| Damage::Zero(at, size)),
        2 => (place(), place()).prop_map(|(from, to)| Damage::Misplace(from, to)),
        1 => place().prop_map(Damage::Cut),
    ]
    .boxed()
}

const PAGE: usize = 4_096;

impl Damage {
    fn done_to(&self, bytes: &mut Vec<u8>) {
        let (length, pages) = (bytes.len(), bytes.len() / PAGE);
        if pages == 0 {
            return;
        }
        match self {
            Self::Turn(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Overwrite(at, new) => {
                let at = at.index(length);
                let end = length.min(at + new.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
            Self::Head(page, at, byte) => bytes[page.index(pages) * PAGE + at] = *byte,
            Self::Zero(at, size) => {
                let at = at.index(length / size) * size;
                bytes[at..at + size].fill(0);
            }
            Self::Misplace(from, to) => {
                let (from, to) = (from.index(pages) * PAGE, to.index(pages) * PAGE);
                // A small table is one page. If that is now the page of an empty table, so is this one.
                if !UNCOUNTED.contains(&(to / PAGE)) {
                    bytes.copy_within(from..from + PAGE, to);
                }
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
}

/// Puts a journal of these bytes into a directory.
fn put(directory: &Path, bytes: &[u8]) {
    let _new = fs::remove_dir_all(directory);
    fs::create_dir(directory).unwrap();
    fs::write(directory.join("journal.db"), bytes).unwrap();
}

proptest! {
    #![proptest_config(hostile::config(10, 1))]

    #[test]
    fn a_damaged_file_is_told_or_does_no_harm(damages in prop::collection::vec(damage(), 1..4)) {
        let whole = &*WHOLE;
        let mut bytes = whole.bytes.clone();
        for damage in &damages {
            damage.done_to(&mut bytes);
        }
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("journal");
        put(&directory, &bytes);
        let told = check(&directory).map_or(true, |checked| !checked.losses.is_empty());
        match Disk::open(&directory, &Windows::default()) {
            Ok(mut disk) => {
                let differ = differences(&whole.holds, &held(&mut disk));
                prop_assert!(differ.is_empty(), "opened as another journal: {:?}; `data check` tells: {}", differ, told);
            }
            Err(error) => prop_assert!(told, "does not open ({error}), and `data check` finds nothing wrong"),
        }
        // What can be saved is saved, or it is said why not.
        drop(export(&directory));
    }
}

/// Found by the test above: with one byte of a pointer between pages, all rows behind it were gone, the newest events of
/// a session among them, and the journal opened without a word.
#[test]
fn a_page_that_leads_elsewhere_is_told() {
    const INTERIOR: u8 = 2;
    let mut inner = 0;
    for page in (PAGE..WHOLE.bytes.len()).step_by(PAGE).filter(|page| WHOLE.bytes[*page] == INTERIOR) {
        inner += 1;
        for other in 1..20 {
            let mut bytes = WHOLE.bytes.clone();
            let last = bytes[page + 11];
            bytes[page + 11] = last.wrapping_add(other);
            let place = tempfile::tempdir().unwrap();
            let directory = place.path().join("journal");
            put(&directory, &bytes);
            let opened = Disk::open(&directory, &Windows::default());
            assert!(opened.is_err(), "page {} leads to {other} pages further", page / PAGE);
        }
    }
    assert!(inner >= 3, "the journal has tables of several pages");
}

/// Found by the test above: a bit that turns in the key of a session's newest event leaves no gap in that session.
#[test]
fn rows_of_a_life_that_nothing_knows_of_are_told() {
    for (table, key) in [("events", "9"), ("history", "'v1', 2"), ("variables", "'v1'"), ("writes", "9")] {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("journal");
        put(&directory, &WHOLE.bytes);
        let db = rusqlite::Connection::open(directory.join("journal.db")).unwrap();
        db.execute(&format!("INSERT INTO {table} VALUES ('large', zeroblob(16), {key}, x'', 0)"), []).unwrap();
        drop(db);
        let told = check(&directory).unwrap().losses;
        assert!(told.iter().any(|loss| loss.session.as_deref() == Some("large")), "{table}: {told:?}");
        let opened = Disk::open(&directory, &Windows::default());
        // A start looks no further than it has to.
        assert_eq!(opened.is_err(), table == "events", "{table}");
    }
}
