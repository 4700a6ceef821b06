//! What a session's id stands for at a moment.

use std::{sync::Arc, time::Duration};

use crate::{
    error::Error,
    session::{Incarnation, Position, SessionId, State},
    variable::Timestamp,
};

/// What a session's id stands for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Slot {
    /// Nothing, or nothing that is remembered.
    #[default]
    Vacant,
    /// A live session.
    Live(Arc<State>),
    /// A session that has ended.
    Ended(Ended),
}

/// What is remembered of a session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its last position.
    pub position: Position,
    /// When it ended.
    pub at: Timestamp,
    /// The time that was lived until then.
    pub lived: Timestamp,
    /// How it ended.
    pub how: End,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was deleted.
    Deleted,
    /// It outlived its ttl.
    Expired,
}

impl Ended {
    /// How long an expired id answers `SESSION_EXPIRED`.
    pub const REMEMBERED: Duration = Duration::from_secs(86_400);

    /// Whether the id, when so much time was lived, stands for nothing any more, so that the slot may be vacated. A deleted session is kept
    /// as long as an expired one, to recognise its incarnation.
    pub fn is_forgotten(&self, lived: Timestamp) -> bool {
        lived.since(self.lived) >= Self::REMEMBERED
    }

    fn error(&self, id: &SessionId, lived: Timestamp) -> Error {
        match self.how {
            End::Expired if !self.is_forgotten(lived) => Error::SessionExpired { session: id.shared() },
            End::Expired | End::Deleted => Error::SessionNotFound { session: id.shared() },
        }
    }
}

impl Slot {
    /// The live session, in the life meant. `SESSION_NOT_FOUND`, or `SESSION_EXPIRED` also for another life.
    pub fn live(&self, id: &SessionId, meant: Option<Incarnation>, lived: Timestamp) -> Result<&Arc<State>, Error> {
        match self {
            Self::Vacant => Err(Error::SessionNotFound { session: id.shared() }),
            Self::Ended(ended) => Err(ended.error(id, lived)),
            Self::Live(state) if meant.is_some_and(|meant| meant != state.incarnation) => {
                Err(Error::SessionExpired { session: id.shared() })
            }
            Self::Live(state) => Ok(state),
        }
    }

    /// The time that was lived until its newest event.
    pub fn last_lived(&self) -> Option<Timestamp> {
        match self {
            Self::Vacant => None,
            Self::Live(state) => Some(state.last_lived),
            Self::Ended(ended) => Some(ended.lived),
        }
    }

    /// The position of its newest event.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Vacant => None,
            Self::Live(state) => Some(state.position()),
            Self::Ended(ended) => Some(ended.position),
        }
    }
}
