use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use crate::output::terminal;

/// What is over sooner needs none.
const QUIET: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// How far something long has come, on stderr if that is a terminal.
pub(crate) struct Progress {
    what: String,
    total: usize,
    done: usize,
    next: Instant,
    wanted: bool,
    shown: bool,
}

impl Progress {
    pub(crate) fn of(what: &str, total: usize) -> Self {
        let what = terminal::plain(what).into_owned();
        let wanted = io::stderr().is_terminal();
        Self { what, total, done: 0, next: Instant::now() + QUIET, wanted, shown: false }
    }

    /// The same of what is printed as it is done: where a terminal shows that, it tells enough, and would be mixed up.
    pub(crate) fn of_printing(what: &str, total: usize) -> Self {
        let mut it = Self::of(what, total);
        it.wanted &= terminal::size().is_none();
        it
    }

    /// So many more are done.
    pub(crate) fn step(&mut self, more: usize) {
        self.done += more;
        if !self.wanted || Instant::now() < self.next {
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
