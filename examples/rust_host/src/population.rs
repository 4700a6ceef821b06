use schemars::JsonSchema;
use serde::Deserialize;

/// Inhabitants of the city proper, as their statistical offices counted them.
const POPULATIONS: [(&str, u64); 8] = [
    ("Paris", 2_102_650),
    ("Berlin", 3_755_251),
    ("Madrid", 3_332_035),
    ("Rome", 2_755_309),
    ("Vienna", 2_005_760),
    ("Lisbon", 545_796),
    ("Dublin", 592_713),
    ("Oslo", 717_710),
];

/// What to look up.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct City {
    /// The city's English name, e.g. Paris.
    pub(crate) city: String,
}

/// The cities that can be asked for, over and over.
pub(crate) fn cities() -> impl Iterator<Item = &'static str> {
    POPULATIONS.iter().map(|(city, _)| *city).cycle()
}

/// How many people live there.
pub(crate) fn population_of(city: &str) -> Result<u64, String> {
    let known = || POPULATIONS.iter().map(|(city, _)| *city).collect::<Vec<_>>().join(", ");
    let found = POPULATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(city.trim()));
    found.map(|(_, population)| *population).ok_or_else(|| format!("no population of {city:?}; known are {}", known()))
}
