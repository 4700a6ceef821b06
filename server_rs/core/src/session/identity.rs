//! Which session, which life of it, and how far.

use std::{fmt, ops::Deref, sync::Arc};

use crate::error::Error;

/// A session's id: 1 to 128 characters out of `[A-Za-z0-9_.:-]`. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Checks the text; `INVALID_REQUEST` with field `session_id` otherwise.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b':' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text.into()));
        }
        let shown: String = text.chars().take(128).collect();
        let problem = format!("{shown:?} is no session id: it takes 1 to 128 characters out of [A-Za-z0-9_.:-]");
        Err(Error::invalid("session_id", problem))
    }

    /// The text, to share.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl TryFrom<&str> for SessionId {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Deref for SessionId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 16 random bytes that name one life of a session's id. Displays as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

impl TryFrom<&[u8]> for Incarnation {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |_| Error::invalid("incarnation", format!("takes exactly 16 bytes, got {}", bytes.len()));
        bytes.try_into().map(Self).map_err(wrong)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A point in a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life.
    pub incarnation: Incarnation,
    /// How many events it has had; its creation is 1.
    pub revision: u64,
}
