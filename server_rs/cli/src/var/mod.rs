//! `snakepit var`: the variables of a session.

mod define;
mod live;
mod watch;

use clap::Subcommand;
use snakepit_proto::v1::{
    DeleteOperation, GetVariablesRequest, Operation, RollbackOperation, SetOperation, Value, Variable, VariableSpec,
    VariableType, operation::Action, value::Kind,
};

use crate::{
    Failure, input,
    output::terminal,
    remote::{
        in_session::{Held, InSession},
        timed,
    },
    show::{self, Done},
    typed,
};

pub(super) use define::{declared, label};

const JSON: &str = r#"Values in JSON, given to `set` and `define`, and printed with --json:
  null, true, false, 1, 0.5, "text", [...], {...}   as they are: integers exact to 64 bits, floats always with a
                                                    fraction or an exponent, maps in order
  {"$float": "NaN"}                                 or "Infinity", "-Infinity"
  {"$bytes": BASE64}                                raw bytes
  {"$ndarray": {"dtype": "float32", "shape": [2, 3], "data": BASE64}}
                                                    an array, row-major and little-endian
  {"$map": [[KEY, VALUE], ...]}                     a map that would read as one of these
A float is also given as NaN, inf or -inf.

A value of - is read from stdin, @FILE from a file: text and JSON without the line break at the end, bytes as they are.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached or is stopping."#;

/// Read, declare, write and watch the variables of a session.
#[derive(Debug, clap::Args)]
#[command(after_help = JSON)]
pub(super) struct Var {
    #[command(flatten)]
    within: InSession,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the values of variables.
    Get {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Give a variable a value of its type.
    Set(Set),
    /// Declare a variable.
    Define(Box<define::Define>),
    /// Delete variables, all or none of them. Their histories are kept.
    Delete {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// The version the variable has to have; otherwise nothing is deleted. For one name.
        #[arg(long, value_name = "VERSION")]
        expected_version: Option<u64>,
        /// Why, for its history.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
        reason: String,
    },
    /// Print the kept versions of a variable, newest first; also of a deleted one.
    History {
        /// Its name.
        name: String,
        /// No more than so many.
        #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
        limit: usize,
    },
    /// Give a variable the value of an earlier version, as a new version.
    Rollback {
        /// Its name.
        name: String,
        /// The version; without it, the one before the current one: the last change is undone.
        version: Option<u64>,
        /// The version the variable has to have; otherwise nothing is changed.
        #[arg(long, value_name = "VERSION")]
        expected_version: Option<u64>,
        /// Why, for its history.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
        reason: String,
    },
    /// List variables, by name.
    List {
        /// Which: `*` is any run of characters, `?` any one. All, if not given.
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
    },
    /// Show variables as they change, until interrupted: a table in a terminal, JSON lines in a pipe or with --json.
    Watch {
        /// Which: `*` is any run of characters, `?` any one. All, if not given.
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
    },
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Its name.
    name: String,
    /// The value: text as it is, true, false, numbers; arrays, lists, maps and bytes in JSON; - for stdin, @FILE.
    #[arg(required_unless_present = "null", conflicts_with = "null", allow_hyphen_values = true)]
    value: Option<String>,
    /// Set a nullable variable to null.
    #[arg(long)]
    null: bool,
    /// What the value is written as; without it, the server is asked what the variable declares.
    #[arg(long = "type", value_name = "TYPE", value_parser = typed::type_parser())]
    ty: Option<VariableType>,
    /// Take the value as it is, even if it is `-` or begins with `@`.
    #[arg(long)]
    verbatim: bool,
    /// The version the variable has to have; otherwise nothing is changed.
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<u64>,
    /// Why, for its history.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

impl Var {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let held = self.within.open().await?;
        match self.command {
            Command::Get { names } => held.get(names).await,
            Command::Set(set) => held.set(set).await,
            Command::Define(define) => {
                let reason = define.reason.clone();
                held.write(vec![define.operation()?], &reason, Done::Declared).await
            }
            Command::Delete { names, expected_version, reason } => {
                if expected_version.is_some() && names.len() > 1 {
                    return Err(Failure::failed("--expected-version goes with one name; delete them one by one"));
                }
                let delete = |name| operation(name, expected_version, Action::Delete(DeleteOperation {}));
                held.write(names.into_iter().map(delete).collect(), &reason, Done::Deleted).await
            }
            Command::History { name, limit } => {
                let versions = held.remote.versions(&held.session, &name, limit).await?;
                Ok(show::history(&name, &versions, held.json)?)
            }
            Command::Rollback { name, version, expected_version, reason } => {
                held.rollback(name, version, expected_version, &reason).await
            }
            Command::List { pattern } => {
                let (variables, _) = held.remote.list(&held.session, &pattern).await?;
                Ok(show::list(&variables, held.json)?)
            }
            Command::Watch { pattern } => watch::run(&held, pattern).await,
        }
    }
}

impl Held {
    async fn get(&self, names: Vec<String>) -> Result<(), Failure> {
        let single = names.len() == 1;
        for variable in self.read(names).await? {
            let text = if self.json {
                terminal::json(&show::as_json(&variable))
            } else if single {
                show::bare(&variable)
            } else {
                format!("{} = {}", variable.name, show::literal(&variable))
            };
            terminal::others(&text)?;
        }
        Ok(())
    }

