//! Rule 3: everything is as the model says.

use std::{collections::BTreeMap, sync::Arc};

use snakepit_proto::v1::{Change, ChangeKind, OperationOutcome, Variable};

use super::event_time;
use crate::{
    history::{Answer, Asked, Call, Event, History, Refusal, Said, Synced, Violation, Watch, Write},
    model::{Model, Verdict},
    report,
};

/// Something that was said of the session at a revision.
enum Statement<'a> {
    Call(usize, &'a Call, &'a Said),
    /// The state that a watch of every change began with.
    Snapshot(usize, &'a Watch, &'a [Variable]),
    /// What a watch of the latest state was told, knowing so much.
    Latest(usize, &'a Watch, u64, Synced),
}

/// The model at a revision, and the event that led there.
struct At<'a> {
    model: Model,
    newest: Option<(&'a str, Vec<OperationOutcome>)>,
}

/// Sweeps over the revisions; at each, the model has to agree with whatever carries it.
pub fn same_as_the_model(history: &History, log: &[Event]) -> Vec<Violation> {
    let mut said: BTreeMap<u64, Vec<Statement<'_>>> = BTreeMap::new();
    for (index, call) in history.calls.iter().enumerate() {
        if let Answer::At { revision, said: what, .. } = &call.told {
            said.entry(*revision).or_default().push(Statement::Call(index, call, what));
        }
    }
    for (index, watch) in history.watches.iter().enumerate() {
        for (revision, statement) in statements(index, watch) {
            said.entry(revision).or_default().push(statement);
        }
    }
    let writes: BTreeMap<&str, &Arc<Write>> = history
        .calls
        .iter()
        .filter_map(|call| match &call.asked {
            Asked::Write(write) => Some((&*write.tag, write)),
            Asked::Get { .. } | Asked::Sync { .. } | Asked::Versions { .. } | Asked::List { .. } => None,
        })
        .collect();
    let mut found = Vec::new();
    let mut at = At { model: Model::new(), newest: None };
    for event in [None].into_iter().chain(log.iter().map(Some)) {
        if let Some(event) = event {
            // A write that nobody sent is reported by rule 2; from here on the model knows nothing.
            let Some(write) = writes.get(event.tag()) else { return found };
            match take(&mut at.model, write, event) {
                Ok(outcomes) => at.newest = Some((&write.tag, outcomes)),
                Err(violation) => {
                    found.push(violation);
                    return found;
                }
            }
        }
        for statement in said.remove(&at.model.revision).unwrap_or_default() {
            found.extend(differs(&at, &statement));
        }
    }
    // Of a watch that went on after the last read there may be more to tell.
    for (revision, statements) in said {
        let calls = statements.iter().filter_map(|it| match it {
            Statement::Call(index, ..) => Some(index),
            Statement::Snapshot(..) | Statement::Latest(..) => None,
        });
        let text = |index| format!("call {index} is at revision {revision}, which the session does not have");
        found.extend(calls.map(|index| Violation::new("model", text(index)).at(revision)));
    }
    found
}

fn statements(index: usize, watch: &Watch) -> Vec<(u64, Statement<'_>)> {
    let mut statements = Vec::new();
    for stream in &watch.streams {
        let mut known = stream.known;
        for message in &stream.messages {
            if let Some(variables) = message.snapshot() {
                statements.push((message.revision(), Statement::Snapshot(index, watch, variables)));
            }
            if watch.latest {
                // A sign of life says that nothing changed.
                let sync = message.latest().unwrap_or_default();
                statements.push((message.revision(), Statement::Latest(index, watch, known, sync)));
            }
            known = message.revision();
        }
    }
    statements
}

/// Takes an event into the model, if it is what the model makes of the write. Gives what its writer has to be told.
fn take(model: &mut Model, write: &Arc<Write>, event: &Event) -> Result<Vec<OperationOutcome>, Violation> {
    let wrong = |text: String| Violation::new("model", text).at(event.revision).of(&write.tag);
    let (changes, outcomes) = match model.verdict(write) {
        Verdict::Changes { changes, outcomes } => (changes, outcomes),
        verdict @ (Verdict::Nothing(_) | Verdict::Repeat { .. } | Verdict::Refused(_)) => {
            let text = format!("revision {} is write {}, which had to be {verdict:?}", event.revision, write.tag);
            return Err(wrong(text));
        }
    };
    if !same_changes(&changes, &event.changes) {
        let (is, wanted) = (report::changes(&event.changes), report::changes(&changes));
        return Err(wrong(format!("revision {} is {is}, write {} makes {wanted}", event.revision, write.tag)));
    }
    model.apply(write, &changes, &outcomes, event_time(event));
    Ok(outcomes)
}

