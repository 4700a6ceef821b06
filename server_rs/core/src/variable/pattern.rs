//! Regular expressions that cannot stall the server.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use regex::{Regex, RegexBuilder};

/// The greatest size of a compiled pattern, in bytes.
const MAX_COMPILED: usize = 256 * 1024;

/// A linear-time regular expression that a whole text has to match. Compiled once, at its first use, and shared by
/// clones; equal if the source is.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    compiled: Arc<OnceLock<Option<Regex>>>,
}

impl Pattern {
    /// The greatest text a pattern is asked about, in bytes. Matching takes up to the product of text and compiled
    /// pattern, so both are bounded: the costliest pattern takes about a second.
    pub const MAX_TEXT: usize = 32 * 1024;

    /// A pattern, unchecked: [`Pattern::validate`] tells whether it is one.
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), compiled: Arc::default() }
    }

    /// The source, without anchors.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Says what is wrong with the source, or that it compiles to too much.
    pub fn validate(&self) -> Result<(), String> {
        // On its own first: `a)|(b` only becomes valid inside the anchors' group.
        compile(&self.source)
            .and_then(|_| compile(&anchored(&self.source)))
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Whether the whole text matches. An invalid pattern and a text beyond [`Self::MAX_TEXT`] match nothing.
    pub fn matches(&self, text: &str) -> bool {
        let regex = self.compiled.get_or_init(|| compile(&anchored(&self.source)).ok());
        text.len() <= Self::MAX_TEXT && regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

fn anchored(source: &str) -> String {
    format!(r"\A(?:{source})\z")
}

fn compile(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build()
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
