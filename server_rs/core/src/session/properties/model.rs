//! What a session should do, written as plainly as can be: maps that are copied, everything kept, nothing shared with
//! the real thing but the types of its commands. Answers and refusals are texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    session::{Action, Command, Operation, Write},
    value::Value,
};

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub kind: usize,
    pub value: Value,
    pub version: u64,
    pub revision: u64,
}

#[derive(Clone, Debug)]
struct Life {
    number: u8,
    revision: u64,
    newest: i64,
    held: BTreeMap<String, Held>,
    /// Every version that ever was, by name and number; a deletion has no value.
    past: BTreeMap<(String, u64), Option<Value>>,
    /// By key: fingerprint, answer, time.
    keys: BTreeMap<String, (u8, String, i64)>,
}

struct Ended {
    number: u8,
    at: i64,
    deleted: bool,
}

#[derive(Default)]
pub(super) struct Model {
    live: Option<Life>,
    ended: Option<Ended>,
}

type Told = Result<String, String>;

impl Model {
    pub(super) fn held(&self) -> BTreeMap<String, Held> {
        self.live.as_ref().map(|life| life.held.clone()).unwrap_or_default()
    }

    pub(super) fn revision(&self) -> Option<u64> {
        self.live.as_ref().map(|life| life.revision)
    }

    pub(super) fn run(&mut self, now: i64, admin: bool, command: &Command) -> Told {
        match command {
            Command::Create(create) => self.create(now, create.incarnation.0[0]),
            Command::Delete { incarnation } => self.end(now, incarnation.map(|it| it.0[0]), true),
            Command::Expire => self.end(now, None, false),
            Command::Write(write) => {
                let life = self.find(now, write.incarnation.map(|it| it.0[0]))?;
                let mut next = life.clone();
                let told = next.write(now, admin, write)?;
                *life = next;
                Ok(told)
            }
        }
    }

    fn create(&mut self, now: i64, number: u8) -> Told {
        if let Some(life) = &self.live {
            return Ok(format!("created {}", life.number == number));
        }
        let mut newest = now;
        if let Some(ended) = self.ended.take() {
            newest = newest.max(ended.at);
            if ended.number == number {
                self.ended = Some(ended);
                return Err("INVALID incarnation".into());
            }
        }
        let (held, past, keys) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        self.live = Some(Life { number, revision: 1, newest, held, past, keys });
        Ok("created true".into())
    }

    fn find(&mut self, now: i64, meant: Option<u8>) -> Result<&mut Life, String> {
        match (&mut self.live, &self.ended) {
            (Some(life), _) if meant.is_some() && meant != Some(life.number) => Err("EXPIRED".into()),
            (Some(life), _) => Ok(life),
            (None, Some(ended)) if !ended.deleted && now - ended.at < 24 * 3600 => Err("EXPIRED".into()),
            (None, _) => Err("NO SESSION".into()),
        }
    }

    fn end(&mut self, now: i64, meant: Option<u8>, deleted: bool) -> Told {
        let life = self.find(now, meant)?.clone();
        self.ended = Some(Ended { number: life.number, at: now.max(life.newest), deleted });
        self.live = None;
        Ok(format!("ended {}", life.revision + 1))
    }
}

impl Life {
    fn write(&mut self, now: i64, admin: bool, write: &Write) -> Told {
        let key = write.idempotency.as_ref().map(|it| (it.key.to_string(), it.fingerprint[0]));
        if let Some((name, fingerprint)) = &key
            && let Some((original, answer, _)) = self.keys.get(name)
        {
            return if original == fingerprint { Ok(answer.clone()) } else { Err("INVALID idempotency_key".into()) };
        }
        match write.operations.len() {
            0 => return Err("INVALID operations".into()),
            1..=3 => (),
            _ => return Err("LIMIT batch_operations".into()),
        }
        let before = self.clone();
        let (mut told, mut seen, mut changed) = (String::new(), BTreeSet::new(), false);
        for (index, operation) in write.operations.iter().enumerate() {
            let name = operation.name.to_string();
            if !seen.insert(name.clone()) {
                return Err(format!("{index} INVALID operations.name"));
            }
            let old = before.held.get(&name).cloned();
            let (new, reported) =
                after(&before, old.as_ref(), operation, admin).map_err(|why| format!("{index} {why}"))?;
            let same = match (&old, &new) {
                (Some(old), Some((kind, value))) => old.kind == *kind && same(&old.value, value),
                _ => false,
            };
            let newest = before.past.keys().filter(|(other, _)| *other == name).map(|(_, version)| *version).max();
            let version = if same { newest.unwrap_or(0) } else { newest.unwrap_or(0) + 1 };
            if !same {
                changed = true;
                let revision = before.revision + 1;
                self.past.insert((name.clone(), version), new.as_ref().map(|(_, value)| value.clone()));
                self.held.remove(&name);
                if let Some((kind, value)) = new {
                    self.held.insert(name.clone(), Held { kind, value, version, revision });
                }
            }
            write!(told, " {name} {} {version} {reported:?}", !same).unwrap();
        }
        if !changed {
            return Ok(format!("written {}{told}", self.revision));
        }
        if self.held.len() > 4 && self.held.len() > before.held.len() {
            return Err("LIMIT variables_per_session".into());
        }
        self.revision += 1;
        self.newest = self.newest.max(now);
        let newest = self.newest;
        let told = format!("written {}{told}", self.revision);
        if let Some((name, fingerprint)) = key {
            self.keys.insert(name, (fingerprint, told.clone(), newest));
        }
        self.keys.retain(|_, (_, _, at)| newest - *at <= 600);
        Ok(told)
    }
}

