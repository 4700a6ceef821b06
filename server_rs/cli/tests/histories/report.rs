//! What happened, for people.

use std::fmt::Write as _;

use snakepit_proto::v1::{
    Change, ChangeKind, Operation, Value, Variable, operation::Action, value::Kind,
    watch_variables_response::Event as Told,
};

use crate::history::{Answer, Asked, Call, End, History, Message, Said, Synced, Violation, Write};

/// How many lines an excerpt has at the most.
const EXCERPT: usize = 25;
/// How many characters of each.
const WIDTH: usize = 320;

pub fn value(value: Option<&Value>) -> String {
    match value.and_then(|value| value.kind.as_ref()) {
        None => "-".into(),
        Some(Kind::Int64Value(whole)) => whole.to_string(),
        Some(Kind::DoubleValue(double)) => format!("{double:?}"),
        Some(Kind::StringValue(text)) if text.len() > 24 => format!("{:?}…({})", &text[..16], text.len()),
        Some(Kind::StringValue(text)) => format!("{text:?}"),
        Some(Kind::ListValue(list)) => {
            format!("[{}]", list.items.iter().map(|it| self::value(Some(it))).collect::<Vec<_>>().join(" "))
        }
        Some(other) => format!("{other:?}"),
    }
}

fn variable(it: &Variable) -> String {
    format!("{}={}(v{} r{} {})", it.name, value(it.value.as_ref()), it.version, it.revision, it.reason)
}

pub fn variables(all: &[Variable]) -> String {
    format!("{{{}}}", all.iter().map(variable).collect::<Vec<_>>().join(", "))
}

pub fn changes(changes: &[Change]) -> String {
    let told = |change: &Change| {
        let what = match change.kind() {
            ChangeKind::Registered => "register ",
            ChangeKind::Deleted => "delete ",
            ChangeKind::Set => "",
            ChangeKind::Unspecified => "? ",
        };
        format!("{what}{}", change.variable.as_ref().map(variable).unwrap_or_default())
    };
    format!("{{{}}}", changes.iter().map(told).collect::<Vec<_>>().join(", "))
}

pub fn synced(sync: &Synced) -> String {
    let changed = sync.changed.iter();
    let changed =
        changed.map(|it| format!("{}={}(v{} r{})", it.name, value(it.value.as_ref()), it.version, it.revision));
    let full = if sync.full { "all " } else { "" };
    format!("{full}{{{}}} absent {:?}", changed.collect::<Vec<_>>().join(", "), sync.absent)
}

pub fn said(said: &Said) -> String {
    match said {
        Said::Written(outcomes) => {
            let outcome = |it: &snakepit_proto::v1::OperationOutcome| {
                let changed = if it.changed { "" } else { " unchanged" };
                format!("{} v{}{changed} {}", it.name, it.version, value(it.value.as_ref()))
            };
            format!("written {{{}}}", outcomes.iter().map(outcome).collect::<Vec<_>>().join(", "))
        }
        Said::Got { variables, absent } => format!("got {} absent {absent:?}", self::variables(variables)),
        Said::Synced(sync) => format!("synced {}", synced(sync)),
        Said::Listed { variables, token } => {
            format!("listed {}{}", self::variables(variables), if token.is_some() { " and there are more" } else { "" })
        }
        Said::Versions(versions) => {
            let version = |it: &snakepit_proto::v1::VariableVersion| {
                format!("v{}={} r{} {}", it.version, value(it.value.as_ref()), it.revision, it.reason)
            };
            format!("versions {{{}}}", versions.iter().map(version).collect::<Vec<_>>().join(", "))
        }
        Said::Refused(refusal) => format!("refused {} {:?}", refusal.reason, refusal.facts),
    }
}

fn operation(operation: &Operation) -> String {
    let action = match operation.action.as_ref() {
        None => "nothing".into(),
        Some(Action::Register(it)) => {
            format!("{} {}", if it.replace { "replace" } else { "register" }, value(it.value.as_ref()))
        }
        Some(Action::Set(it)) => format!("set {}", value(it.value.as_ref())),
        Some(Action::Increment(it)) => format!("increment {}", value(it.amount.as_ref())),
        Some(Action::Append(it)) => format!("append {}", it.items.len()),
        Some(Action::Delete(_)) => "delete".into(),
        Some(Action::Rollback(it)) => format!("roll back to v{}", it.version),
    };
    let expected = operation.expected_version.map(|version| format!(" if v{version}")).unwrap_or_default();
    format!("{} {action}{expected}", operation.name)
}

