//! The command line: what is asked, and how it ended.

mod client;
mod data;
mod failure;
mod json;
mod limits;
mod serve;
mod show;
mod typed;
mod var;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio::runtime;

use failure::Failure;

#[derive(Debug, Parser)]
#[command(
    about = "Live, typed, versioned variables for DSPy programs",
    name = "snakepit",
    version,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached or is stopping."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Read, write and watch the variables of a session.
    Var(var::Var),
    /// Check, back up, export, import or compact what a server keeps in its directory.
    Data(data::Data),
}

/// Runs what the command line says.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => build(runtime::Builder::new_multi_thread()).and_then(|it| it.block_on(serve.run())),
        // One thread: a command is over before a pool of them has started.
        Command::Var(var) => build(runtime::Builder::new_current_thread()).and_then(|it| it.block_on(var.run())),
        Command::Data(data) => data.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn build(mut builder: runtime::Builder) -> Result<runtime::Runtime, Failure> {
    builder.enable_all().build().map_err(|error: io::Error| Failure::failed(format!("cannot start: {error}")))
}
