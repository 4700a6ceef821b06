//! `snakepit doctor`: what is wrong, and what to do about it.

mod machine;
mod server;

use std::path::PathBuf;

use serde_json::json;

use crate::{Failure, output::terminal, remote::client::At};

/// Find out what is wrong with a server, the way to it, or this machine: a line per check, and what to do.
///
/// It makes a session of its own and ends it at once, which tells whether writes are accepted and what the server's clock
/// says; --no-write leaves that out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing has failed, 1 something has, 2 wrong usage.")]
pub(super) struct Doctor {
    #[command(flatten)]
    at: At,
    /// Where a server on this machine keeps sessions.
    #[arg(long, env = "SNAKEPIT_DATA_DIR", default_value = ".snakepit", value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// The certificate that a server on this machine shows, to see whether it is valid.
    #[arg(long, env = "SNAKEPIT_TLS_CERT", value_name = "FILE")]
    server_cert: Option<PathBuf>,
    /// Make no session to see whether writes are accepted.
    #[arg(long)]
    no_write: bool,
    /// Print one JSON object per check.
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    /// What to do; empty if all is well.
    next: String,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), next: String::new() }
    }

    fn warn(check: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), next: next.into() }
    }

    fn fail(check: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(check, what, next) }
    }
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut report = Report { json: self.json, failed: 0 };
        let met = server::check(&self.at, self.no_write, &mut report).await?;
        for finding in machine::check(&self.data_dir, self.server_cert.as_deref(), met.as_ref()) {
            report.tell(&finding)?;
        }
        match report.failed {
            0 => Ok(()),
            1 => Err(Failure::failed("a check failed; the line that begins with `fail` says what to do")),
            failed => Err(Failure::failed(format!("{failed} checks failed; begin with the first of them"))),
        }
    }
}

/// Tells findings as they are made.
struct Report {
    json: bool,
    failed: usize,
}

impl Report {
    fn tell(&mut self, finding: &Finding) -> Result<(), Failure> {
        let Finding { check, verdict, what, next } = finding;
        self.failed += usize::from(*verdict == Verdict::Fail);
        let (word, colour) = match verdict {
            Verdict::Ok => ("ok", "32"),
            Verdict::Warn => ("warn", "33"),
            Verdict::Fail => ("fail", "31"),
        };
        if self.json {
            let object = json!({"check": check, "verdict": word, "what": what, "next": next});
            return Ok(terminal::object(&object)?);
        }
        let (what, next) = (terminal::plain(what), terminal::plain(next));
        let next = if next.is_empty() { String::new() } else { format!("; {next}") };
        let word = format!("{}  ", terminal::coloured(&format!("{word:4}"), colour));
        let lines = terminal::wrapped(&word, 6, &format!("{check}: {what}{next}"));
        Ok(lines.iter().try_for_each(|line| terminal::line(line))?)
    }
}
