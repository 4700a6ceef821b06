//! What commands print: text for people, and with `--json` one object per line.

use std::io;

use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use snakepit_proto::v1::{Author, ChangeKind, OperationOutcome, Value, Variable, VariableVersion, value::Kind};

use crate::{
    output::{json, table, terminal},
    typed,
};

/// A variable as an object.
pub(crate) fn as_json(variable: &Variable) -> Json {
    json!({
        "name": variable.name,
        "type": type_name(variable),
        "value": variable.value.as_ref().map(json::of),
        "version": variable.version,
        "revision": variable.revision,
        "updated_at": variable.updated_at.as_ref().map(Timestamp::to_string),
        "updated_by": by(variable.updated_by.as_ref()),
        "reason": variable.reason,
        "redacted": variable.redacted,
    })
}

/// A value alone: text as it is, all else as JSON.
pub(crate) fn bare(variable: &Variable) -> String {
    variable.value.as_ref().map_or_else(|| literal(variable), value)
}

/// The same of a value that there is.
pub(crate) fn value(value: &Value) -> String {
    if let Some(Kind::StringValue(text)) = &value.kind { text.clone() } else { json::of(value).to_string() }
}

/// A value on one line, whatever it holds.
pub(crate) fn literal(variable: &Variable) -> String {
    shown(variable.value.as_ref(), variable.redacted)
}

fn shown(value: Option<&Value>, redacted: bool) -> String {
    match value {
        Some(value) => json::of(value).to_string(),
        None if redacted => "(secret)".into(),
        None => String::new(),
    }
}

/// Variables by name.
pub(crate) fn list(variables: &[Variable], as_objects: bool) -> io::Result<()> {
    if as_objects {
        return variables.iter().try_for_each(|variable| terminal::object(&as_json(variable)));
    }
    let row = |variable: &Variable| {
        vec![variable.name.clone(), type_name(variable), variable.version.to_string(), literal(variable)]
    };
    table::print(&["NAME", "TYPE", "VERSION", "VALUE"], variables.iter().map(row).collect())
}

/// The versions of a variable.
pub(crate) fn history(name: &str, versions: &[VariableVersion], as_objects: bool) -> io::Result<()> {
    if as_objects {
        return versions.iter().try_for_each(|it| {
            let object = json!({
                "name": name,
                "version": it.version,
                "kind": kind(it.kind()),
                "value": it.value.as_ref().map(json::of),
                "revision": it.revision,
                "updated_at": it.updated_at.as_ref().map(Timestamp::to_string),
                "updated_by": by(it.updated_by.as_ref()),
                "reason": it.reason,
                "redacted": it.redacted,
            });
            terminal::object(&object)
        });
    }
    let row = |it: &VariableVersion| {
        vec![
            it.version.to_string(),
            it.updated_at.as_ref().map(second).unwrap_or_default(),
            kind(it.kind()).to_owned(),
            shown(it.value.as_ref(), it.redacted),
            by(it.updated_by.as_ref()),
            it.reason.clone(),
        ]
    };
    table::print(&["VERSION", "AT", "CHANGE", "VALUE", "BY", "REASON"], versions.iter().map(row).collect())
}

/// What a write was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// To give it a value.
    Set,
    /// To declare it.
    Declared,
    /// To delete it.
    Deleted,
}

/// What a write did to a variable.
pub(crate) fn written(outcome: &OperationOutcome, revision: u64, done: Done, as_json: bool) -> io::Result<()> {
    let OperationOutcome { name, changed, version, .. } = outcome;
    if as_json {
        return terminal::object(&json!({"name": name, "changed": changed, "version": version, "revision": revision}));
    }
    terminal::line(&match (done, changed) {
        (Done::Set, true) => format!("{name} is at version {version}"),
        (Done::Set, false) => format!("{name} has that value already, at version {version}"),
        (Done::Declared, true) => format!("{name} is declared, at version {version}"),
        (Done::Declared, false) => format!("{name} is declared like that already, at version {version}"),
        (Done::Deleted, _) => format!("{name} is deleted; its history goes on at version {version}"),
    })
}

/// One change of a watch as an object; no kind: the state at its beginning.
pub(crate) fn change(variable: &Variable, change: Option<ChangeKind>) -> io::Result<()> {
    let object = json!({
        "kind": change.map_or("initial", kind),
        "name": variable.name,
        "value": variable.value.as_ref().map(json::of),
        "version": variable.version,
        "revision": variable.revision,
        "updated_by": by(variable.updated_by.as_ref()),
        "reason": variable.reason,
        "redacted": variable.redacted,
    });
    terminal::object(&object)
}

/// What happened, in a word.
pub(crate) fn kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Unspecified => "unknown",
        ChangeKind::Registered => "registered",
        ChangeKind::Set => "set",
        ChangeKind::Deleted => "deleted",
    }
}

fn type_name(variable: &Variable) -> String {
    variable.spec.as_ref().map(|spec| typed::type_name(spec.r#type())).unwrap_or_default()
}

/// The name of an author.
pub(crate) fn by(author: Option<&Author>) -> String {
    author.map(|author| author.name.clone()).unwrap_or_default()
}

/// A time, to the second.
pub(crate) fn second(time: &Timestamp) -> String {
    Timestamp { seconds: time.seconds, nanos: 0 }.to_string()
}
