//! JSON Schemas of arguments: compiled once, checked at every call.
//!
//! Both the schema and the arguments are strangers'. So a schema refers to nothing outside of itself, its patterns run
//! in linear time, and there are limits on its size, on its nesting, and on how many schemas it applies to one value
//! ([`document`]). And a check is limited in the steps that it takes ([`work`]), because schema and arguments together
//! can be any amount of work.
//!
//! What may surprise:
//! - Names that the schema does not declare are refused, unless it has `additionalProperties`,
//!   `unevaluatedProperties` or `patternProperties` itself. Declared is what is in `properties` or `required` of the
//!   schema or of any other that it applies to the arguments as a whole: by `$ref`, `allOf`, `anyOf`, `if` and so on.
//! - `format`, `contentEncoding` and `contentMediaType` are annotations, in every draft: nobody checks them.
//! - A pattern has the syntax of the `regex` crate, and is asked about at most 32 KiB of text.
//! - 1.0 is an integer, as JSON Schema has it.

mod describe;
mod document;
mod explain;
mod keywords;
mod node;
mod pattern;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    sync::Arc,
};

use jsonschema::{Keyword, PatternOptions, ValidationError, Validator};
use serde_json::Value as Json;
use snakepit_core::{error::Error, value::Value};

use explain::Problem;
use node::{Arguments, Seen};
use pattern::Pattern;

/// The field that all arguments are.
const ARGUMENTS: &str = "arguments";
/// From which likeness on a name may be a slip of another.
const SIMILAR: f64 = 0.8;

/// A compiled JSON Schema of a tool's arguments. Clones share it.
#[derive(Clone)]
pub struct Schema {
    /// None: any arguments.
    compiled: Option<Arc<Compiled>>,
}

struct Compiled {
    document: Json,
    validator: Validator<Arguments>,
    /// The names of arguments. None: the schema says itself what it makes of others.
    declared: Option<HashSet<Box<str>>>,
    /// The arguments that it takes, for messages.
    takes: String,
    name_cost: usize,
}

impl Schema {
    /// Compiles JSON text; an empty one takes any arguments. `INVALID_REQUEST` with field `arguments_schema` for what
    /// is no schema of an object or cannot be run safely, `LIMIT_EXCEEDED` with `tool_schema_bytes` for more than
    /// `max_bytes`.
    pub fn compile(text: &str, max_bytes: u64) -> Result<Self, Error> {
        if text.len() as u64 > max_bytes {
            return Err(Error::LimitExceeded { limit: "tool_schema_bytes", max: max_bytes });
        }
        let compiled = if text.is_empty() { None } else { Some(Compiled::new(text)) };
        let compiled = compiled.transpose().map_err(|problem| Error::invalid("arguments_schema", problem))?;
        Ok(Self { compiled: compiled.map(Arc::new) })
    }

    /// Checks a call's arguments. `INVALID_REQUEST` with the path of what does not fit, is missing or is unknown as
    /// field, as in `arguments.filter.tags[2]`; of several problems the first one is told. Takes less than a
    /// microsecond for a few small arguments, and a few hundred milliseconds at most.
    pub fn check(&self, tool: &str, arguments: &[(Arc<str>, Value)]) -> Result<(), Error> {
        let problem = explain::not_finite(arguments)
            .or_else(|| self.compiled.as_ref().and_then(|compiled| compiled.problem(arguments)));
        problem
            .map_or(Ok(()), |Problem { field, text, .. }| Err(Error::invalid(field, format!("tool {tool:?}: {text}"))))
    }
}

impl Compiled {
    fn new(text: &str) -> Result<Self, String> {
        let mut document: Json = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        let findings = document::inspect(&document)?;
        let declared = findings.declared.iter().map(|argument| argument.name.into()).collect();
        let takes = describe::arguments(&document, &findings.declared);
        let (draft, name_cost, closed) = (findings.draft, findings.name_cost, findings.closed);
        if let Some(top) = document.as_object_mut() {
            // References are to the document itself, whatever it is called.
            top.shift_remove(draft.id_keyword());
        }
        let validator = jsonschema::options_for::<Arguments>()
            .with_draft(draft)
            .offline()
            .should_validate_formats(false)
            .without_content_encoding_support("base64")
            .without_content_media_type_support("application/json")
            .with_pattern_options(PatternOptions::regex())
            .with_keyword("pattern", |_, source, _| {
                let pattern = source.as_str().map_or_else(|| Err("is no text".into()), Pattern::compile);
                let pattern = pattern.map_err(ValidationError::custom)?;
                Ok(Box::new(pattern) as Box<dyn for<'i> Keyword<'i, Arguments>>)
            })
            .build(&document)
            .map_err(|error| {
                let place = document::short(&format!("#{}", error.instance_path()));
                let given = document::shown(error.instance());
                format!("is no valid JSON Schema at {place}: {}", error.masked_with(given))
            })?;
        Ok(Self { document, validator, declared: closed.then_some(declared), takes, name_cost })
    }

    fn problem(&self, arguments: &[(Arc<str>, Value)]) -> Option<Problem> {
        let mut problem = self.unknown(arguments).or_else(|| self.misfit(arguments))?;
        if problem.whole {
            let _ = write!(problem.text, "; it takes {}", self.takes);
        }
        Some(problem)
    }

    fn misfit(&self, arguments: &[(Arc<str>, Value)]) -> Option<Problem> {
        let seen = Seen::Arguments(arguments);
        match work::limited(self.name_cost, || self.validator.is_valid(seen)) {
            Some(true) => return None,
            Some(false) => {}
            None => {
                return Some(Problem::of_all("they take too long to check; give less, or the tool a simpler schema"));
            }
        }
        let all = || self.validator.iter_errors(seen).collect::<Vec<_>>();
        let one = || self.validator.validate(seen).err().into_iter().collect::<Vec<_>>();
        let errors =
            work::limited(self.name_cost, all).or_else(|| work::limited(self.name_cost, one)).unwrap_or_default();
        let Some(first) = errors.first() else {
            return Some(Problem::of_all("they do not fit, in too many ways to tell"));
        };
        let mut problem = explain::explain(first, &self.document, arguments);
        if errors.len() > 1 {
            let _ = write!(problem.text, " (and {} more)", errors.len() - 1);
        }
        Some(problem)
    }

    fn unknown(&self, arguments: &[(Arc<str>, Value)]) -> Option<Problem> {
        let declared = self.declared.as_ref()?;
        let mut unknown = arguments.iter().map(|(name, _)| name).filter(|name| !declared.contains(&***name));
        let first = unknown.next()?;
        let shown: String = first.chars().take(64).collect();
        let likest = declared
            .iter()
            .map(|name| (strsim::jaro_winkler(name, &shown), name))
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut text = format!("{shown:?} is unknown");
        if let Some((_, meant)) = likest.filter(|(likeness, _)| *likeness >= SIMILAR) {
            let _ = write!(text, " (did you mean {meant:?}?)");
        }
        let more = unknown.count();
        if more > 0 {
            let _ = write!(text, " (and {more} more)");
        }
        Some(Problem::unknown(first, text))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}
