//! Who calls, and what they may do.

use std::{fmt, str::FromStr, sync::Arc};

use crate::glob::Glob;

/// What a caller may be allowed. No role implies another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read sessions and variables, and watch them.
    Read,
    /// Create sessions and change their variables. What the server computes of a value that is not secret is returned.
    Write,
    /// Call tools, look after calls, and cancel them.
    CallTool,
    /// Serve tools.
    OfferTool,
    /// See the values of secrets, together with read; have the server compute on them, together with write.
    ReadSecret,
    /// Register variables anew, with another spec or as plain ones; delete secrets; end sessions.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::CallTool, Self::OfferTool, Self::ReadSecret, Self::Admin];

    /// Its name, as files and refusals have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::CallTool => "call_tool",
            Self::OfferTool => "offer_tool",
            Self::ReadSecret => "read_secret",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no role; there are {known}")
        })
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Every role.
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    /// Whether this one is among them.
    pub fn has(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    /// The same without one.
    #[must_use]
    pub fn without(self, role: Role) -> Self {
        Self(self.0 & !Self::bit(role))
    }

    fn bit(role: Role) -> u8 {
        1 << role as u8
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | Self::bit(role)))
    }
}

/// Who calls. Without authentication everyone is [`Principal::anonymous`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name, for `updated_by`.
    pub name: Arc<str>,
    /// Whether the name is known to be true.
    pub verified: bool,
    /// What it may do.
    pub roles: Roles,
    /// The sessions it may do it to: those that one of these matches; none: all.
    pub sessions: Option<Arc<[Glob]>>,
}

impl Principal {
    /// Everyone, while there is no authentication: unknown by name, allowed everything.
    pub fn anonymous() -> Self {
        Self { name: "anonymous".into(), verified: false, roles: Roles::all(), sessions: None }
    }

    /// The same without a role.
    #[must_use]
    pub fn without(self, role: Role) -> Self {
        Self { roles: self.roles.without(role), ..self }
    }

    /// Whether it may do what takes this role.
    pub fn may(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// Whether it may know of this session.
    pub fn reaches(&self, session: &str) -> bool {
        self.sessions.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(session)))
    }

    /// Whether it may know of every session there is, or will be.
    pub fn reaches_all(&self) -> bool {
        self.sessions.as_ref().is_none_or(|globs| globs.contains(&Glob::new("*")))
    }
}
