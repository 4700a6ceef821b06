//! The two questions of whoever keeps a server running: whether to start it anew, and whether to send it work.

use std::{fmt::Write as _, sync::Arc};

use crate::service::context::Serving;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Would anything but a restart help?
    Live,
    /// Does it do all of its work?
    Ready,
}

/// One thing that was looked at, and what is wrong with it.
type Check = (&'static str, Option<Arc<str>>);

impl Probe {
    /// Whether all is well, and the answer as Kubernetes' own servers word it. A query may ask for all checks
    /// (`verbose`), and leave some out (`exclude=NAME`).
    pub(super) fn ask(self, serving: &Serving, query: &str) -> (bool, String) {
        let asked = |wanted| query.split('&').any(|part| part == wanted);
        let excluded = |name| query.split('&').any(|part| part.strip_prefix("exclude=") == Some(name));
        let checks = self.checks(serving);
        let checks: Vec<_> = checks.into_iter().filter(|(name, _)| !excluded(*name)).collect();
        let well = checks.iter().all(|(_, problem)| problem.is_none());
        if well && !asked("verbose") && !asked("verbose=true") {
            return (true, "ok\n".into());
        }
        let mut said = String::new();
        for (name, problem) in checks {
            // Writing into a string does not fail.
            let _ = match problem {
                None => writeln!(said, "[+]{name} ok"),
                Some(problem) => writeln!(said, "[-]{name} failed: {problem}"),
            };
        }
        let _ = writeln!(said, "{} check {}", self.name(), if well { "passed" } else { "failed" });
        (well, said)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    fn checks(self, serving: &Serving) -> Vec<Check> {
        // That it answers at all says that its threads are not stuck.
        let ended = serving.store.has_ended().then(|| "the task that commits has ended; restart the server".into());
        let committer = ("committer", ended);
        match self {
            Self::Live => vec![committer],
            Self::Ready => {
                let stopping = serving.stopping.is_cancelled().then(|| "the server is stopping".into());
                vec![committer, ("journal", serving.store.health().trouble()), ("serving", stopping)]
            }
        }
    }
}
