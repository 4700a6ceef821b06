//! Names of variables.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use super::sharing::InUse;
use crate::error::Error;

const MAX_LEN: usize = 128;

static IN_USE: InUse<str> = InUse::nothing();

/// A variable's name: `[A-Za-z_][A-Za-z0-9_.-]{0,127}`. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks the text; `INVALID_REQUEST` with field `name` otherwise.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::check(text).map(|()| Self(text.into()))
    }

    /// The same without making a name of it.
    pub fn check(text: &str) -> Result<(), Error> {
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
        let first = text.bytes().next();
        if first.is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
            && text.len() <= MAX_LEN
            && text.bytes().all(legal)
        {
            return Ok(());
        }
        let shown: String = text.chars().take(MAX_LEN).collect();
        Err(Error::invalid(
            "name",
            format!("{shown:?} is no variable name: it has to match [A-Za-z_][A-Za-z0-9_.-]{{0,127}}"),
        ))
    }

    /// Up to three of these that are like a text, nearest first.
    pub fn closest<'a>(text: &str, names: impl IntoIterator<Item = &'a Self>) -> Vec<String> {
        const SIMILAR: f64 = 0.8;
        let similarity = |other: &Self| (strsim::jaro_winkler(text, other), other.to_string());
        let mut near: Vec<_> = names.into_iter().map(similarity).filter(|(score, _)| *score >= SIMILAR).collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }

    /// What sorts before every name.
    pub fn lowest() -> Self {
        Self(Arc::default())
    }

    /// The same name, sharing its text with an equal one in use.
    #[must_use]
    pub fn interned(self) -> Self {
        Self(IN_USE.share(self.0))
    }

    /// The text, to share.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl TryFrom<&str> for Name {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