fn write(write: &Write) -> String {
    let key = if write.key.is_empty() { String::new() } else { format!(" key {}", write.key) };
    let operations: Vec<_> = write.operations.iter().map(operation).collect();
    format!("write {}{key} {{{}}}", write.tag, operations.join(", "))
}

fn call(index: usize, call: &Call) -> String {
    let asked = match &call.asked {
        Asked::Write(it) => write(it),
        Asked::Get { names, .. } => format!("get {names:?}"),
        Asked::Sync { known, names, new_names } => format!("sync {names:?} since {known}, new {new_names:?}"),
        Asked::Versions { name } => format!("versions of {name}"),
        Asked::List { after, size, .. } => format!("list {size} after {after:?}"),
    };
    let told = match &call.told {
        Answer::At { revision, said, .. } => format!("r{revision} {}", self::said(said)),
        Answer::Unknown(why) => format!("unknown: {why}"),
        Answer::NotApplied(why) => format!("not applied: {why}"),
    };
    format!("[{}..{}] call {index}: {asked} -> {told}", call.began, call.ended)
}

fn message(watch: usize, message: &Message) -> String {
    let told = match &message.message.event {
        Some(Told::Changes(it)) => changes(&it.changes),
        Some(Told::Snapshot(it)) => format!("state {}", variables(&it.variables)),
        Some(Told::Latest(it)) => synced(&it.clone().into()),
        Some(Told::Heartbeat(_)) => "heartbeat".into(),
        None => "nothing".into(),
    };
    format!("[{}] watch {watch}: r{} {told}", message.at, message.revision())
}

/// The whole history, in the order in which things ended.
pub fn all(history: &History, violations: &[Violation]) -> String {
    let mut text = format!(
        "session {}, kind {}, seed {}, ended at revision {}\n",
        history.session, history.kind, history.seed, history.last
    );
    for violation in violations {
        let _ = writeln!(text, "VIOLATION of {:?}: {}", violation.rule, violation.text);
    }
    for (_, line) in lines(history, true, |_| true, |_| true) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What happened around a violation.
pub fn excerpt(history: &History, violation: &Violation) -> String {
    let least = violation.revisions.iter().min().copied().unwrap_or_default();
    let near = |revision: u64| violation.revisions.iter().any(|it| revision >= least && it.abs_diff(revision) <= 1);
    let about = |call: &Call| match (&call.asked, &call.told) {
        (Asked::Write(write), _) if violation.tags.contains(&write.tag) => true,
        (_, Answer::At { revision, .. }) => near(*revision),
        (_, Answer::Unknown(_) | Answer::NotApplied(_)) => false,
    };
    let lines = lines(history, false, about, |message| near(message.revision()) && !message.is_heartbeat());
    let left_out = lines.len().saturating_sub(EXCERPT);
    let mut text: String = lines.into_iter().take(EXCERPT).fold(String::new(), |mut text, (_, line)| {
        let line: String = line.chars().take(WIDTH).collect();
        let _ = writeln!(text, "    {line}");
        text
    });
    if left_out > 0 {
        let _ = writeln!(text, "    … and {left_out} more");
    }
    text
}

fn lines(
    history: &History,
    all: bool,
    wanted: impl Fn(&Call) -> bool,
    told: impl Fn(&Message) -> bool,
) -> Vec<(u64, String)> {
    let calls = history.calls.iter().enumerate().filter(|(_, it)| wanted(it));
    let mut lines: Vec<_> = calls.map(|(index, it)| (it.ended, call(index, it))).collect();
    for (index, watch) in history.watches.iter().enumerate() {
        let about = if watch.latest { "latest" } else { "every" };
        for stream in &watch.streams {
            let (known, names, end) = (stream.known, &watch.names, &stream.end);
            let slow = if watch.slow { ", slowly" } else { "" };
            let line =
                format!("[{}] watch {index}: {about} of {names:?} since {known}{slow}; ended {end:?}", stream.opened);
            let before = lines.len();
            lines.extend(stream.messages.iter().filter(|it| told(it)).map(|it| (it.at, message(index, it))));
            if lines.len() > before || matches!(stream.end, End::Refused(_) | End::Stuck) || all {
                lines.push((stream.opened, line));
            }
        }
    }
    lines.sort();
    lines
}
