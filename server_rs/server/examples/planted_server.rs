//! `snakepit` with a planted fault, for the harnesses to catch: `SNAKEPIT_PLANTED_FAULT` names it. Built with the feature
//! `planted-faults`, without which there are none.

#[path = "../src/cli/mod.rs"]
mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
