//! Rows in columns, as wide as the terminal is; where that leaves too little of them, a block for each row.

use std::io;

use crate::output::terminal;

/// No column is made narrower than this.
const LEAST: usize = 3;
/// What is cut shorter tells nothing.
const LEGIBLE: usize = 8;
const BETWEEN: &str = "  ";

/// Prints rows under a header. Wider than the terminal, columns are cut, and if that left nothing to read, each row is a
/// block of lines with everything in it; into a pipe everything goes.
pub(crate) fn print(header: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let width = terminal::size().map(|(columns, _)| columns);
    if !rows.is_empty() && width.is_some_and(|width| !legible(header, &rows, width)) {
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                terminal::line("")?;
            }
            block(&header.iter().map(|&title| title.to_owned()).zip(row).collect::<Vec<_>>())?;
        }
        return Ok(());
    }
    let lines = lines(header, rows, width);
    let (first, rest) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    terminal::line(&terminal::bold(first))?;
    rest.iter().try_for_each(|line| terminal::line(line))
}

/// Prints what has a name and a value, below each other. What is empty is left out.
pub(crate) fn block(facts: &[(String, String)]) -> io::Result<()> {
    let facts = || facts.iter().filter(|(_, value)| !value.is_empty());
    let column = facts().map(|(name, _)| terminal::columns(name)).max().unwrap_or_default();
    for (name, value) in facts() {
        let missing = column - terminal::columns(name);
        let name = format!("{}{:missing$}{BETWEEN}", terminal::bold(name), "");
        terminal::wrapped(&name, column + BETWEEN.len(), &terminal::plain(value))
            .iter()
            .try_for_each(|line| terminal::line(line))?;
    }
    Ok(())
}

/// Whether every column keeps enough of what is in it.
fn legible(header: &[&str], rows: &[Vec<String>], width: usize) -> bool {
    let widest = |(column, title): (usize, &&str)| {
        let cells = rows.iter().map(|row| terminal::columns(&terminal::plain(&row[column])));
        cells.chain([terminal::columns(title)]).max().unwrap_or_default().min(LEGIBLE)
    };
    header.iter().enumerate().map(widest).sum::<usize>() + BETWEEN.len() * (header.len() - 1) <= width
}

/// The header and the rows, each a line of at most that many columns.
pub(crate) fn lines(header: &[&str], rows: Vec<Vec<String>>, width: Option<usize>) -> Vec<String> {
    let header = header.iter().map(|&title| title.to_owned()).collect();
    let plain =
        |row: Vec<String>| -> Vec<String> { row.iter().map(|cell| terminal::plain(cell).into_owned()).collect() };
    let rows: Vec<_> = std::iter::once(header).chain(rows.into_iter().map(plain)).collect();
    let widest = |column: usize| rows.iter().map(|row| terminal::columns(&row[column])).max().unwrap_or_default();
    let mut widths: Vec<usize> = (0..rows[0].len()).map(widest).collect();
    if let Some(width) = width {
        let room = width.saturating_sub(BETWEEN.len() * (widths.len() - 1));
        while widths.iter().sum::<usize>() > room {
            // The last among the widest: what stands first names the row.
            let Some((column, _)) = widths.iter().enumerate().max_by_key(|(_, width)| **width) else { break };
            if widths[column] <= LEAST {
                break;
            }
            widths[column] -= 1;
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| {
            let cell = terminal::cut(cell, width);
            let missing = width.saturating_sub(terminal::columns(&cell));
            format!("{cell}{:missing$}", "")
        });
        let line = cells.collect::<Vec<_>>().join(BETWEEN);
        terminal::cut(line.trim_end(), width.unwrap_or(usize::MAX)).into_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![
            row(["温度", "1", "\u{1b}[31mred\n"]),
            row(["a_rather_long_name_for_one", "100", "a value that goes on and on"]),
        ]
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 9..90 {
            let lines = lines(&["NAME", "VERSION", "VALUE"], rows(), Some(width));
            assert!(lines.iter().all(|line| terminal::columns(line) <= width), "{width}: {lines:?}");
        }
        let narrow = lines(&["NAME", "VERSION", "VALUE"], rows(), Some(40));
        assert!(narrow[2].contains('…') && narrow[2].starts_with("a_rather_"), "{narrow:?}");
    }

    #[test]
    fn a_pipe_gets_everything_and_columns_stand_below_each_other() {
        let lines = lines(&["NAME", "VERSION", "VALUE"], rows(), None);
        assert!(lines[2].ends_with("a value that goes on and on"));
        let place = |line: &str, text: &str| terminal::columns(&line[..line.find(text).unwrap_or_default()]);
        assert_eq!(place(&lines[1], "\\u{1b}"), place(&lines[2], "a value"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        let lines = lines(&["NAME", "VERSION", "VALUE"], rows(), None);
        assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
        assert!(lines[1].ends_with(r"\u{1b}[31mred\n"));
    }
}
