//! The keyword `pattern`: a regular expression that runs in linear time, and for no longer than a check may take.

use jsonschema::{Keyword, ValidationError, json::Node as _};
use regex::{Regex, RegexBuilder};

use super::{
    node::{Arguments, Seen},
    work,
};

/// The greatest length of a pattern's source, in bytes.
const MAX_SOURCE: usize = 1024;

/// The greatest text a pattern is asked about, in bytes.
const MAX_TEXT: usize = 32 * 1024;

/// Sizes of compiled patterns, in bytes: the last is the greatest. What a match takes, at worst, grows with them.
const SIZES: [usize; 5] = [1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20];

/// A compiled pattern. It may match anywhere in a text, as JSON Schema has it.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// The bytes that it is compiled to, roughly.
    size: usize,
}

impl Pattern {
    /// Says what is wrong with the source if it cannot be run.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > MAX_SOURCE {
            return Err(format!("is longer than {MAX_SOURCE} bytes"));
        }
        let mut problem = String::new();
        for size in SIZES {
            match RegexBuilder::new(source).size_limit(size).dfa_size_limit(size).build() {
                Ok(regex) => return Ok(Self { regex, size }),
                Err(regex::Error::CompiledTooBig(_)) => problem = too_big(size),
                Err(error) => {
                    let text = error.to_string();
                    let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    return Err(format!("does not run in linear time: {cause}"));
                }
            }
        }
        Err(problem)
    }

    /// The bytes that it is compiled to, roughly.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The steps that a byte of text takes.
    pub(super) fn cost(&self) -> usize {
        self.size / 1024
    }

    fn problem(&self, text: &str) -> Option<String> {
        if text.len() > MAX_TEXT {
            return Some(format!("is longer than {MAX_TEXT} bytes, the most that is matched with a pattern"));
        }
        work::step(1 + text.len() * self.cost());
        (!work::is_over() && !self.regex.is_match(text))
            .then(|| format!("does not match the pattern {:?}", self.regex.as_str()))
    }
}

fn too_big(size: usize) -> String {
    format!(r"compiles to more than {size} bytes (\w and \d stand for all of Unicode, [A-Za-z0-9_] and [0-9] do not)")
}

impl<'i> Keyword<'i, Arguments> for Pattern {
    fn validate(&self, instance: Seen<'i>) -> Result<(), ValidationError<'i>> {
        let problem = instance.as_string().and_then(|text| self.problem(&text));
        problem.map_or(Ok(()), |problem| Err(ValidationError::custom(problem)))
    }

    fn is_valid(&self, instance: Seen<'i>) -> bool {
        instance.as_string().is_none_or(|text| self.problem(&text).is_none())
    }
}
