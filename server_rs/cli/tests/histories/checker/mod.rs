//! Says whether a history is linearizable, in O(n log n): each answer carries the revision it was computed at, and
//! each event the tag of the write that made it, so nothing has to be searched for.
//!
//! The rules:
//!
//! 1. **Dense.** The log, a watch from revision 1, has each revision up to the last one read once, in order, with
//!    times that never fall.
//! 2. **Exactly once.** Each event belongs to one write that was sent, no write has two. A write that was answered
//!    with a revision at which it changed something is the event of that revision. A write that has an event was
//!    answered so, or not at all; a refusal, or "not applied", of all its calls means that it has none.
//! 3. **Same as the model.** What the model makes of the write at the revision before is what the event says, and what
//!    the writer was told. What reads, Syncs, histories, refusals, no-ops, snapshots and the messages of a watch of the
//!    latest state say is what the model says at the revision they carry, to the letter. A repeat under an idempotency
//!    key is told what the original was told.
//! 4. **Real time.** Whatever began after another answer had arrived carries at least that one's revision; an event
//!    whose write was first sent then, a greater one. No answer carries a revision whose writes had not all been
//!    sent before it arrived. So a write that nobody knows the outcome of is applied inside its interval or not at all.
//! 5. **One life.** All answers carry the session's incarnation.
//!
//! Rules 1, 2 and 4 give an order of all writes and answers that agrees with real time, the revisions; rule 3 says that
//! the answers are those of a session that did one after another in this order. That is linearizability. Watches of
//! every change have promises of their own: see [`crate::validators`].

mod model_rules;
mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use model_rules::same_change;
use prost_types::Timestamp;

use crate::history::{Answer, Asked, Event, History, Said, Violation, Watch};

/// What is wrong with a history; nothing if it is linearizable. The first ones say the most.
pub fn check(history: &History) -> Vec<Violation> {
    let log = match log(history) {
        Ok(log) => log,
        Err(violation) => return vec![violation],
    };
    let mut found = one_life(history);
    found.extend(exactly_once(history, &log));
    found.extend(order::real_time(history, &log));
    found.extend(model_rules::same_as_the_model(history, &log));
    found
}

/// Rule 1: the events, from revision 2 on.
pub fn log(history: &History) -> Result<Vec<Event>, Violation> {
    let watch = history.watches.first().ok_or_else(|| Violation::new("dense", "nobody read the log"))?;
    let (mut events, mut newest) = (Vec::new(), None);
    for (revision, changes) in watch.delivered().filter(|(revision, _)| *revision <= history.last) {
        let next = events.len() as u64 + 2;
        if revision != next {
            return Err(Violation::new("dense", format!("the log has revision {revision} in the place of {next}"))
                .at(revision)
                .at(next));
        }
        let event = Event { revision, changes: changes.to_vec() };
        let time = time(&event);
        if time.is_none() || event.variables().any(|it| it.updated_at != event_time(&event)) || time < newest {
            let text = format!("revision {revision} was committed at {time:?}, the one before it at {newest:?}");
            return Err(Violation::new("dense", text).at(revision));
        }
        newest = time;
        events.push(event);
    }
    let length = events.len() as u64 + 1;
    if length < history.last {
        let text = format!("the log ends at revision {length}, but {} was read: {}", history.last, ending(watch));
        return Err(Violation::new("dense", text).at(length).at(history.last));
    }
    Ok(events)
}

fn ending(watch: &Watch) -> String {
    watch.streams.last().map_or_else(|| "no stream".into(), |stream| format!("{:?}", stream.end))
}

/// When it was committed.
pub fn event_time(event: &Event) -> Option<Timestamp> {
    event.variables().next().and_then(|variable| variable.updated_at)
}

fn time(event: &Event) -> Option<(i64, i32)> {
    event_time(event).map(|time| (time.seconds, time.nanos))
}

/// Rule 5.
fn one_life(history: &History) -> Vec<Violation> {
    let calls = history.calls.iter().filter_map(|call| match &call.told {
        Answer::At { revision, incarnation, .. } => Some((*revision, incarnation)),
        Answer::Unknown(_) | Answer::NotApplied(_) => None,
    });
    let messages = history.watches.iter().flat_map(Watch::messages);
    let watched = messages.map(|message| (message.revision(), &message.message.incarnation));
    let mut wrong = calls.chain(watched).filter(|(_, incarnation)| **incarnation != history.incarnation);
    let text = |life: &[u8]| format!("an answer is of the life {life:?}, the session of {:?}", history.incarnation);
    wrong.next().map(|(revision, life)| Violation::new("one life", text(life)).at(revision)).into_iter().collect()
}

/// How the calls of one write ended.
#[derive(Default)]
struct Fate {
    /// The revisions at which it was said to have changed something.
    changed: Vec<u64>,
    unknown: bool,
}

/// Rule 2.
fn exactly_once(history: &History, log: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut fates: BTreeMap<&str, Fate> = BTreeMap::new();
    for call in &history.calls {
        let Asked::Write(write) = &call.asked else { continue };
        let fate = fates.entry(&write.tag).or_default();
        match &call.told {
            Answer::At { revision, said: Said::Written(outcomes), .. } if outcomes.iter().any(|it| it.changed) => {
                fate.changed.push(*revision);
            }
            Answer::Unknown(_) => fate.unknown = true,
            Answer::At { .. } | Answer::NotApplied(_) => {}
        }
    }
    let mut applied: BTreeMap<&str, u64> = BTreeMap::new();
    for event in log {
        let (tag, revision) = (event.tag(), event.revision);
        if let Some(other) = event.variables().find(|variable| variable.reason != tag) {
            let text = format!("revision {revision} is of two writes, {tag} and {}", other.reason);
            found.push(Violation::new("exactly once", text).at(revision).of(tag).of(&other.reason));
        }
        if let Some(before) = applied.insert(tag, revision) {
            let text = format!("write {tag} was applied twice, at revisions {before} and {revision}");
            found.push(Violation::new("exactly once", text).at(before).at(revision).of(tag));
        }
        match fates.get(tag) {
            None => {
                let text = format!("revision {revision} is of a write that nobody sent: {tag:?}");
                found.push(Violation::new("exactly once", text).at(revision));
            }
            Some(fate) if fate.changed.is_empty() && !fate.unknown => {
                let text = format!("write {tag} is revision {revision}, but was refused or said to change nothing");
                found.push(Violation::new("exactly once", text).at(revision).of(tag));
            }
            Some(_) => {}
        }
    }
    for (tag, fate) in fates {
        for revision in fate.changed {
            if applied.get(tag) != Some(&revision) {
                let is = applied.get(tag).map_or("no event".to_owned(), |at| format!("revision {at}"));
                let text = format!("write {tag} was acknowledged at revision {revision}, but it is {is}");
                found.push(Violation::new("exactly once", text).at(revision).of(tag));
            }
        }
    }
    found
}
