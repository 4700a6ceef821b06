//! Limits on numbers.

use std::hash::{Hash, Hasher};

use super::invalid_constraint as invalid;
use crate::error::Error;

/// Limits on a float. By default finite, and nothing more.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of the proto message")]
pub struct FloatConstraints {
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// Whether `min` itself is refused.
    pub exclusive_min: bool,
    /// Whether `max` itself is refused.
    pub exclusive_max: bool,
    /// The distance of allowed values from `min` or 0.
    pub step: Option<f64>,
    /// Accepts NaN, whatever the other limits.
    pub allow_nan: bool,
    /// Accepts the infinities within `min` and `max`, whatever the step.
    pub allow_infinity: bool,
}

impl FloatConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        for (name, bound) in [("min", self.min), ("max", self.max), ("step", self.step)] {
            if let Some(bound) = bound.filter(|bound| !bound.is_finite()) {
                return Err(invalid(name, format!("has to be finite, got {bound}")));
            }
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && (min > max || (min >= max && (self.exclusive_min || self.exclusive_max)))
        {
            return Err(invalid("min", format!("no value lies between min={min} and max={max}")));
        }
        match self.step {
            Some(step) if step <= 0.0 => Err(invalid("step", format!("has to be above 0, got {step}"))),
            Some(_) | None => Ok(()),
        }
    }

    /// The constraint that the value breaks.
    pub(super) fn broken(&self, value: f64) -> Option<String> {
        if value.is_nan() {
            return (!self.allow_nan).then(|| "allow_nan=false".into());
        }
        if value.is_infinite() && !self.allow_infinity {
            return Some("allow_infinity=false".into());
        }
        if let Some(min) = self.min.filter(|min| value < *min || (self.exclusive_min && value <= *min)) {
            return Some(bound("min", min, self.exclusive_min));
        }
        if let Some(max) = self.max.filter(|max| value > *max || (self.exclusive_max && value >= *max)) {
            return Some(bound("max", max, self.exclusive_max));
        }
        let step = self.step.filter(|step| value.is_finite() && !on_grid(value, self.min.unwrap_or(0.0), *step))?;
        Some(format!("step={step:?}"))
    }
}

fn bound(name: &str, bound: f64, exclusive: bool) -> String {
    format!("{name}={bound:?}{}", if exclusive { " (exclusive)" } else { "" })
}

/// Whether `|value - base - k*step| <= 1e-9 * max(1, |value|)` for a whole k.
fn on_grid(value: f64, base: f64, step: f64) -> bool {
    let tolerance = 1e-9 * value.abs().max(1.0);
    // Within half a step of everything: k might not even be representable.
    tolerance >= step / 2.0 || {
        let k = ((value - base) / step).round();
        (value - base - k * step).abs() <= tolerance
    }
}

impl PartialEq for FloatConstraints {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for FloatConstraints {}

impl Hash for FloatConstraints {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl FloatConstraints {
    /// The content as something that compares exactly; -0.0 is the bound 0.0.
    fn bits(&self) -> ([Option<u64>; 3], [bool; 4]) {
        let bits = [self.min, self.max, self.step].map(|bound| bound.map(|bound| (bound + 0.0).to_bits()));
        (bits, [self.exclusive_min, self.exclusive_max, self.allow_nan, self.allow_infinity])
    }
}

/// Limits on an integer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntegerConstraints {
    /// The least value.
    pub min: Option<i64>,
    /// The greatest value.
    pub max: Option<i64>,
    /// The distance of allowed values from `min` or 0; at least 1.
    pub step: Option<i64>,
}

impl IntegerConstraints {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return Err(invalid("min", format!("no value lies between min={min} and max={max}")));
        }
        match self.step {
            Some(step) if step < 1 => Err(invalid("step", format!("has to be at least 1, got {step}"))),
            Some(_) | None => Ok(()),
        }
    }

    /// The constraint that the value breaks.
    pub(super) fn broken(&self, value: i64) -> Option<String> {
        if let Some(min) = self.min.filter(|min| value < *min) {
            return Some(format!("min={min}"));
        }
        if let Some(max) = self.max.filter(|max| value > *max) {
            return Some(format!("max={max}"));
        }
        let from_base = i128::from(value) - i128::from(self.min.unwrap_or(0));
        let step = self.step.filter(|step| from_base.checked_rem(i128::from(*step)) != Some(0))?;
        Some(format!("step={step}"))
    }
}
