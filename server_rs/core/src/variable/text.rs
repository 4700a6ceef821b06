//! Limits on text, choices and names of modules.

use std::collections::HashSet;

use super::{invalid_constraint as invalid, pattern::Pattern};
use crate::{error::Error, value::Value};

/// Limits on text. Lengths count Unicode code points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StringConstraints {
    /// The least length.
    pub min_length: Option<u64>,
    /// The greatest length.
    pub max_length: Option<u64>,
    /// What the whole text has to match.
    pub pattern: Option<Pattern>,
    /// The allowed texts (`enum` in the proto); empty: any.
    pub one_of: Vec<String>,
}

impl StringConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if let (Some(min), Some(max)) = (self.min_length, self.max_length)
            && min > max
        {
            return Err(invalid("min_length", format!("no length lies between {min} and {max}")));
        }
        if let Some(pattern) = &self.pattern {
            pattern.validate().map_err(|problem| invalid("pattern", problem))?;
        }
        distinct("enum", &self.one_of)
    }

    /// The constraint that the text breaks.
    pub(super) fn broken(&self, text: &str) -> Option<String> {
        if self.min_length.is_some() || self.max_length.is_some() {
            let length = text.chars().count() as u64;
            if let Some(min) = self.min_length.filter(|min| length < *min) {
                return Some(format!("min_length={min}"));
            }
            if let Some(max) = self.max_length.filter(|max| length > *max) {
                return Some(format!("max_length={max}"));
            }
        }
        if let Some(pattern) = &self.pattern {
            if text.len() > Pattern::MAX_TEXT {
                return Some(format!("at most {} bytes, because it has a pattern", Pattern::MAX_TEXT));
            }
            if !pattern.matches(text) {
                return Some(format!("pattern={}", pattern.source()));
            }
        }
        let allowed = self.one_of.is_empty() || self.one_of.iter().any(|one| one == text);
        (!allowed).then(|| listed("enum", &self.one_of))
    }
}

/// What a choice may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChoiceConstraints {
    /// Distinct scalars, at least one.
    pub choices: Vec<Value>,
}

impl ChoiceConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let scalar = |v: &&Value| matches!(v, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_));
        if let Some(other) = self.choices.iter().find(|choice| !scalar(choice)) {
            return Err(invalid("choices", format!("a choice is a boolean, number or text, got {}", other.kind())));
        }
        if self.choices.is_empty() {
            return Err(invalid("choices", "a choice variable needs at least one"));
        }
        distinct("choices", &self.choices)
    }

    /// The constraint that the value breaks.
    pub(super) fn broken(&self, value: &Value) -> Option<String> {
        let previews = || self.choices.iter().map(Value::preview).collect::<Vec<_>>();
        (!self.choices.contains(value)).then(|| listed("choices", &previews()))
    }
}

/// What a module's name may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModuleConstraints {
    /// The allowed names; empty: any.
    pub modules: Vec<String>,
}

impl ModuleConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        distinct("modules", &self.modules)
    }

    /// The constraint that the name breaks.
    pub(super) fn broken(&self, name: &str) -> Option<String> {
        let allowed = self.modules.is_empty() || self.modules.iter().any(|module| module == name);
        (!allowed).then(|| listed("modules", &self.modules))
    }
}

fn distinct<T: Eq + std::hash::Hash>(name: &str, items: &[T]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    match items.iter().position(|item| !seen.insert(item)) {
        Some(index) => Err(invalid(name, format!("entry {index} occurs twice"))),
        None => Ok(()),
    }
}

/// `name=a,b,c`, cut where it gets long.
fn listed(name: &str, items: &[String]) -> String {
    const SHOWN: usize = 20;
    let more = if items.len() > SHOWN { format!(",… ({} in all)", items.len()) } else { String::new() };
    let shown: Vec<String> = items.iter().take(SHOWN).map(|item| item.chars().take(80).collect()).collect();
    format!("{name}={}{more}", shown.join(","))
}
