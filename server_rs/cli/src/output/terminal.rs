//! What is known of the terminal, if stdout is one.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use serde_json::Value as Json;
use terminal_size::{Height, Width, terminal_size_of};
use textwrap::{Options, WordSeparator::AsciiSpace, WordSplitter::NoHyphenation};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Its columns and lines. None: stdout is no terminal.
pub(crate) fn size() -> Option<(usize, usize)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    // One that does not know, such as a serial line, is taken for the usual.
    let told = terminal_size_of(io::stdout()).filter(|(Width(columns), Height(lines))| *columns > 0 && *lines > 0);
    Some(told.map_or((80, 24), |(Width(columns), Height(lines))| (columns.into(), lines.into())))
}

/// Whether to colour what goes to it.
pub(crate) fn colours() -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    io::stdout().is_terminal() && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The text in bold, where colours are wanted.
pub(crate) fn bold(text: &str) -> Cow<'_, str> {
    coloured(text, "1")
}

/// The text in a colour, given as a terminal takes it, where colours are wanted.
pub(crate) fn coloured<'a>(text: &'a str, colour: &str) -> Cow<'a, str> {
    if colours() { Cow::Owned(format!("\x1b[{colour}m{text}\x1b[0m")) } else { Cow::Borrowed(text) }
}

/// The text on one line and without what a terminal would obey: others write values, reasons and names of authors.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, obeyed)
}

/// The same on as many lines as it has, with its tabs.
pub(crate) fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// Whether a terminal does something at it other than showing it.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, escape: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escape) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if escape(c) {
            // Writing to a String does not fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// An object on one line. What a terminal would obey is escaped as JSON has it, wherever it goes: it means the same, and who
/// pages through it is in a terminal, too.
pub(crate) fn json(object: &Json) -> String {
    let text = object.to_string();
    if !text.contains(obeyed) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Text behind a prefix of so many columns, on as many lines as it takes in the terminal, the further ones below the
/// text. A pipe gets one line.
pub(crate) fn wrapped(prefix: &str, columns: usize, text: &str) -> Vec<String> {
    let Some((width, _)) = size() else { return vec![format!("{prefix}{text}")] };
    broken(prefix, columns, text, width)
}

fn broken(prefix: &str, columns: usize, text: &str, width: usize) -> Vec<String> {
    // Too little room to keep all of it below the text.
    let indent = " ".repeat(if columns * 2 > width { 2.min(columns) } else { columns });
    let first = " ".repeat(columns);
    let options = Options::new(width).word_separator(AsciiSpace).word_splitter(NoHyphenation);
    let lines = textwrap::wrap(text, options.initial_indent(&first).subsequent_indent(&indent));
    let line = |(index, line): (usize, Cow<'_, str>)| {
        // Of a line that is empty the spaces are cut off.
        if index == 0 {
            format!("{prefix}{}", line.strip_prefix(&first).unwrap_or_default())
        } else {
            line.into_owned()
        }
    };
    lines.into_iter().enumerate().map(line).collect()
}

/// How many columns it takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// As much of it as fits into so many columns; `…` stands for the rest.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut taken) = (String::new(), 0);
    for c in text.chars() {
        taken += c.width().unwrap_or_default();
        if taken + 1 > width {
            break;
        }
        shown.push(c);
    }
    if width > 0 {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// Writes a line at once: whoever reads a watch waits for it.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes an object on a line: see [`json`].
pub(crate) fn object(object: &Json) -> io::Result<()> {
    line(&json(object))
}

/// The same of what others have written: in a terminal, without what that would obey.
pub(crate) fn others(text: &str) -> io::Result<()> {
    if size().is_some() { line(&plain_lines(text)) } else { line(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_keeps_every_word_and_fits() {
        let text = "a sentence with 温度 and one_word_that_is_much_longer_than_the_terminal_is_wide: 1, 2, 3";
        for (width, prefix, indent) in
            [(11, "ok    ", "  "), (40, "ok    ", "      "), (40, "a rather long name     ", "  ")]
        {
            let lines = broken(prefix, columns(prefix), text, width);
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}: {lines:?}");
            assert!(lines[0].starts_with(prefix), "{lines:?}");
            assert!(
                lines[1..].iter().all(|line| columns(line) - columns(line.trim_start()) == indent.len()),
                "{lines:?}"
            );
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters(&format!("{prefix}{text}")));
        }
        assert_eq!(broken("ok    ", 6, "", 40), ["ok    "]);
    }
}