/// Whether this is the change. The model does not know when, and a watch may leave out the spec of what was set, if it
/// is no longer known.
pub fn same_change(expected: &Change, change: &Change) -> bool {
    let (Some(wanted), Some(is)) = (&expected.variable, &change.variable) else { return false };
    let set = change.kind() == ChangeKind::Set;
    let same_time = wanted.updated_at.is_none() || wanted.updated_at == is.updated_at;
    let same_spec = set && (is.spec.is_none() || wanted.spec.is_none()) || wanted.spec == is.spec;
    let rest = |it: &Variable| {
        (it.name.clone(), it.version, it.revision, it.updated_by.clone(), it.reason.clone(), it.redacted)
    };
    expected.kind == change.kind && same_time && same_spec && wanted.value == is.value && rest(wanted) == rest(is)
}

fn same_changes(expected: &[Change], changes: &[Change]) -> bool {
    expected.len() == changes.len() && expected.iter().zip(changes).all(|(expected, it)| same_change(expected, it))
}

fn differs(At { model, newest }: &At<'_>, statement: &Statement<'_>) -> Option<Violation> {
    let revision = model.revision;
    let wrong = |text: String| Some(Violation::new("model", text).at(revision));
    match statement {
        Statement::Call(index, call, said) => {
            let expected = expected(model, newest.as_ref(), call, said)?;
            let text = format!(
                "call {index} was told {} at revision {revision}, where it is {}",
                report::said(said),
                report::said(&expected)
            );
            wrong(text).map(|it| if let Asked::Write(write) = &call.asked { it.of(&write.tag) } else { it })
        }
        Statement::Snapshot(index, watch, variables) => {
            let expected: Vec<_> = model.variables().filter(|it| watch.wants(&it.name)).cloned().collect();
            if expected == *variables {
                return None;
            }
            let (is, wanted) = (report::variables(variables), report::variables(&expected));
            wrong(format!("watch {index} began at revision {revision} with {is}, where the state is {wanted}"))
        }
        Statement::Latest(index, watch, known, sync) => {
            let expected = model.sync(*known, &watch.names, &[]);
            if expected == *sync {
                return None;
            }
            let (is, wanted) = (report::synced(sync), report::synced(&expected));
            wrong(format!("watch {index} was told {is} at revision {revision} after {known}, where it is {wanted}"))
        }
    }
}

/// What the call should have been told, if it was told something else.
fn expected(model: &Model, newest: Option<&(&str, Vec<OperationOutcome>)>, call: &Call, said: &Said) -> Option<Said> {
    let expected = match &call.asked {
        Asked::Write(write) => match said {
            Said::Written(outcomes) if outcomes.iter().any(|it| it.changed) => match newest {
                Some((tag, expected)) if *tag == write.tag => Said::Written(expected.clone()),
                // Rule 2 reports it.
                _ => return None,
            },
            _ => match model.verdict(write) {
                Verdict::Changes { outcomes, .. } | Verdict::Nothing(outcomes) | Verdict::Repeat { outcomes, .. } => {
                    Said::Written(outcomes)
                }
                Verdict::Refused(refusal) => Said::Refused(refusal),
            },
        },
        Asked::Get { names, allow_missing } => got(model, names, *allow_missing),
        Asked::Sync { known, .. } if *known > model.revision => {
            Said::Refused(Refusal::of("INVALID_REQUEST", [("field", "known_revision")]))
        }
        Asked::Sync { known, names, new_names } => Said::Synced(model.sync(*known, names, new_names)),
        Asked::List { after, size, .. } => {
            // What a token looks like is the server's business; whether there is one is not.
            let token = if let Said::Listed { token, .. } = said { token.clone() } else { None };
            let mut rest = model.variables().filter(|it| it.name > *after).cloned();
            let variables = rest.by_ref().take(usize::try_from(*size).unwrap_or(usize::MAX)).collect();
            let token = rest.next().map(|_| token.unwrap_or_default());
            Said::Listed { variables, token }
        }
        Asked::Versions { name } => match model.versions(name) {
            Some(versions) => Said::Versions(versions),
            None => Said::Refused(Refusal::of("VARIABLE_NOT_FOUND", [("variable", name)])),
        },
    };
    let agree = match (&expected, said) {
        (Said::Refused(expected), Said::Refused(refusal)) => refusal.says(expected),
        (expected, said) => expected == said,
    };
    (!agree).then_some(expected)
}

fn got(model: &Model, names: &[String], allow_missing: bool) -> Said {
    let (mut variables, mut absent) = (Vec::new(), Vec::new());
    for name in names {
        match model.variable(name) {
            Some(variable) => variables.push(variable.clone()),
            None if allow_missing => absent.push(name.clone()),
            None => return Said::Refused(Refusal::of("VARIABLE_NOT_FOUND", [("variable", name)])),
        }
    }
    Said::Got { variables, absent }
}
