use std::{collections::BTreeMap, io::BufRead, sync::Arc, time::Duration};

use prost_types::Timestamp as Time;
use serde_json::{Map, Value as Json};
use snakepit_core::{
    session::{Forgotten, Incarnation, Kept, RecordKind, SessionId, VersionRecord},
    value::Value,
    variable::{Author, Name, Spec, Timestamp},
};
use snakepit_server::journal::sqlite::Archived;

use crate::{Failure, data::export::HEADER, output::json as values, spec};

/// The sessions of an export. Refuses it at the first line that is not as `export` writes it.
pub(crate) fn read(lines: impl BufRead, without_secrets: bool, same_lives: bool) -> Result<Vec<Archived>, Failure> {
    let mut reader = Reader { without_secrets, same_lives, sessions: Vec::new() };
    let mut begun = false;
    for (index, line) in lines.lines().enumerate() {
        let wrong = |problem: String| Failure::failed(format!("line {}: {problem}; nothing was imported", index + 1));
        let line = line.map_err(|error| wrong(error.to_string()))?;
        let line: Json = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        let line = Line(line.as_object().ok_or_else(|| wrong("an export has an object on each line".into()))?);
        if begun {
            reader.take(&line).map_err(wrong)?;
        } else if line.text("kind") == Ok(HEADER) && line.whole("format") == Ok(1) {
            begun = true;
        } else {
            return Err(wrong("this is no export of a format that this release reads".into()));
        }
    }
    if !begun {
        return Err(Failure::failed("there is nothing on stdin; give it what `snakepit data export` printed"));
    }
    // Before anything is made of any of them.
    let whole = |Archived { session, kept }| match kept.of_elsewhere() {
        Ok(kept) => Ok(Archived { session, kept }),
        Err(problem) => Err(Failure::failed(format!("session {:?}: {problem}; nothing was imported", &*session))),
    };
    reader.sessions.into_iter().map(whole).collect()
}

struct Reader {
    without_secrets: bool,
    same_lives: bool,
    sessions: Vec<Archived>,
}

impl Reader {
    fn take(&mut self, line: &Line<'_>) -> Result<(), String> {
        let session = SessionId::parse(line.text("session")?).map_err(|error| error.to_string())?;
        let kind = line.text("kind")?;
        if kind == "session" {
            if self.sessions.iter().any(|it| it.session == session) {
                return Err(format!("session {session:?} was there before"));
            }
            let kept = line.session(self.same_lives)?;
            self.sessions.push(Archived { session, kept });
            return Ok(());
        }
        let last = self.sessions.last_mut().filter(|it| it.session == session);
        let kept = &mut last.ok_or_else(|| format!("session {session:?} has to come before what is in it"))?.kept;
        let name = Name::parse(line.text("name")?).map_err(|error| error.to_string())?;
        if line.0.get("redacted") == Some(&Json::Bool(true)) {
            if self.without_secrets {
                return Ok(());
            }
            return Err(format!(
                "the value of {:?} is redacted; export it --with-secrets, or leave such variables out with \
                 --without-secrets",
                &*name
            ));
        }
        let record = line.version()?;
        match (kind, record.kind) {
            ("variable", RecordKind::Registered | RecordKind::Set) => {
                let spec = spec::parse(line.get("spec")?)?;
                let spec = Spec::try_from(spec).map_err(|error| error.to_string())?;
                spec.validate().map_err(|error| error.to_string())?;
                let value = record.value.clone().unwrap_or(Value::Null);
                spec.accept(&name, value).map_err(|error| error.to_string())?;
                kept.specs.insert(name.clone(), Arc::new(spec));
            }
            ("variable", RecordKind::Deleted) => return Err(format!("{:?} cannot be a deleted variable", &*name)),
            ("version", _) => {}
            _ => return Err(format!("{kind:?} is none of session, variable, version")),
        }
        kept.versions.entry(name).or_default().push(record);
        Ok(())
    }
}

