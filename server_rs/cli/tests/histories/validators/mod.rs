//! What a watch of every change promises, in etcd's words, one function each. `log` is what truly happened, from
//! revision 2 on; `last` is the revision up to which the watch had to be told. That what it tells is also right, and
//! never too early, is the checker's business.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use snakepit_proto::v1::Change;

use crate::{
    checker::same_change,
    history::{End, Event, Message, Violation, Watch},
};

/// All six promises.
pub fn validate(watch: &Watch, log: &[Event], last: u64) -> Vec<Violation> {
    let found = [
        ordered(watch),
        unique(watch),
        reliable(watch, log, last),
        atomic(watch, log),
        resumable(watch, log),
        bookmarkable(watch, log),
    ];
    found.into_iter().flatten().collect()
}

/// The events of the log that this watch has to be told of, and what of them.
fn due<'a>(watch: &'a Watch, log: &'a [Event], after: u64) -> impl Iterator<Item = (u64, Vec<&'a Change>)> {
    let wanted = |change: &&Change| watch.wants(name(change));
    let matching = move |event: &'a Event| event.changes.iter().filter(wanted).collect::<Vec<_>>();
    let later = log.iter().filter(move |event| event.revision > after);
    later.map(move |event| (event.revision, matching(event))).filter(|(_, changes)| !changes.is_empty())
}

fn name(change: &Change) -> &str {
    change.variable.as_ref().map_or("", |variable| &variable.name)
}

/// Events are ordered by revision: none is told after a later one.
pub fn ordered(watch: &Watch) -> Option<Violation> {
    let mut newest = 0;
    for (revision, changes) in watch.delivered() {
        if revision < newest {
            return Some(
                Violation::new("ordered", format!("{revision} was told after {newest}")).at(revision).at(newest),
            );
        }
        newest = revision;
        if let Some(other) = changes.iter().filter_map(|it| it.variable.as_ref()).find(|it| it.revision != revision) {
            let text = format!("{} as of revision {} was told under {revision}", other.name, other.revision);
            return Some(Violation::new("ordered", text).at(revision).at(other.revision));
        }
    }
    None
}

/// An event is told once, however often the watch was resumed; what the state it began with contained, never.
pub fn unique(watch: &Watch) -> Option<Violation> {
    let mut told = BTreeSet::new();
    let start = watch.start().unwrap_or_default();
    for (revision, changes) in watch.delivered() {
        if revision <= start {
            let text = format!("{revision} was told, although the watch began there or later, at {start}");
            return Some(Violation::new("unique", text).at(revision));
        }
        let mut names = BTreeSet::new();
        let twice = changes.iter().filter_map(|it| it.variable.as_ref()).find(|it| !names.insert(&it.name));
        if let Some(variable) = twice {
            let text = format!("{} changed twice in revision {revision}", variable.name);
            return Some(Violation::new("unique", text).at(revision));
        }
        if !told.insert(revision) {
            return Some(Violation::new("unique", format!("{revision} was told twice")).at(revision));
        }
    }
    None
}

/// No event is missing between the first and the last, what is told is what happened, and in the end all is told.
pub fn reliable(watch: &Watch, log: &[Event], last: u64) -> Option<Violation> {
    let mut due: BTreeSet<u64> =
        due(watch, log, watch.start().unwrap_or_default()).map(|(revision, _)| revision).collect();
    for (revision, changes) in watch.delivered().filter(|(revision, _)| *revision <= last) {
        // What is told twice is not unique; what the watch began with, neither.
        let index = usize::try_from(revision).ok().and_then(|revision| revision.checked_sub(2));
        let Some(event) = index.and_then(|index| log.get(index)) else {
            return Some(Violation::new("reliable", format!("{revision} was told, but never was")).at(revision));
        };
        for change in changes {
            let happened = event.changes.iter().find(|it| name(it) == name(change));
            if !happened.is_some_and(|happened| same_change(happened, change)) {
                let text = format!("of {revision} was told {change:?}, it was {happened:?}");
                return Some(Violation::new("reliable", text).at(revision));
            }
        }
        due.remove(&revision);
    }
    let ended = watch.streams.last().map_or_else(|| "never opened".into(), |stream| format!("ended {:?}", stream.end));
    if let Some(missing) = due.first().filter(|revision| **revision <= last) {
        let text = format!("{missing} was never told; the watch {ended}, having been told up to {}", watch.bookmark());
        return Some(Violation::new("reliable", text).at(*missing));
    }
    let behind = watch.bookmark();
    (behind < last).then(|| {
        Violation::new("reliable", format!("the watch {ended} at {behind}, and was never told that {last} is the last"))
            .at(last)
    })
}

