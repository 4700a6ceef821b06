//! What a session has to do, as the contract says it: plain maps, everything kept. Shares nothing with the server but
//! the messages of the protocol.

mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prost_types::Timestamp;
use snakepit_proto::v1::{
    Author, Change, ChangeKind, Operation, OperationOutcome, Value, Variable, VariableSpec, VariableState,
    VariableVersion, operation::Action,
};

use crate::history::{Refusal, Synced, Write};
use values::{accepted, appended, sum};

/// Versions of a variable that are kept, for histories and rollbacks.
const HISTORY: usize = 100;

/// A session at one revision.
#[derive(Debug, Default)]
pub struct Model {
    pub revision: u64,
    held: BTreeMap<String, Variable>,
    /// All versions of a name, oldest first.
    past: BTreeMap<String, Vec<VariableVersion>>,
    /// The names that do not exist any more, and since when.
    deleted: BTreeMap<String, u64>,
    /// The writes that were committed under an idempotency key, and what they were answered.
    keys: BTreeMap<(String, String), Remembered>,
}

/// A write that was committed under a key, at which revision, and what it did.
type Remembered = (Arc<Write>, u64, Vec<OperationOutcome>);

/// What a write comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It changes something: the next event. When is the server's to say.
    Changes {
        changes: Vec<Change>,
        outcomes: Vec<OperationOutcome>,
    },
    /// It changes nothing.
    Nothing(Vec<OperationOutcome>),
    /// It was committed before.
    Repeat {
        revision: u64,
        outcomes: Vec<OperationOutcome>,
    },
    Refused(Refusal),
}

/// What one operation comes to.
struct Step {
    version: u64,
    reported: Option<Value>,
    change: Option<(ChangeKind, Option<(VariableSpec, Value)>)>,
}

impl Model {
    /// A session that has just been created.
    pub fn new() -> Self {
        Self { revision: 1, ..Self::default() }
    }

    /// What this write would come to now.
    pub fn verdict(&self, write: &Write) -> Verdict {
        let key = (write.author.clone(), write.key.clone());
        if let Some((original, revision, outcomes)) = self.keys.get(&key).filter(|_| !write.key.is_empty()) {
            return if **original == *write {
                Verdict::Repeat { revision: *revision, outcomes: outcomes.clone() }
            } else {
                Verdict::Refused(Refusal::of("INVALID_REQUEST", [("field", "idempotency_key")]))
            };
        }
        let (mut changes, mut outcomes, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, operation) in write.operations.iter().enumerate() {
            let step = if names.insert(&operation.name) {
                self.step(operation)
            } else {
                Err(Refusal::of("INVALID_REQUEST", [("field", "operations.name")]))
            };
            let Step { version, reported, change } = match step {
                Ok(step) => step,
                Err(mut refusal) => {
                    refusal.facts.insert("operation".into(), index.to_string());
                    return Verdict::Refused(refusal);
                }
            };
            let name = operation.name.clone();
            outcomes.push(OperationOutcome {
                name,
                changed: change.is_some(),
                version,
                value: reported,
                secret: false,
            });
            if let Some((kind, content)) = change {
                let (spec, value) = content.unzip();
                let variable = Variable {
                    name: operation.name.clone(),
                    spec,
                    value,
                    version,
                    revision: self.revision + 1,
                    updated_at: None,
                    updated_by: Some(Author { name: write.author.clone(), verified: false }),
                    reason: write.tag.clone(),
                    redacted: false,
                };
                changes.push(Change { kind: kind.into(), variable: Some(variable) });
            }
        }
        if changes.is_empty() { Verdict::Nothing(outcomes) } else { Verdict::Changes { changes, outcomes } }
    }