/// One line, field by field.
struct Line<'a>(&'a Map<String, Json>);

impl Line<'_> {
    fn get(&self, name: &str) -> Result<&Json, String> {
        self.0.get(name).ok_or_else(|| format!("{name:?} is missing"))
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        self.get(name)?.as_str().ok_or_else(|| format!("{name:?} is a text"))
    }

    fn whole(&self, name: &str) -> Result<u64, String> {
        self.get(name)?.as_u64().ok_or_else(|| format!("{name:?} is a whole number"))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        self.get(name)?.as_bool().ok_or_else(|| format!("{name:?} is true or false"))
    }

    fn time(&self, name: &str) -> Result<Timestamp, String> {
        let time: Time =
            self.text(name)?.parse().map_err(|_| format!("{name:?} is a time, as in 2026-01-31T12:00:00Z"))?;
        let micros = u64::try_from(time.seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
        let below = u64::try_from(time.nanos).unwrap_or_default() / 1_000;
        let time = Timestamp(micros.ok_or_else(|| format!("{name:?} is before 1970"))?.saturating_add(below));
        if time > Kept::LAST_MOMENT {
            return Err(format!("{name:?} is {}, and times go up to the year 9999", self.text(name)?));
        }
        Ok(time)
    }

    fn session(&self, same_life: bool) -> Result<Kept, String> {
        let forgotten = Line(self.get("forgotten")?.as_object().ok_or("\"forgotten\" is an object")?);
        let ttl = Some(self.get("ttl")?).filter(|ttl| !ttl.is_null()).map(|ttl| {
            let ttl = ttl.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            ttl.ok_or("\"ttl\" is seconds, or null")
        });
        let metadata: BTreeMap<String, String> =
            serde_json::from_value(self.get("metadata")?.clone()).map_err(|_| "\"metadata\" is an object of texts")?;
        Ok(Kept {
            incarnation: if same_life { incarnation(self.text("incarnation")?)? } else { new_incarnation() },
            revision: self.whole("revision")?,
            created_at: self.time("created_at")?,
            ttl: ttl.transpose()?,
            metadata: Arc::new(metadata),
            last_event: self.time("last_event")?,
            // By no clock of this server: set by who puts it into a journal.
            last_lived: Timestamp::default(),
            forgotten: Forgotten { revision: forgotten.whole("revision")?, version: forgotten.whole("version")? },
            specs: BTreeMap::new(),
            versions: BTreeMap::new(),
            writes: Vec::new(),
            log: Vec::new(),
        })
    }

    fn version(&self) -> Result<VersionRecord, String> {
        let (kind, value) = match (self.text("change")?, self.0.get("value")) {
            ("deleted", None) => (RecordKind::Deleted, None),
            ("registered", Some(value)) => (RecordKind::Registered, Some(value)),
            ("set", Some(value)) => (RecordKind::Set, Some(value)),
            (change, _) => return Err(format!("a {change:?} version has a value, and a deletion has none")),
        };
        let parse = |value: &Json| {
            let value = values::parse(value.clone())?;
            Value::try_from(value).map_err(|error| error.to_string())
        };
        Ok(VersionRecord {
            version: self.whole("version")?,
            revision: self.whole("revision")?,
            kind,
            value: value.map(parse).transpose()?,
            secret: self.flag("secret")?,
            time: self.time("at")?,
            author: Author { name: self.text("by")?.into(), verified: self.flag("verified")? },
            reason: self.text("reason")?.into(),
        })
    }
}

fn incarnation(hex: &str) -> Result<Incarnation, String> {
    let byte = |at| hex.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let bytes = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.map(Incarnation).ok_or_else(|| format!("{hex:?} is no incarnation: those are 32 hex digits"))
}

fn new_incarnation() -> Incarnation {
    Incarnation(std::array::from_fn(|_| fastrand::u8(..)))
}
