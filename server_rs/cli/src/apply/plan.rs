//! What has to change so that a session is as a file says.

use prost::Message as _;
use serde_json::{Value as Json, json};
use snakepit_proto::v1::{
    DeleteOperation, Operation, SetOperation, Value, Variable, VariableSpec, VariableType, operation::Action,
};

use crate::{apply::file::Declared, output::json as values, spec, typed::type_name, var::declared};

/// What is done with one variable.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// It is declared for the first time.
    Add,
    /// It is declared in another way; what is different.
    Redeclare(Vec<String>),
    /// It is given the file's value; what it has now.
    Set(Option<Value>),
    /// It is deleted: the file does not declare it.
    Delete,
    /// It stays, though the file has another value.
    KeepValue(Option<Value>),
    /// It stays, though the file does not declare it.
    KeepUndeclared,
    /// It is as the file says.
    Same,
}

/// A variable, and what is done with it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) step: Step,
    ty: VariableType,
    /// Whether its values are not to be shown.
    secret: bool,
    /// As the file has it; absent if the file does not.
    value: Option<Value>,
    operation: Option<Operation>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) set_values: bool,
    pub(super) prune: bool,
}

/// The steps from a session to a file, by name; a message for the user if one of them cannot be made.
pub(super) fn plan(file: Vec<Declared>, live: &[Variable], wanted: Wanted) -> Result<Vec<Item>, String> {
    let named = |name: &str| live.iter().find(|it| it.name == name);
    let mut items: Vec<Item> = Vec::new();
    for variable in live.iter().filter(|it| !file.iter().any(|declared| declared.name == it.name)) {
        let delete = Operation {
            name: variable.name.clone(),
            expected_version: Some(variable.version),
            action: Some(Action::Delete(DeleteOperation {})),
        };
        items.push(Item {
            name: variable.name.clone(),
            step: if wanted.prune { Step::Delete } else { Step::KeepUndeclared },
            ty: variable.spec.as_ref().map(VariableSpec::r#type).unwrap_or_default(),
            secret: true,
            value: None,
            operation: wanted.prune.then_some(delete),
        });
    }
    for declared in file {
        let live = named(&declared.name);
        items.push(item(declared, live, wanted)?);
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

fn item(Declared { name, spec, value }: Declared, live: Option<&Variable>, wanted: Wanted) -> Result<Item, String> {
    // What is a secret on either side is shown on neither.
    let secret = spec.secret || live.and_then(|live| live.spec.as_ref()).is_some_and(|spec| spec.secret);
    let operation = |expected, action| {
        Some(Operation { name: name.clone(), expected_version: Some(expected), action: Some(action) })
    };
    let (step, operation) = match live {
        None => (Step::Add, operation(0, declared(spec.clone(), value.clone(), false))),
        Some(live) if live.spec.as_ref() != Some(&spec) => {
            let stays = if wanted.set_values { Some(&value) } else { live.value.as_ref() };
            let stays = stays.cloned().ok_or_else(|| {
                format!(
                    "{name} is declared in another way, and its value is withheld from you, so it cannot be declared \
                     anew with it; ask as one who may read secrets, or give it the file's value with --set-values"
                )
            })?;
            let mut what = differences(live.spec.as_ref(), &spec);
            if wanted.set_values && !same(live.value.as_ref(), &value) {
                what.push(format!("value: {} -> {}", shown(live.value.as_ref(), secret), shown(Some(&value), secret)));
            }
            (Step::Redeclare(what), operation(live.version, declared(spec.clone(), stays, true)))
        }
        Some(live) if same(live.value.as_ref(), &value) => (Step::Same, None),
        Some(live) if wanted.set_values => {
            // What is read-only takes a value only with its declaration.
            let set = if spec.read_only {
                declared(spec.clone(), value.clone(), true)
            } else {
                Action::Set(SetOperation { value: Some(value.clone()) })
            };
            (Step::Set(live.value.clone()), operation(live.version, set))
        }
        Some(live) => (Step::KeepValue(live.value.clone()), None),
    };
    Ok(Item { name, step, ty: spec.r#type(), secret, value: Some(value), operation })
}

/// Bitwise: a NaN is the same as itself.
fn same(live: Option<&Value>, value: &Value) -> bool {
    live.is_some_and(|live| live.encode_to_vec() == value.encode_to_vec())
}

/// What the two say differently, each as `what: before -> after`.
fn differences(before: Option<&VariableSpec>, after: &VariableSpec) -> Vec<String> {
    let flat = |spec: &VariableSpec| {
        let mut said = serde_json::Map::new();
        for (key, value) in spec::of(spec).as_object().into_iter().flatten() {
            if key == "constraints" {
                for limits in value.as_object().into_iter().flat_map(|kinds| kinds.values()) {
                    said.extend(limits.as_object().cloned().unwrap_or_default());
                }
            } else {
                said.insert(key.clone(), value.clone());
            }
        }
        said
    };
    let (before, after) = (before.map(flat).unwrap_or_default(), flat(after));
    let word = |said: Option<&Json>| said.map_or_else(|| "none".to_owned(), ToString::to_string);
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed.map(|key| format!("{key}: {} -> {}", word(before.get(key)), word(after.get(key)))).collect()
}

/// A value, unless it is secret.
fn shown(value: Option<&Value>, secret: bool) -> String {
    match value {
        Some(_) | None if secret => "(secret)".to_owned(),
        Some(value) => values::of(value).to_string(),
        None => "(withheld)".to_owned(),
    }
}

impl Item {
    /// What is sent to do it.
    pub(super) fn operation(&self) -> Option<Operation> {
        self.operation.clone()
    }

    /// A line for people: a sign, and what is done. None: there is nothing to tell.
    pub(super) fn told(&self) -> Option<(char, String)> {
        let Self { name, secret, .. } = self;
        let ours = || shown(self.value.as_ref(), *secret);
        Some(match &self.step {
            Step::Add => ('+', format!("{name}: {} = {}", type_name(self.ty), ours())),
            Step::Redeclare(what) => ('~', format!("{name}: {}", what.join(", "))),
            Step::Set(live) => ('~', format!("{name}: value: {} -> {}", shown(live.as_ref(), *secret), ours())),
            Step::Delete => ('-', format!("{name}: not in the file")),
            Step::KeepValue(_) if *secret => return None,
            Step::KeepValue(live) => {
                let live = shown(live.as_ref(), *secret);
                (' ', format!("{name}: keeps {live}; the file has {} (--set-values sets it)", ours()))
            }
            Step::KeepUndeclared => (' ', format!("{name}: not in the file (--prune deletes it)")),
            Step::Same => return None,
        })
    }

    /// The same for programs.
    pub(super) fn as_json(&self) -> Json {
        let action = match self.step {
            Step::Add => "add",
            Step::Redeclare(_) => "redeclare",
            Step::Set(_) => "set",
            Step::Delete => "delete",
            Step::KeepValue(_) | Step::KeepUndeclared => "keep",
            Step::Same => "same",
        };
        json!({"name": self.name, "action": action, "what": self.told().map(|(_, what)| what)})
    }
}

#[cfg(test)]
mod tests {
    use snakepit_proto::v1::value::Kind;

    use super::*;

    const KEEP: Wanted = Wanted { set_values: false, prune: false };
    const SET: Wanted = Wanted { set_values: true, prune: false };

    fn text(text: &str) -> Value {
        Value { kind: Some(Kind::StringValue(text.into())) }
    }

    fn spec(secret: bool, description: &str) -> VariableSpec {
        let description = description.to_owned();
        VariableSpec { r#type: VariableType::String.into(), secret, description, ..VariableSpec::default() }
    }

    fn file(spec: VariableSpec) -> Vec<Declared> {
        vec![Declared { name: "key".into(), spec, value: text("the file's") }]
    }

    fn live(spec: VariableSpec, value: Option<Value>) -> [Variable; 1] {
        let redacted = value.is_none();
        [Variable { name: "key".into(), spec: Some(spec), value, version: 3, redacted, ..Variable::default() }]
    }

    #[test]
    fn a_value_that_is_withheld_is_never_replaced_unasked() {
        let current = live(spec(true, "before"), None);
        let problem = plan(file(spec(true, "after")), &current, KEEP).map(|_| ());
        assert!(problem.is_err_and(|problem| problem.contains("--set-values")));
        let items = plan(file(spec(true, "after")), &current, SET).unwrap_or_default();
        assert!(matches!(&items[..], [Item { step: Step::Redeclare(_), operation: Some(_), .. }]));
        let same = plan(file(spec(true, "before")), &current, KEEP).unwrap_or_default();
        assert!(matches!(&same[..], [Item { step: Step::KeepValue(None), operation: None, .. }]));
    }

    #[test]
    fn what_was_a_secret_or_becomes_one_is_not_shown() {
        for (before, after) in [(true, false), (false, true), (true, true)] {
            let current = live(spec(before, "a"), Some(text("hush")));
            for wanted in [KEEP, SET] {
                for item in plan(file(spec(after, "b")), &current, wanted).unwrap_or_default() {
                    let told = format!("{:?} {}", item.told(), item.as_json());
                    assert!(
                        told.contains("description") && !told.contains("hush") && !told.contains("file's"),
                        "{told}"
                    );
                }
            }
        }
    }
}
