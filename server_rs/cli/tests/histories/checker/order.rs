//! Rule 4: the revisions agree with real time.

use std::collections::BTreeMap;

use crate::history::{Answer, Asked, Event, History, Said, Tick, Violation};

/// Something that was learnt of the session: at some moment it was at this revision.
struct Learnt {
    at: Tick,
    revision: u64,
    by: String,
}

/// What was known when, greatest revision so far.
struct Floor(Vec<Learnt>);

impl Floor {
    fn of(mut learnt: Vec<Learnt>) -> Self {
        learnt.sort_by_key(|it| it.at);
        let mut highest: Vec<Learnt> = Vec::new();
        for it in learnt {
            if highest.last().is_none_or(|last| last.revision < it.revision) {
                highest.push(it);
            }
        }
        Self(highest)
    }

    /// What whoever begins at this moment may not be behind.
    fn before(&self, moment: Tick) -> Option<&Learnt> {
        let after = self.0.partition_point(|it| it.at < moment);
        self.0[..after].last()
    }
}

pub fn real_time(history: &History, log: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut learnt = Vec::new();
    let mut first_sent: BTreeMap<&str, Tick> = BTreeMap::new();
    for (index, call) in history.calls.iter().enumerate() {
        if let Asked::Write(write) = &call.asked {
            let first = first_sent.entry(&write.tag).or_insert(call.began);
            *first = call.began.min(*first);
        }
        if let Answer::At { revision, .. } = &call.told {
            learnt.push(Learnt { at: call.ended, revision: *revision, by: format!("call {index}") });
        }
    }
    for (index, watch) in history.watches.iter().enumerate() {
        for message in watch.messages().filter(|message| message.revision() <= history.last) {
            learnt.push(Learnt { at: message.at, revision: message.revision(), by: format!("watch {index}") });
        }
    }
    found.extend(foresight(log, &first_sent, &learnt));
    let floor = Floor::of(learnt);
    let mut behind = |began: Tick, revision: u64, strictly: bool, what: String, tag: Option<&str>| {
        let Some(known) = floor.before(began) else { return };
        if revision < known.revision || strictly && revision == known.revision {
            let text = format!(
                "{what} is at revision {revision}, but before it began {} had been told of revision {}",
                known.by, known.revision
            );
            let violation = Violation::new("real time", text).at(revision).at(known.revision);
            found.push(match tag {
                Some(tag) => violation.of(tag),
                None => violation,
            });
        }
    };
    for (index, call) in history.calls.iter().enumerate() {
        let Answer::At { revision, said, .. } = &call.told else { continue };
        let tag = match &call.asked {
            Asked::Write(write) => Some(&*write.tag),
            Asked::Get { .. } | Asked::Sync { .. } | Asked::Versions { .. } | Asked::List { .. } => None,
        };
        // What changed something is an event: see below. A repeat of it carries the original's revision.
        let is_event = matches!(said, Said::Written(outcomes) if outcomes.iter().any(|it| it.changed));
        if !is_event {
            behind(call.began, *revision, false, format!("call {index}"), tag);
        }
    }
    for event in log {
        if let Some(first) = first_sent.get(event.tag()) {
            behind(*first, event.revision, true, format!("the event of write {}", event.tag()), Some(event.tag()));
        }
    }
    for (index, watch) in history.watches.iter().enumerate() {
        for stream in watch.streams.iter().filter(|stream| stream.known == 0) {
            if let Some(first) = stream.messages.first() {
                behind(
                    stream.opened,
                    first.revision(),
                    false,
                    format!("the state that watch {index} begins with"),
                    None,
                );
            }
        }
    }
    found
}

/// Nobody is told of a revision before all the writes up to it have been sent.
fn foresight(log: &[Event], first_sent: &BTreeMap<&str, Tick>, learnt: &[Learnt]) -> Vec<Violation> {
    let mut sent = Vec::with_capacity(log.len());
    let mut latest = 0;
    for event in log {
        latest = latest.max(first_sent.get(event.tag()).copied().unwrap_or_default());
        sent.push(latest);
    }
    let early = learnt.iter().filter(|it| {
        let index = usize::try_from(it.revision).unwrap_or_default().checked_sub(2);
        index.and_then(|index| sent.get(index)).is_some_and(|sent| *sent > it.at)
    });
    let text = |it: &Learnt| format!("{} was told of revision {} before its write was sent", it.by, it.revision);
    early.map(|it| Violation::new("real time", text(it)).at(it.revision)).collect()
}
