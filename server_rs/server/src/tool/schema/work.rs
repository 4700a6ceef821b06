//! How much work a check may be: schema and arguments are strangers', and their product can be any amount of it.
//!
//! A check runs on one thread from its beginning to its end. Every look at a value is a step; when the steps are used
//! up, objects and arrays have no further members, so that the check is over soon, and what it says counts for nothing.

use std::cell::Cell;

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
    static NAME_COST: Cell<usize> = const { Cell::new(0) };
}

/// How many steps a check may take: a few hundred milliseconds.
const STEPS_OF_A_CHECK: usize = 20_000_000;

/// Runs a check in which looking at a member's name takes `name_cost` steps for each of its bytes. None if it was too
/// much work.
pub(super) fn limited<T>(name_cost: usize, check: impl FnOnce() -> T) -> Option<T> {
    limited_to(STEPS_OF_A_CHECK, name_cost, check)
}

/// The same with fewer steps.
pub(super) fn limited_to<T>(steps: usize, name_cost: usize, check: impl FnOnce() -> T) -> Option<T> {
    STEPS.set(steps);
    NAME_COST.set(name_cost);
    let outcome = check();
    (!is_over()).then_some(outcome)
}

/// Takes steps.
pub(super) fn step(steps: usize) {
    STEPS.set(STEPS.get().saturating_sub(steps));
}

/// Takes the steps of telling of an error: all errors together take memory, so there are ten thousand at most.
pub(super) fn step_error() {
    step(STEPS_OF_A_CHECK / 10_000);
}

/// Takes the steps of looking at a member's name.
pub(super) fn step_name(name: &str) {
    step(1 + name.len().saturating_mul(NAME_COST.get()));
}

/// Whether no steps are left.
pub(super) fn is_over() -> bool {
    STEPS.get() == 0
}