    async fn set(&self, set: Set) -> Result<(), Failure> {
        let Set { name, value, null: _, ty, verbatim, expected_version, reason } = set;
        let value = match value {
            None => Value { kind: Some(Kind::NullValue(0)) },
            Some(text) => {
                let given = input::read(text, verbatim)?;
                let spec = match ty {
                    Some(ty) => VariableSpec { r#type: ty.into(), ..VariableSpec::default() },
                    None => self.variable(&name).await?.spec.unwrap_or_default(),
                };
                typed::parse(given, &spec).map_err(|problem| Failure::failed(format!("{name}: {problem}")))?
            }
        };
        let set = Action::Set(SetOperation { value: Some(value) });
        self.write(vec![operation(name, expected_version, set)], &reason, Done::Set).await
    }

    /// Without a version, what was there before the last change; of that very change, if another one comes first.
    async fn rollback(
        &self,
        name: String,
        version: Option<u64>,
        expected: Option<u64>,
        reason: &str,
    ) -> Result<(), Failure> {
        let (version, expected) = if let Some(version) = version {
            (version, expected)
        } else {
            let versions = self.remote.versions(&self.session, &name, 2).await?;
            let [newest, before] = &versions[..] else {
                return Err(Failure::failed(format!("{name} has no version before the one that it is at")));
            };
            (before.version, expected.or(Some(newest.version)))
        };
        let rollback = Action::Rollback(RollbackOperation { version });
        self.write(vec![operation(name, expected, rollback)], reason, Done::Set).await
    }

    async fn write(&self, operations: Vec<Operation>, reason: &str, done: Done) -> Result<(), Failure> {
        let written = self.remote.write(&self.session, operations, reason).await?;
        written.outcomes.iter().try_for_each(|outcome| show::written(outcome, written.revision, done, self.json))?;
        Ok(())
    }

    async fn variable(&self, name: &str) -> Result<Variable, Failure> {
        Ok(self.read(vec![name.to_owned()]).await?.into_iter().next().unwrap_or_default())
    }

    async fn read(&self, names: Vec<String>) -> Result<Vec<Variable>, Failure> {
        let request = GetVariablesRequest { session_id: self.session.clone(), names, ..GetVariablesRequest::default() };
        Ok(self.remote.answered(self.remote.variables().get_variables(timed(request))).await?.variables)
    }
}

fn operation(name: String, expected_version: Option<u64>, action: Action) -> Operation {
    Operation { name, expected_version, action: Some(action) }
}
