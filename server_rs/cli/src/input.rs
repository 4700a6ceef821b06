//! Values and arguments from where a user says: the text itself, `-` for stdin, `@FILE` for a file.

use std::io::{self, Read as _};

use crate::Failure;

/// What a user gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Typed as it is.
    Text(String),
    /// The content of a file or of stdin.
    Content(Vec<u8>),
}

impl Given {
    /// As text. Of a file's, without the line break that it ends with.
    pub(super) fn text(self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Content(content) => {
                let mut text = String::from_utf8(content).map_err(|_| "it is no UTF-8 text".to_owned())?;
                if text.ends_with('\n') {
                    text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
                }
                Ok(text)
            }
        }
    }
}

/// Reads it; `verbatim`: it is what it looks like.
pub(super) fn read(text: String, verbatim: bool) -> Result<Given, Failure> {
    let cannot = |what: &str, error: io::Error| {
        Failure::failed(format!("cannot read {what}: {error}; name a file that is there, or give the value itself"))
    };
    match text.strip_prefix('@') {
        Some(path) if !verbatim => {
            std::fs::read(path).map(Given::Content).map_err(|error| cannot(&format!("the file {path:?}"), error))
        }
        None if text == "-" && !verbatim => {
            let mut content = Vec::new();
            io::stdin().lock().read_to_end(&mut content).map_err(|error| cannot("stdin", error))?;
            Ok(Given::Content(content))
        }
        Some(_) | None => Ok(Given::Text(text)),
    }
}
