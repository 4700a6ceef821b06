use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::terminal;

/// What is over sooner needs none.
const QUIET: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// How far something long has come, on stderr if that is a terminal.
pub(super) struct Progress {
    what: String,
    total: usize,
    done: usize,
    next: Instant,
    shown: bool,
}

impl Progress {
    pub(super) fn of(what: &str, total: usize) -> Self {
        let what = terminal::plain(what).into_owned();
        Self { what, total, done: 0, next: Instant::now() + QUIET, shown: false }
    }

    /// So many more are done.
    pub(super) fn step(&mut self, more: usize) {
        self.done += more;
        if Instant::now() < self.next || !io::stderr().is_terminal() {
            return;
        }
        self.next = Instant::now() + EVERY;
        self.shown = true;
        eprint!("\r{}: {} of {}\x1b[K", self.what, self.done, self.total);
        drop(io::stderr().flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
