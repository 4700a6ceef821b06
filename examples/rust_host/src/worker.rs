use std::{
    io,
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{AGENT, Options, SESSION};

/// The Python processes that serve the agent. They end with this program, however that ends.
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts them, and returns when each of them serves.
    pub(crate) async fn start(options: &Options, address: &str) -> io::Result<Self> {
        let at_once = options.agents.unwrap_or(1).max(1).to_string();
        let mut child = Command::new(&options.python)
            .args(["-m", "snakepit_bridge", "worker", "examples.rust_host.agent:agent", "--name", AGENT])
            .args(["--address", address, "--session", SESSION, "--concurrency", &at_once])
            .args(["--processes", &options.processes.to_string(), "--until-stdin-closes"])
            .env("SNAKEPIT_MODEL", &options.model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                io::Error::other(format!("cannot run {}: {error}; name a Python with --python", options.python))
            })?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?).lines();
        for _ in 0..options.processes {
            while !lines.next_line().await?.ok_or_else(not_serving)?.starts_with("serving ") {}
        }
        Ok(Self(child))
    }

    /// Has them finish what they run, and end.
    pub(crate) async fn stop(mut self) -> io::Result<ExitStatus> {
        drop(self.0.stdin.take());
        self.0.wait().await
    }
}

fn not_serving() -> io::Error {
    io::Error::other(
        "the worker ended before it served; is an environment active that has the package (make test makes .venv), and \
         is this the top of the repository?",
    )
}