/// A revision is told whole, in one message, in the order of its operations.
pub fn atomic(watch: &Watch, log: &[Event]) -> Option<Violation> {
    let due: BTreeMap<u64, Vec<&Change>> = due(watch, log, 0).collect();
    for (revision, changes) in watch.delivered() {
        let told: Vec<_> = changes.iter().map(name).collect();
        let whole: Option<Vec<_>> = due.get(&revision).map(|changes| changes.iter().map(|it| name(it)).collect());
        if whole.as_ref().is_some_and(|whole| *whole != told) {
            let text = format!("of {revision} were told {told:?} in one message, it changed {whole:?}");
            return Some(Violation::new("atomic", text).at(revision));
        }
    }
    let partial = watch.messages().find(|message| message.message.partial);
    partial.map(|it| Violation::new("atomic", "a small message was sent in parts").at(it.revision()))
}

/// A watch goes on where it was interrupted: it is not refused, does not begin anew, and the first change it tells is
/// the first one after the revision that it resumes from.
pub fn resumable(watch: &Watch, log: &[Event]) -> Option<Violation> {
    for stream in &watch.streams {
        if let End::Refused(refusal) = &stream.end {
            let text = format!("a watch from {} was refused: {refusal:?}", stream.known);
            return Some(Violation::new("resumable", text).at(stream.known));
        }
        if stream.known == 0 {
            continue;
        }
        if let Some(snapshot) = stream.messages.iter().find(|message| message.snapshot().is_some()) {
            let text = format!("a watch from {} began anew, at {}", stream.known, snapshot.revision());
            return Some(Violation::new("resumable", text).at(stream.known));
        }
        let first = stream.messages.iter().find(|message| message.changes().is_some()).map(Message::revision);
        let next = due(watch, log, stream.known).map(|(revision, _)| revision).next();
        if let (Some(first), Some(next)) = (first, next)
            && first != next
        {
            let text = format!("a watch from {} went on with {first}, the next one is {next}", stream.known);
            return Some(Violation::new("resumable", text).at(first).at(next));
        }
    }
    None
}

/// A sign of life at a revision means that all up to it has been told: nothing of it comes later, and the next one
/// does not go back.
pub fn bookmarkable(watch: &Watch, log: &[Event]) -> Option<Violation> {
    let mut due: BTreeSet<u64> = due(watch, log, watch.start()?).map(|(revision, _)| revision).collect();
    let mut bookmark = 0;
    for message in watch.messages() {
        let revision = message.revision();
        if message.changes().is_some() {
            due.remove(&revision);
            if revision <= bookmark {
                let text = format!("{revision} was told after a sign of life at {bookmark}");
                return Some(Violation::new("bookmarkable", text).at(revision).at(bookmark));
            }
        } else if message.is_heartbeat() {
            if let Some(missing) = due.first().filter(|missing| **missing <= revision) {
                let text = format!("a sign of life at {revision} came before {missing} was told");
                return Some(Violation::new("bookmarkable", text).at(revision).at(*missing));
            }
            if revision < bookmark {
                let text = format!("a sign of life at {revision} came after one at {bookmark}");
                return Some(Violation::new("bookmarkable", text).at(revision).at(bookmark));
            }
            bookmark = revision;
        }
    }
    None
}

/// A watch of the latest state may leave changes out, but never goes back, is never refused, and ends with the last
/// state. That what it tells is right is the checker's business.
pub fn latest(watch: &Watch, last: u64) -> Option<Violation> {
    let refused = watch.streams.iter().find_map(|stream| match &stream.end {
        End::Refused(refusal) => Some((stream.known, refusal)),
        End::Done | End::Lost | End::Stuck => None,
    });
    if let Some((known, refusal)) = refused {
        return Some(Violation::new("resumable", format!("a watch from {known} was refused: {refusal:?}")).at(known));
    }
    let mut newest = 0;
    for message in watch.messages() {
        let revision = message.revision();
        if revision < newest {
            return Some(Violation::new("ordered", format!("{revision} was told after {newest}")).at(revision));
        }
        newest = revision;
    }
    let text = format!("the watch ended at {newest}, and was never told of the last state, {last}");
    (watch.bookmark() < last).then(|| Violation::new("reliable", text).at(last))
}
