//! Tokens, as a file in TOML says them.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::Error as _};
use sha2::{Digest as _, Sha256};
use snakepit_core::{
    access::{Principal, Role},
    glob::Glob,
};
use subtle::ConstantTimeEq as _;
use toml::Spanned;

/// What every token begins with, so that those who look for leaked ones find them.
const PREFIX: &str = "spt_";

/// The SHA-256 of a token: all that a server keeps of it. A token has 256 random bits, so nobody finds one by trying;
/// a slow hash, which makes that dear for passwords, would only make every request dear.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of what a client presents.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// As 64 hex digits.
    pub fn hex(&self) -> String {
        let digit = |half: u8| char::from_digit(half.into(), 16);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2).filter(|two| !two.starts_with('+'))?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

// Not a secret, but nobody's business either.
impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// Why a file's tokens cannot be used. Says nothing of what the file holds but where the fault is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TokenError {
    /// The line at fault, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// The tokens that a server accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<(Digest, Arc<Principal>)>);

impl Tokens {
    /// Reads what a file in TOML says: one `[[token]]` table for each.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let wrong = |at: usize, problem: String| {
            let before = text.get(..at).unwrap_or(text);
            TokenError { line: before.matches('\n').count() + 1, problem }
        };
        let File { token: entries } = toml::from_str(text)
            .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        if entries.is_empty() {
            return Err(wrong(text.len(), "there is no [[token]] in it".into()));
        }
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        let mut tokens = Vec::with_capacity(entries.len());
        for entry in entries {
            let Entry { name, sha256, sessions, roles } = entry;
            if !names.insert(Arc::clone(&name.get_ref().0)) {
                return Err(wrong(name.span().start, format!("there are two tokens named {:?}", name.get_ref().0)));
            }
            if !digests.insert(sha256.get_ref().clone()) {
                return Err(wrong(sha256.span().start, "another token has the same sha256".into()));
            }
            let principal = Principal {
                name: name.into_inner().0,
                verified: true,
                roles: roles.into_iter().map(|role| role.0).collect(),
                sessions: Some(sessions.iter().map(|glob| Glob::new(glob)).collect()),
            };
            tokens.push((sha256.into_inner(), Arc::new(principal)));
        }
        Ok(Self(tokens))
    }

    /// Whose token this is the digest of. All are compared, each in full, so that the time tells nothing.
    pub fn find(&self, digest: &Digest) -> Option<&Arc<Principal>> {
        self.0.iter().fold(None, |found, (known, principal)| {
            let same = bool::from(digest.0.ct_eq(&known.0));
            if same { Some(principal) } else { found }
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<TokenName>,
    sha256: Spanned<Digest>,
    sessions: Vec<String>,
    roles: Vec<RoleName>,
}

/// What a token is called: 1 to 128 printable characters.
struct TokenName(Arc<str>);

impl TokenName {
    fn parse(text: &str) -> Result<Self, String> {
        if (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            return Ok(Self(text.into()));
        }
        Err("a token's name has 1 to 128 characters, none of them a control character".into())
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // What is there instead may be the token itself: it is not repeated.
        let wrong = || D::Error::custom("sha256 takes the 64 hex digits that `snakepit token new` prints");
        Self::parse(&String::deserialize(from)?).ok_or_else(wrong)
    }
}

struct RoleName(Role);

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A new token, and what a file has to say of it.
#[derive(Clone)]
pub struct NewToken {
    /// The token: for its holder alone.
    pub token: String,
    /// The table for the file.
    pub table: String,
}

impl NewToken {
    /// Makes one of 256 bits of the system's randomness.
    pub fn make(name: &str, roles: &[Role], sessions: &[String]) -> Result<Self, String> {
        TokenName::parse(name)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("the system gives no randomness: {error}"))?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        // A JSON string without control characters is a basic string of TOML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
        let table = format!(
            "[[token]]\nname = {}\nsha256 = \"{}\"\nsessions = {}\nroles = {}\n",
            quoted(name),
            Digest::of(token.as_bytes()).hex(),
            list(sessions.iter().map(|glob| quoted(glob)).collect()),
            list(roles.iter().map(|role| quoted(role.name())).collect()),
        );
        Tokens::parse(&table).map_err(|error| error.problem)?;
        Ok(Self { token, table })
    }
}
