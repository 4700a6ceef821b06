//! Sessions as a pure state machine: [`decide`] checks a command and says which event it makes, [`apply`] makes the next
//! state of an event. Permissions, limits, constraints and expected versions are questions to `decide`; an event states
//! results, so that replaying it needs none of them.

mod apply;
mod batch;
mod command;
mod decide;
mod deletions;
mod event;
mod filter;
mod hash;
mod history;
mod identity;
mod kept;
mod log;
mod operation;
#[cfg(test)]
mod properties;
mod remembered;
mod slot;
mod state;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "testing"))]
pub mod whole;

pub use apply::apply;
pub use command::{Action, Answer, Command, Context, Create, Decision, Operation, Refused, Write, Written};
pub use decide::decide;
pub use deletions::Forgotten;
pub use event::{Body, Change, ChangeKind, Event, Idempotency, Outcome};
pub use filter::Filter;
pub use history::{RecordKind, VersionRecord};
pub use identity::{Incarnation, Position, SessionId};
pub use kept::Kept;
pub use log::Behind;
pub use remembered::Original;
pub use slot::{End, Ended, Slot};
pub use state::State;
pub use sync::Sync;
