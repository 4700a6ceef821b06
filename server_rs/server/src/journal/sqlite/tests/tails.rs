//! What a power cut leaves at the end of the log: torn frames, and frames that were never written.

use std::{fs, path::Path, sync::Arc};

use snakepit_core::{
    session::Slot,
    testing::session::{Session, plain, register, set},
};

use super::*;

/// A journal's files as they are at this moment, and what they may be expected to hold.
pub(super) struct Scene {
    pub(super) journal: Vec<u8>,
    pub(super) log: Vec<u8>,
    pub(super) mark: Vec<u8>,
    /// How long the log was after each group, and the session's revision then.
    pub(super) groups: Vec<(usize, u64)>,
}

pub(super) fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(directory.path(), &Windows::default()).unwrap();
    let (mut session, mut groups) = (Session::live(), Vec::new());
    session.act("n", register(plain(snakepit_core::variable::Type::String), ""));
    let mut sent = 0;
    for turn in 0..6 {
        // Groups of one page, and of several.
        session.act("n", set(&*turn.to_string().repeat(1 + turn % 2 * 9_000)));
        let group: Vec<_> = session.events[sent..]
            .iter()
            .map(|event| Append { session: session.id.clone(), event: Arc::clone(event), after: session.slot.clone() })
            .collect();
        sent = session.events.len();
        commit(&mut disk, &group).unwrap();
        let length = fs::metadata(directory.path().join("journal.db-wal")).unwrap().len();
        groups.push((usize::try_from(length).unwrap(), session.state().revision));
    }
    let read = |name| fs::read(directory.path().join(name)).unwrap();
    Scene { journal: read("journal.db"), log: read("journal.db-wal"), mark: read("journal.db-mark"), groups }
}

/// A directory with these files alone.
pub(super) fn put(directory: &Path, files: &[(&str, &[u8])]) {
    let _new = fs::remove_dir_all(directory);
    fs::create_dir(directory).unwrap();
    for (name, content) in files {
        fs::write(directory.join(name), content).unwrap();
    }
}

/// The revision of the one session in a journal of these files; none if there is no session.
fn revision(directory: &Path, journal: &[u8], log: &[u8]) -> Option<u64> {
    put(directory, &[("journal.db", journal), ("journal.db-wal", log)]);
    let recovered = Disk::open(directory, &Windows::default()).unwrap().recovered();
    recovered.first().map(|kept| match &kept.slot {
        Slot::Live(state) => state.revision,
        slot => panic!("{slot:?}"),
    })
}

/// The lengths at which the last two groups can be cut: everywhere near the edges of frames, and here and there between.
fn cuts(scene: &Scene) -> impl Iterator<Item = usize> {
    let (start, end) = (scene.groups[scene.groups.len() - 3].0, scene.log.len());
    (start..=end).filter(move |at| {
        let within = (at - 32) % 4_120;
        !(26..=4_094).contains(&within) || within.is_multiple_of(509)
    })
}

fn expected(scene: &Scene, whole: usize) -> Option<u64> {
    scene.groups.iter().rev().find(|(length, _)| *length <= whole).map(|(_, revision)| *revision)
}

#[test]
fn a_log_that_ends_anywhere_opens_with_all_groups_that_are_whole() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    for cut in cuts(&scene) {
        let found = revision(&place.path().join("torn"), &scene.journal, &scene.log[..cut]);
        assert_eq!(found, expected(&scene, cut), "cut at {cut} of {}", scene.log.len());
    }
}

#[test]
fn a_log_that_ends_in_garbage_opens_with_all_groups_before_it() {
    let (scene, place) = (scene(), tempfile::tempdir().unwrap());
    for cut in cuts(&scene).filter(|cut| *cut < scene.log.len()) {
        let mut torn = scene.log.clone();
        torn[cut..].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31) ^ 0x5a);
        let found = revision(&place.path().join("torn"), &scene.journal, &torn);
        assert_eq!(found, expected(&scene, cut), "garbage from {cut} of {}", scene.log.len());
    }
}
