//! Faults that a server can be started with, each what a believable mistake in its code would do: whatever watches over
//! the server has to catch them, or else what it does not find means nothing.
//!
//! They are there with the feature `planted-faults` alone. `SNAKEPIT_PLANTED_FAULT` names the one that a server has; the
//! place of each asks [`strikes`] whether it is to go wrong this time.

#[cfg(feature = "planted-faults")]
mod acts;
#[cfg(feature = "planted-faults")]
mod fault;

#[cfg(feature = "planted-faults")]
pub(crate) use acts::{answer_first, given_before, in_two, join, make_room, without_last};
#[cfg(feature = "planted-faults")]
pub(crate) use fault::{Fault, announce};

/// Whether this fault strikes now. Without the feature it is `false`, and no question.
#[cfg(feature = "planted-faults")]
macro_rules! strikes {
    ($fault:ident) => {
        $crate::planted::Fault::$fault.strikes()
    };
}
#[cfg(not(feature = "planted-faults"))]
macro_rules! strikes {
    ($fault:ident) => {
        false
    };
}
pub(crate) use strikes;
