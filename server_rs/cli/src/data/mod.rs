//! `snakepit data`: what a server keeps in its directory, without the server.

mod export;
mod import;

use std::path::PathBuf;

use clap::Subcommand;
use snakepit_server::journal::{
    sqlite as disk,
    sqlite::{Loss, OpenError},
};

use crate::{Failure, output::terminal};

pub(super) use export::HEADER;
pub(super) use import::read;

/// Check, back up, export, import or compact what a server keeps in its directory.
#[derive(Debug, clap::Args)]
pub(super) struct Data {
    /// The directory.
    #[arg(long, global = true, env = "SNAKEPIT_DATA_DIR", default_value = ".snakepit", value_name = "DIRECTORY")]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything, and tell what is damaged. A server may be using the directory.
    Check,
    /// Copy everything, as it is now, into another directory. A server may be using this one.
    Backup {
        /// The directory to copy to; made if it is not there.
        to: PathBuf,
    },
    /// Print every session, variable and kept version, one JSON object per line. A server may be using the directory.
    #[command(after_help = export::FORMAT)]
    Export {
        /// Print the values of secret variables too; otherwise they are marked as redacted.
        #[arg(long)]
        with_secrets: bool,
    },
    /// Put what `export` printed, from stdin, into the directory; all of it or nothing. The server has to be stopped.
    ///
    /// Each session begins a new life, with its revision and versions as they were: clients that know it from before
    /// have to connect anew, because they may have seen more than was exported.
    Import {
        /// Leave out variables whose values are redacted; otherwise they are refused.
        #[arg(long)]
        without_secrets: bool,
        /// Go on with the same lives: only if no client has seen anything newer than the export.
        #[arg(long)]
        same_lives: bool,
    },
    /// Make the journal as small as it can be. The server has to be stopped.
    Compact,
}

impl Data {
    pub(super) fn run(self) -> Result<(), Failure> {
        let directory = &self.data_dir;
        let failed = |error: OpenError| Failure::journal(directory, &error);
        match self.command {
            Command::Check => {
                let checked = disk::check(directory).map_err(failed)?;
                terminal::line(&format!(
                    "{}: {} sessions, {} variables, {} kept versions; {} sessions ended within a day",
                    directory.display(),
                    checked.sessions,
                    checked.variables,
                    checked.versions,
                    checked.ended
                ))?;
                whole(directory, &checked.losses)
            }
            Command::Backup { to } => {
                disk::backup(directory, &to).map_err(failed)?;
                terminal::line(&format!("{} is a copy of {}", to.display(), directory.display())).map_err(Failure::from)
            }
            Command::Export { with_secrets } => {
                let (sessions, losses) = disk::export(directory).map_err(failed)?;
                export::print(&sessions, with_secrets)?;
                whole(directory, &losses)
            }
            Command::Import { without_secrets, same_lives } => {
                let sessions = import::read(std::io::stdin().lock(), without_secrets, same_lives)?;
                let count = sessions.len();
                disk::import(directory, sessions).map_err(|error| Failure::failed(error.to_string()))?;
                terminal::line(&format!("{count} sessions are in {}", directory.display())).map_err(Failure::from)
            }
            Command::Compact => {
                let (before, after) = disk::compact(directory).map_err(failed)?;
                terminal::line(&format!("{}: {before} bytes before, {after} now", directory.display()))
                    .map_err(Failure::from)
            }
        }
    }
}

/// A failure that names everything that is lost, if something is.
fn whole(directory: &std::path::Path, losses: &[Loss]) -> Result<(), Failure> {
    if losses.is_empty() {
        return Ok(());
    }
    let lost: Vec<String> = losses.iter().map(|loss| format!("\n  {loss}")).collect();
    Err(Failure::failed(format!(
        "the journal in {} is damaged; {} things are lost or wrong:{}\nWhat is left can be saved with `snakepit data \
         export`; a backup may have the rest.",
        directory.display(),
        losses.len(),
        lost.concat()
    )))
}
