//! `snakepit token`: what a server's file of tokens is made of, without the server.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use snakepit_core::access::Role;
use snakepit_server::access::{NewToken, TokenError, Tokens, read_token_file};

use crate::{Failure, output::terminal};

/// Make tokens for `snakepit serve --auth-token-file`, and check a file of them.
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token: print it, once, and the table that the server's file has to say of it.
    New(New),
    /// Read a file of tokens as the server does, and tell what is wrong with it.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    /// Whose it is: the name that histories and logs show.
    #[arg(long)]
    name: String,
    /// What it allows, of these: read, write, `call_tool`, `offer_tool`, `read_secret`, admin. No role implies another.
    #[arg(long, required = true, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<Role>,
    /// The sessions it is for, as globs (`*` any run of characters, `?` one).
    #[arg(long, required = true, value_delimiter = ',', value_name = "GLOB,…")]
    sessions: Vec<String>,
    /// Append the table to this file, made if it is not there, and print the token alone.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::New(new) => new.run(),
            Command::Check { file } => {
                let text = read(&file)?;
                let wrong = |error: TokenError| Failure::failed(format!("{}: {error}", file.display()));
                let tokens = Tokens::parse(&text).map_err(wrong)?;
                terminal::line(&format!("{}: {} tokens", file.display(), tokens.len())).map_err(Failure::from)
            }
        }
    }
}

impl New {
    fn run(self) -> Result<(), Failure> {
        let made = NewToken::make(&self.name, &self.roles, &self.sessions).map_err(Failure::Failed)?;
        let Some(file) = self.add_to else {
            return terminal::line(&format!("{}\n\n{}", made.token, made.table.trim_end())).map_err(Failure::from);
        };
        append(&file, &made.table)?;
        terminal::line(&made.token).map_err(Failure::from)
    }
}

/// Puts a table at the end of a file that is right, and is so afterwards.
fn append(file: &Path, table: &str) -> Result<(), Failure> {
    let before = if file.exists() { read(file)? } else { String::new() };
    let gap = match before.as_str() {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    Tokens::parse(&format!("{before}{gap}{table}"))
        .map_err(|error| Failure::failed(format!("{} would not do: {error}", file.display())))?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut file| file.write_all(format!("{gap}{table}").as_bytes()));
    written.map_err(|error| cannot("write", file, &error))
}

fn read(file: &Path) -> Result<String, Failure> {
    let content = read_token_file(file).map_err(Failure::Failed)?;
    String::from_utf8(content).map_err(|_| Failure::failed(format!("{} is not UTF-8 text", file.display())))
}

fn cannot(what: &str, file: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot {what} {}: {error}", file.display()))
}
