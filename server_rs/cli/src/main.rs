//! `snakepit`: the session server and a small client for its variables.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
