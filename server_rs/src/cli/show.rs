//! What commands print: text for people, and with `--json` one object per line.

use std::io::{self, Write as _};

use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use snakepit_server::proto::{Author, ChangeKind, OperationOutcome, Value, Variable, value::Kind};

use super::json;

/// Writes a line at once: whoever reads a watch waits for it.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// A variable as an object.
pub(super) fn as_json(variable: &Variable) -> Json {
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
pub(super) fn bare(variable: &Variable) -> String {
    match &variable.value {
        Some(Value { kind: Some(Kind::StringValue(text)) }) => text.clone(),
        Some(_) | None => literal(variable),
    }
}

/// A value on one line, whatever it holds.
pub(super) fn literal(variable: &Variable) -> String {
    match &variable.value {
        Some(value) => json::of(value).to_string(),
        None if variable.redacted => "(secret)".into(),
        None => String::new(),
    }
}

/// Variables in columns.
pub(super) fn table(variables: &[Variable]) -> io::Result<()> {
    let header = ["NAME", "TYPE", "VERSION", "VALUE"].map(str::to_owned);
    let row = |variable: &Variable| {
        [variable.name.clone(), type_name(variable), variable.version.to_string(), literal(variable)]
    };
    let rows: Vec<_> = std::iter::once(header).chain(variables.iter().map(row)).collect();
    let widths = [0, 1, 2].map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default());
    let [name, ty, version] = widths;
    rows.iter().try_for_each(|row| line(&format!("{:name$}  {:ty$}  {:version$}  {}", row[0], row[1], row[2], row[3])))
}

/// What a write did to a variable.
pub(super) fn written(outcome: &OperationOutcome, revision: u64, as_json: bool) -> io::Result<()> {
    let OperationOutcome { name, changed, version, .. } = outcome;
    if as_json {
        line(&json!({"name": name, "changed": changed, "version": version, "revision": revision}).to_string())
    } else if *changed {
        line(&format!("{name} is at version {version}"))
    } else {
        line(&format!("{name} has that value already, at version {version}"))
    }
}

/// One change of a watch; no kind: the state at its beginning.
pub(super) fn change(variable: &Variable, kind: Option<ChangeKind>, as_json: bool) -> io::Result<()> {
    let kind = match kind {
        None | Some(ChangeKind::Unspecified) => "initial",
        Some(ChangeKind::Registered) => "registered",
        Some(ChangeKind::Set) => "set",
        Some(ChangeKind::Deleted) => "deleted",
    };
    let (Variable { name, version, revision, reason, .. }, by) = (variable, by(variable.updated_by.as_ref()));
    if as_json {
        let value = variable.value.as_ref().map(json::of);
        let redacted = variable.redacted;
        return line(
            &json!({
                "kind": kind, "name": name, "value": value, "version": version, "revision": revision,
                "updated_by": by, "reason": reason, "redacted": redacted,
            })
            .to_string(),
        );
    }
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    line(&format!("{revision}  {kind:10}  {name} = {}  (version {version} by {by}{why})", literal(variable)))
}

fn type_name(variable: &Variable) -> String {
    let ty = variable.spec.as_ref().map(|spec| spec.r#type().as_str_name()).unwrap_or_default();
    ty.trim_start_matches("VARIABLE_TYPE_").to_lowercase()
}

fn by(author: Option<&Author>) -> String {
    author.map(|author| author.name.clone()).unwrap_or_default()
}
