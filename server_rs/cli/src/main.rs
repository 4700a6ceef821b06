//! `snakepit`: the session server, and a command line for what it holds.

mod apply;
mod data;
mod declare;
mod doctor;
mod failure;
mod input;
mod output;
mod reference;
mod remote;
mod serve;
mod session;
mod show;
mod spec;
mod status;
mod token;
mod tool;
mod typed;
mod var;

use std::{future::Future, io, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime;

use failure::Failure;

#[derive(Debug, Parser)]
#[command(
    about = "Live, typed, versioned variables for DSPy programs",
    name = "snakepit",
    version,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached or is stopping, \
                  4 `apply --diff` found something to change."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::Serve>),
    /// Tell what a server is, what it accepts and how it fares.
    Status(status::Status),
    /// Find out what is wrong with a server, the way to it, or this machine: a line per check, and what to do.
    Doctor(doctor::Doctor),
    /// Read, declare, write and watch the variables of a session.
    Var(var::Var),
    /// Declare the variables of a session as a file says.
    Apply(apply::Apply),
    /// List, make, end, export and import the sessions of a running server.
    Session(session::Session),
    /// List and call the tools of a session.
    Tool(tool::Tool),
    /// Make tokens for a server that takes them, and check a file of them.
    Token(token::Token),
    /// Check, back up, export, import or compact what a server keeps in its directory.
    Data(data::Data),
    /// Print what makes a shell complete these commands.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the reference of the command line as Markdown.
    #[command(hide = true)]
    Reference,
}

/// How the commands that ask a server end.
const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached or is stopping.";

const COMPLETIONS: &str = "For bash: snakepit completions bash > ~/.local/share/bash-completion/completions/snakepit
For zsh: snakepit completions zsh > ~/.zfunc/_snakepit, and `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
For fish: snakepit completions fish > ~/.config/fish/completions/snakepit.fish
For PowerShell: snakepit completions powershell >> $PROFILE";

/// Runs what the command line says.
fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let outcome = match Cli::from_arg_matches(&matches) {
        Ok(Cli { command }) => carry_out(command, &matches),
        Err(error) => error.exit(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn carry_out(command: Command, matches: &ArgMatches) -> Result<(), Failure> {
    match command {
        Command::Serve(serve) => {
            if serve.print_config() {
                let whole = Cli::command();
                let (name, given) = matches.subcommand().unwrap_or(("serve", matches));
                return Ok(serve::settings::print(
                    whole.find_subcommand(name).unwrap_or(&whole),
                    given,
                    &serve::Serve::defaults(),
                )?);
            }
            build(runtime::Builder::new_multi_thread()).and_then(|it| it.block_on(serve.run()))
        }
        Command::Status(status) => wait(status.run()),
        Command::Doctor(doctor) => wait(doctor.run()),
        Command::Var(var) => wait(var.run()),
        Command::Apply(apply) => wait(apply.run()),
        Command::Session(session) => wait(session.run()),
        Command::Tool(tool) => wait(tool.run()),
        Command::Token(token) => token.run(),
        Command::Data(data) => data.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "snakepit", &mut script);
            Ok(output::terminal::line(String::from_utf8_lossy(&script).trim_end())?)
        }
        Command::Reference => Ok(output::terminal::line(reference::markdown(Cli::command()).trim_end())?),
    }
}

/// On one thread: a command is over before a pool of them has started.
fn wait(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    build(runtime::Builder::new_current_thread()).and_then(|it| it.block_on(command))
}

fn build(mut builder: runtime::Builder) -> Result<runtime::Runtime, Failure> {
    builder.enable_all().build().map_err(|error: io::Error| Failure::failed(format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_of_a_server_and_of_the_way_to_one_has_a_twin_in_the_environment() {
        let mut settings = 0;
        let cli = Cli::command();
        for command in cli.get_subcommands() {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let asked = ["print_config", "help"].contains(&id);
                let a_setting = command.get_name() == "serve" && !asked;
                // The session of a file is asked for before the environment's.
                let the_way = ["address", "session", "data_dir"].contains(&id)
                    && (command.get_name(), id) != ("apply", "session");
                if a_setting || the_way {
                    let twin = argument.get_env().map(|it| it.to_string_lossy().into_owned());
                    let twin = twin.unwrap_or_else(|| panic!("{} {id} has no twin", command.get_name()));
                    assert_eq!(twin, format!("SNAKEPIT_{}", id.to_uppercase()));
                    settings += 1;
                }
            }
        }
        assert!(settings > 30, "{settings}");
    }
}