    fn step(&self, operation: &Operation) -> Result<Step, Refusal> {
        let name = operation.name.as_str();
        let current = self.held.get(name);
        let actual = current.map_or(0, |variable| variable.version);
        if let Some(expected) = operation.expected_version.filter(|expected| *expected != actual) {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            let facts = [("variable", name), ("expected", &*expected), ("actual", &*actual)];
            return Err(Refusal::of("VERSION_CONFLICT", facts));
        }
        let newest = self.past.get(name).and_then(|past| past.last()).map_or(0, |version| version.version);
        let action = operation.action.as_ref().unwrap();
        if let Action::Register(register) = action {
            let (spec, value) = (register.spec.clone().unwrap(), register.value.clone().unwrap());
            match current {
                Some(current) if !register.replace => {
                    return if current.spec.as_ref() == Some(&spec) {
                        Ok(Step { version: current.version, reported: None, change: None })
                    } else {
                        Err(Refusal::of("VARIABLE_EXISTS", [("variable", name)]))
                    };
                }
                _ => {}
            }
            let value = accepted(name, &spec, value)?;
            let same = current.filter(|it| it.spec.as_ref() == Some(&spec) && it.value.as_ref() == Some(&value));
            if let Some(same) = same {
                return Ok(Step { version: same.version, reported: None, change: None });
            }
            let change = Some((ChangeKind::Registered, Some((spec, value))));
            return Ok(Step { version: newest + 1, reported: None, change });
        }
        let Some(current) = current else { return Err(Refusal::of("VARIABLE_NOT_FOUND", [("variable", name)])) };
        let (spec, value) = (current.spec.as_ref().unwrap(), current.value.as_ref().unwrap());
        let (wanted, computed) = match action {
            Action::Register(_) | Action::Delete(_) => {
                return Ok(Step { version: newest + 1, reported: None, change: Some((ChangeKind::Deleted, None)) });
            }
            Action::Set(set) => (set.value.clone().unwrap(), false),
            Action::Increment(by) => (sum(name, value, by.amount.as_ref().unwrap())?, true),
            Action::Append(append) => (appended(name, value, &append.items)?, true),
            Action::Rollback(back) => (self.kept(name, back.version)?, true),
        };
        let wanted = accepted(name, spec, wanted)?;
        let reported = computed.then(|| wanted.clone());
        if wanted == *value {
            return Ok(Step { version: current.version, reported, change: None });
        }
        let change = Some((ChangeKind::Set, Some((spec.clone(), wanted))));
        Ok(Step { version: newest + 1, reported, change })
    }

    /// The value that a name had at a version, if it is kept.
    fn kept(&self, name: &str, version: u64) -> Result<Value, Refusal> {
        let past = self.past.get(name).map_or(&[][..], Vec::as_slice);
        let kept = &past[past.len().saturating_sub(HISTORY)..];
        let found = kept.iter().find(|it| it.version == version).and_then(|it| it.value.clone());
        found.ok_or_else(|| Refusal::of("INVALID_REQUEST", [("field", "version")]))
    }

    /// The next revision: these changes, of this write, at the time that the log says.
    pub fn apply(
        &mut self,
        write: &Arc<Write>,
        changes: &[Change],
        outcomes: &[OperationOutcome],
        at: Option<Timestamp>,
    ) {
        self.revision += 1;
        for change in changes {
            let variable = Variable { updated_at: at, ..change.variable.clone().unwrap() };
            let name = variable.name.clone();
            self.past.entry(name.clone()).or_default().push(VariableVersion {
                version: variable.version,
                revision: self.revision,
                kind: change.kind,
                value: variable.value.clone(),
                updated_at: at,
                updated_by: variable.updated_by.clone(),
                reason: variable.reason.clone(),
                redacted: false,
            });
            if change.kind() == ChangeKind::Deleted {
                self.held.remove(&name);
                self.deleted.insert(name, self.revision);
            } else {
                self.deleted.remove(&name);
                self.held.insert(name, variable);
            }
        }
        if !write.key.is_empty() {
            let key = (write.author.clone(), write.key.clone());
            self.keys.insert(key, (Arc::clone(write), self.revision, outcomes.to_vec()));
        }
    }

    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.held.get(name)
    }

    /// All variables, by name.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.held.values()
    }

    /// What a Sync says. `names` empty and no new ones: all there are, as a watch without a filter means it.
    pub fn sync(&self, known: u64, names: &[String], new_names: &[String]) -> Synced {
        let everything = names.is_empty() && new_names.is_empty();
        let asked: BTreeSet<&String> = names.iter().chain(new_names).collect();
        let wanted = |name: &String| everything || asked.contains(name);
        let in_full = |name: &String| known == 0 || new_names.contains(name);
        let changed = self.held.values().filter(|it| wanted(&it.name) && (in_full(&it.name) || it.revision > known));
        let gone = |name: &String| {
            !self.held.contains_key(name)
                && (in_full(name) && !everything
                    || self.deleted.get(name).is_some_and(|since| known > 0 && *since > known))
        };
        let candidates: BTreeSet<&String> =
            if everything { self.deleted.keys().collect() } else { asked.iter().copied().collect() };
        Synced {
            full: known == 0,
            changed: changed.map(state).collect(),
            absent: candidates.into_iter().filter(|name| gone(name)).cloned().collect(),
        }
    }

    /// The kept versions of a name, newest first; none if there never was one.
    pub fn versions(&self, name: &str) -> Option<Vec<VariableVersion>> {
        Some(self.past.get(name)?.iter().rev().take(HISTORY).cloned().collect())
    }
}

fn state(variable: &Variable) -> VariableState {
    VariableState {
        name: variable.name.clone(),
        value: variable.value.clone(),
        version: variable.version,
        revision: variable.revision,
        redacted: false,
        secret: false,
    }
}
