//! Loads a Snakepit server, and measures what it does: speed beside etcd and NATS, memory, and what a stuck watcher
//! costs.
//!
//! ```sh
//! cargo run --release -p snakepit_load -- memory
//! ```

mod idle;
mod memory;
mod process;
mod report;
mod server;
mod session;
mod speed;
mod stuck;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use report::{Report, machine};
use tempfile::TempDir;

/// What anything here may end with.
type Failure = Box<dyn Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

/// Loads servers on one disk and measures what they do.
#[derive(Debug, Parser)]
struct Load {
    #[command(flatten)]
    setting: Setting,
    #[command(subcommand)]
    task: Task,
}

/// What all tasks need.
#[derive(Debug, clap::Args)]
struct Setting {
    /// The server.
    #[arg(long, env = "SNAKEPIT_SERVER_BINARY", default_value = "target/release/snakepit", global = true)]
    server: PathBuf,
    /// Where all servers keep their data, and the file of the bare disk is: on the disk that is meant.
    #[arg(long, default_value = "target/load", global = true)]
    disk: PathBuf,
    /// Where to leave the figures; without it they are only printed.
    #[arg(long, global = true)]
    results: Option<PathBuf>,
}

impl Setting {
    /// A new directory on the disk, removed when dropped.
    fn directory(&self, prefix: &str) -> Outcome<TempDir> {
        std::fs::create_dir_all(&self.disk)?;
        Ok(tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir_in(&self.disk)?)
    }
}

#[derive(Debug, Subcommand)]
enum Task {
    Memory(memory::Options),
    IdleWatches(idle::Options),
    Speed(speed::Options),
    Stuck(stuck::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let load = Load::parse();
    match run(&load).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{failure}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn run(load: &Load) -> Outcome<()> {
    let report: Report = match &load.task {
        Task::Memory(options) => memory::run(&load.setting, options).await?,
        Task::IdleWatches(options) => idle::run(&load.setting, options).await?,
        Task::Speed(options) => speed::run(&load.setting, options).await?,
        Task::Stuck(options) => stuck::run(&load.setting, options).await?,
    };
    if let Some(directory) = load.setting.results.as_deref() {
        report.write(Path::new(directory))?;
    }
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", machine()));
    match report.failures() {
        [] => Ok(()),
        failures => Err(failure(failures.join("\n"))),
    }
}

fn failure(problem: impl Into<String>) -> Failure {
    problem.into().into()
}
