//! What became of a log that was whole: each damage is told before SQLite takes it for the end, and what a power cut may
//! leave is not.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    tails::{Scene, put, scene},
    *,
};

const FRAME: usize = 4_120;
const HEADER: usize = 32;

fn all(scene: &Scene) -> [(&'static str, &[u8]); 3] {
    [("journal.db", &scene.journal), ("journal.db-wal", &scene.log), ("journal.db-mark", &scene.mark)]
}

/// Whether a start refuses the files because something is lost, and `check` says the same and changes nothing.
fn is_told(directory: &Path, files: &[(&str, &[u8])]) -> bool {
    put(directory, files);
    let content = |name: &str| fs::read(directory.join(name)).ok();
    let before: BTreeMap<_, _> = files.iter().map(|(name, _)| (*name, content(name))).collect();
    let told = !check(directory).unwrap().losses.is_empty();
    let opened = Disk::open(directory, &Windows::default());
    assert_eq!(opened.is_err(), told, "{opened:?}");
    if told {
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
        let after: BTreeMap<_, _> = files.iter().map(|(name, _)| (*name, content(name))).collect();
        assert!(before == after, "a check and a start that is refused change nothing");
    }
    told
}

/// A place in each part of each frame up to some length of the log, and in its header.
fn places(end: usize) -> impl Iterator<Item = usize> {
    let frames = (HEADER..end).step_by(FRAME);
    (8..HEADER).step_by(6).chain(frames.flat_map(|frame| [0, 5, 9, 17, 23, 24, 1_000, 4_119].map(|at| frame + at)))
}

#[test]
fn a_bit_that_turns_anywhere_in_a_log_is_told() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    for at in places(scene.log.len()) {
        let mut log = scene.log.clone();
        log[at] ^= 1;
        let files = [("journal.db", &*scene.journal), ("journal.db-wal", &log), ("journal.db-mark", &scene.mark)];
        assert!(is_told(&place.path().join("turned"), &files), "at byte {at} of {}", log.len());
    }
    assert!(!is_told(&place.path().join("turned"), &all(&scene)));
}

/// A power cut may take the mark, or leave an older one.
#[test]
fn a_bit_that_turns_before_the_last_two_groups_is_told_without_the_mark() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    let behind = scene.groups[scene.groups.len() - 3].0;
    for at in places(behind).filter(|at| *at >= HEADER) {
        let mut log = scene.log.clone();
        log[at] ^= 1;
        let files = [("journal.db", &*scene.journal), ("journal.db-wal", &log)];
        assert!(is_told(&place.path().join("turned"), &files), "at byte {at} of {}", log.len());
    }
}

/// Its commit frame among them: the group was not synced, so its frames arrived in any order.
#[test]
fn a_group_that_is_torn_in_front_of_valid_frames_is_a_tail() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    let groups = &scene.groups;
    let mut torn = 0;
    for (number, (end, _)) in groups.iter().enumerate().skip(1) {
        let begin = groups[number - 1].0;
        let sectors: Vec<usize> = (begin..*end).filter(|at| at % 512 == 0 || *at == begin).collect();
        for lost in &sectors {
            let mut log = scene.log[..*end].to_vec();
            let stop = (lost / 512 * 512 + 512).min(*end);
            log[*lost..stop].fill(0);
            let files = [("journal.db", &*scene.journal), ("journal.db-wal", &log)];
            assert!(!is_told(&place.path().join("torn"), &files), "group {number} without the sector at {lost}");
            torn += 1;
        }
    }
    assert!(torn > 40, "groups of several frames were torn");
}

#[test]
fn a_log_that_is_gone_or_cut_off_is_told() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    let directory = place.path().join("cut");
    let mark = ("journal.db-mark", &*scene.mark);
    assert!(is_told(&directory, &[("journal.db", &scene.journal), mark]), "missing");
    for length in [0, 1, 31, 32, 100, HEADER + FRAME, scene.log.len() / 2, scene.log.len() - 1] {
        let log = ("journal.db-wal", &scene.log[..length]);
        assert!(is_told(&directory, &[("journal.db", &scene.journal), log, mark]), "cut at {length}");
    }
}

#[test]
fn a_log_that_was_emptied_at_a_stop_needs_no_more_to_be_there() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    let directory = place.path().join("stopped");
    put(&directory, &all(&scene));
    drop(Disk::open(&directory, &Windows::default()).unwrap());
    assert_eq!(fs::metadata(directory.join("journal.db-wal")).unwrap().len(), 0);
    fs::remove_file(directory.join("journal.db-wal")).unwrap();
    assert_eq!(check(&directory).unwrap().losses, []);
    assert_eq!(Disk::open(&directory, &Windows::default()).unwrap().len(), 1);
}

#[test]
fn what_sqlite_would_take_for_a_new_journal_is_refused() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    let directory = place.path().join("part");
    let (log, mark) = (("journal.db-wal", &*scene.log), ("journal.db-mark", &*scene.mark));
    // As an older release left it: its tables are in the log.
    let empty = {
        let file = place.path().join("empty");
        let db = rusqlite::Connection::open(&file).unwrap();
        db.execute_batch("PRAGMA journal_mode = wal").unwrap();
        drop(db);
        fs::read(file).unwrap()
    };
    let parts: [&[(&str, &[u8])]; 6] = [
        &[("journal.db", b"")],
        &[("journal.db", b""), log],
        &[log],
        &[mark],
        &[("journal.db", &empty)],
        &[("journal.db-part", &scene.journal)],
    ];
    for files in parts {
        put(&directory, files);
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let opened = Disk::open(&directory, &Windows::default());
        assert!(matches!(opened, Err(OpenError::Incomplete { .. })), "{names:?}: {opened:?}");
        let checked = check(&directory);
        assert!(matches!(checked, Err(OpenError::Incomplete { .. })), "{names:?}: {checked:?}");
        assert!(matches!(export(&directory), Err(OpenError::Incomplete { .. })), "{names:?}");
        for (name, content) in files {
            assert_eq!(&fs::read(directory.join(name)).unwrap(), content, "{name} of {names:?}");
        }
    }
}

#[test]
fn a_start_that_was_cut_off_in_making_the_journal_makes_it() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new");
    put(&directory, &[("journal.db-new", b"half"), ("lock", b"")]);
    assert!(Disk::open(&directory, &Windows::default()).unwrap().is_empty());
}
