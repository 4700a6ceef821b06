//! Tokens, and the file that says which there are.

mod file;
#[cfg(test)]
mod tests;
mod tokens;

pub use file::{TokenFile, read_token_file};
pub use tokens::{Digest, NewToken, TokenError, Tokens};
