//! The servers under load: child processes that end with this one.

use std::{path::Path, process::Stdio, time::Duration};

use snakepit_client::{Announce, Connected, Credentials, connect};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tonic::transport::Endpoint;

use crate::{Outcome, failure};

const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// What HTTP/2 begins with unless told otherwise.
const WINDOW: u32 = 65_535;
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// A Snakepit server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Its process.
    pub pid: u32,
}

impl Server {
    /// Starts `binary` on a directory; with more flags, if it needs any.
    pub async fn start(binary: &Path, data: &Path, flags: &[&str]) -> Outcome<Self> {
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--data-dir"])
            .arg(data)
            .args(flags)
            .env("SNAKEPIT_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failure(format!("cannot start {}: {error}", binary.display())))?;
        let pid = child.id().ok_or_else(|| failure("the server has ended at once"))?;
        let stdout = child.stdout.take().ok_or_else(|| failure("the server has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(STARTS_WITHIN, lines.next_line()).await??;
        let address = line
            .as_deref()
            .and_then(|line| line.strip_prefix("listening on "))
            .ok_or_else(|| failure(format!("the server said {line:?}")))?;
        Ok(Self { child, address: address.to_owned(), pid })
    }

    /// A new connection to it.
    pub async fn connect(&self) -> Outcome<Connected> {
        Ok(connect(&self.address, &Credentials::default()).await?)
    }

    /// A new connection whose streams have HTTP/2's initial window of 64 KiB, and no more. Its own is larger: the h2 crate
    /// ends one on which half of it is unread in small frames.
    pub async fn connect_narrow(&self) -> Outcome<Connected> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(16 * WINDOW)
            .tcp_nodelay(true);
        Ok(Connected::new(endpoint.connect().await?, Announce::default()))
    }

    /// Has it stop gracefully, and waits.
    pub async fn stop(mut self) -> Outcome<()> {
        drop(self.child.stdin.take());
        timeout(STOPS_WITHIN, self.child.wait()).await??;
        Ok(())
    }
}
