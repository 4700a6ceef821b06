use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
};

use snakepit_proto::v1::{ChangeKind, Variable};

use crate::{
    output::{table, terminal},
    show,
};

/// Another screen without a cursor, so that what was there before comes back at the end.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";
const TOP: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// A narrower terminal has no room for who and why.
const NARROW: usize = 60;

/// Variables as a table that is drawn anew as they change.
pub(super) struct Live {
    title: String,
    pub(super) revision: u64,
    variables: BTreeMap<String, Variable>,
    changes: u64,
    /// The one that changed last.
    latest: Option<String>,
}

impl Live {
    pub(super) fn open(title: String) -> io::Result<Self> {
        put(OPEN)?;
        Ok(Self { title, revision: 0, variables: BTreeMap::new(), changes: 0, latest: None })
    }

    pub(super) fn take(&mut self, variable: Variable, kind: Option<ChangeKind>) {
        if kind.is_some() {
            self.changes += 1;
            self.latest = Some(variable.name.clone());
        }
        if kind == Some(ChangeKind::Deleted) {
            self.variables.remove(&variable.name);
        } else {
            self.variables.insert(variable.name.clone(), variable);
        }
    }

    /// Draws it as large as the terminal is now.
    pub(super) fn draw(&self) -> io::Result<()> {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        let mut screen = String::from(TOP);
        // The last line stays without a line break: one there would scroll.
        for line in self.lines(columns, lines) {
            // Writing to a String does not fail.
            let _ = writeln!(screen, "{line}{CLEAR_LINE}");
        }
        let status = terminal::cut(&self.status("Ctrl-C ends"), columns).into_owned();
        let _ = write!(screen, "{}{CLEAR_LINE}{CLEAR_BELOW}", terminal::bold(&status));
        put(&screen)
    }

    /// Leaves the last state on the screen that was there before.
    pub(super) fn close(self) -> io::Result<()> {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        put(CLOSE)?;
        self.lines(columns, lines).iter().try_for_each(|line| terminal::line(line))?;
        terminal::line(&terminal::cut(&self.status("ended"), columns))
    }

    fn status(&self, end: &str) -> String {
        format!("{} changes, revision {}; {}; {end}", self.changes, self.revision, terminal::plain(&self.title))
    }

    /// The table in so many columns, one line shorter than the terminal.
    fn lines(&self, columns: usize, lines: usize) -> Vec<String> {
        let header = ["NAME", "VERSION", "VALUE", "BY", "REASON"];
        let cells = if columns < NARROW { 3 } else { header.len() };
        let row = |variable: &Variable| {
            let by = show::by(variable.updated_by.as_ref());
            let version = variable.version.to_string();
            let mut row = vec![variable.name.clone(), version, show::literal(variable), by, variable.reason.clone()];
            row.truncate(cells);
            row
        };
        let room = lines.saturating_sub(2);
        let more = self.variables.len() > room;
        let shown = if more { room.saturating_sub(1) } else { room };
        // Of too many, the one that has just changed is among those shown.
        let place = self.latest.as_ref().and_then(|latest| self.variables.keys().position(|name| name == latest));
        let from = place.map_or(0, |place| (place + 1).saturating_sub(shown.max(1)));
        let rows = self.variables.values().skip(from).take(shown).map(row).collect();
        let mut drawn = table::lines(&header[..cells], rows, Some(columns));
        for (index, line) in drawn.iter_mut().enumerate() {
            if index == 0 || place == Some(from + index - 1) {
                *line = terminal::bold(line).into_owned();
            }
        }
        if more {
            let hidden = self.variables.len() - shown;
            drawn.push(terminal::cut(&format!("and {hidden} more"), columns).into_owned());
        }
        drawn
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
