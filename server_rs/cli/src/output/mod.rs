//! What commands print, and where: text for people, objects for programs, as wide as the terminal is.

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod terminal;