type After = (Option<(usize, Value)>, Option<Value>);

/// Kind and value after the operation, none if it is gone then; and the value to report.
fn after(life: &Life, old: Option<&Held>, operation: &Operation, admin: bool) -> Result<After, String> {
    let actual = old.map_or(0, |old| old.version);
    if let Some(expected) = operation.expected_version
        && expected != actual
    {
        return Err(format!("CONFLICT {expected} {actual}"));
    }
    if let Action::Register { spec, value, replace } = &operation.action {
        let kind: usize = spec.description.parse().unwrap();
        return match old {
            _ if *replace && !admin => Err("DENIED".into()),
            Some(old) if !replace && old.kind == kind => Ok((Some((kind, old.value.clone())), None)),
            Some(_) if !replace => Err("EXISTS".into()),
            _ if kind == 7 => Err("INVALID constraints.min".into()),
            _ => Ok((Some((kind, taken(kind, value)?)), None)),
        };
    }
    let old = old.ok_or("NO VARIABLE")?;
    if old.kind == 6 {
        return Err("READ ONLY".into());
    }
    let computed = match &operation.action {
        Action::Register { .. } | Action::Delete => return Ok((None, None)),
        Action::Set(value) => return Ok((Some((old.kind, taken(old.kind, value)?)), None)),
        Action::Increment(amount) => match (old.kind, &old.value, amount) {
            (2 | 3, Value::Int(a), Value::Int(b)) => {
                let sum = i128::from(*a) + i128::from(*b);
                Value::Int(i64::try_from(sum).map_err(|_| "CONSTRAINT")?)
            }
            (0 | 1, Value::Float(a), Value::Float(b)) => Value::Float(a + b),
            #[allow(clippy::cast_precision_loss, reason = "small enough")]
            (0 | 1, Value::Float(a), Value::Int(b)) if b.checked_abs().is_some_and(|b| b <= 1 << 53) => {
                Value::Float(a + *b as f64)
            }
            _ => return Err("TYPE".into()),
        },
        Action::Append(items) if items.is_empty() => return Err("INVALID items".into()),
        Action::Append(items) => match &old.value {
            Value::List(list) => list.iter().cloned().chain(items.iter().cloned()).collect(),
            _ => return Err("TYPE".into()),
        },
        Action::Rollback { version } => {
            let kept = life.past.get(&(operation.name.to_string(), *version)).cloned().flatten();
            kept.ok_or("INVALID version")?
        }
    };
    let computed = taken(old.kind, &computed)?;
    Ok((Some((old.kind, computed.clone())), Some(computed)))
}

/// The value as a variable of that kind takes it.
fn taken(kind: usize, value: &Value) -> Result<Value, String> {
    let value = match (kind, value) {
        #[allow(clippy::cast_precision_loss, reason = "small enough")]
        (0 | 1, Value::Int(whole)) if whole.checked_abs().is_some_and(|it| it <= 1 << 53) => {
            Value::Float(*whole as f64)
        }
        _ => value.clone(),
    };
    match (kind, &value) {
        (0, Value::Float(float)) if !(0.0..=2.0).contains(float) => Err("CONSTRAINT".into()),
        (2, Value::Int(whole)) if !(-5..=5).contains(whole) => Err("CONSTRAINT".into()),
        (4, Value::List(items)) if items.len() > 3 => Err("CONSTRAINT".into()),
        (4, Value::List(items)) if items.iter().any(|item| matches!(item, Value::List(_))) => Err("CONSTRAINT".into()),
        (5, Value::Text(text)) if text.len() > 98 => Err("LIMIT value_bytes".into()),
        (0 | 1, Value::Float(_))
        | (2 | 3 | 6, Value::Int(_))
        | (4, Value::List(_))
        | (5, Value::Text(_))
        | (3, Value::Null) => Ok(value),
        _ => Err("TYPE".into()),
    }
}

/// Bitwise, as far as the values here go: their texts tell 1 from 1.0 and 0.0 from -0.0, and all NaNs are one.
fn same(a: &Value, b: &Value) -> bool {
    format!("{a:?}") == format!("{b:?}")
}
