//! A server on a free port whose journal fails as told, or whose callers may do less: for tests of clients. Prints
//! `listening on HOST:PORT` once it accepts, and ends when stdin closes.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use snakepit_core::access::{Principal, Role};
use snakepit_server::{
    journal::{Append, CommitError, Durability, Home},
    server::Server,
};
use tokio::{net::TcpListener, sync::oneshot};

/// A server that fails as told.
#[derive(Debug, Parser)]
struct Arguments {
    /// How commits fail.
    #[arg(long, value_enum, default_value_t = Fault::None)]
    fault: Fault,
    /// How many events are committed before that; a session's creation is one.
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    after: usize,
    /// How long each commit takes.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    delay: u64,
    /// Callers do not have the role admin.
    #[arg(long)]
    no_admin: bool,
    /// Callers may not read secrets.
    #[arg(long)]
    no_secrets: bool,
    /// Seconds between heartbeats.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    heartbeat: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fault {
    None,
    DiskFull,
    FailedFsync,
}

/// A home that says it is a disk and fails after so many events.
struct Faulty {
    fault: Fault,
    left: usize,
    delay: Duration,
}

impl Home for Faulty {
    fn durability(&self) -> Durability {
        Durability::Disk
    }

    async fn commit(&mut self, group: &[Append]) -> Result<(), CommitError> {
        tokio::time::sleep(self.delay).await;
        let kept = self.left.checked_sub(group.len());
        match (self.fault, kept) {
            (Fault::None, _) => Ok(()),
            (_, Some(left)) => {
                self.left = left;
                Ok(())
            }
            (Fault::DiskFull, None) => Err(CommitError::NotApplied { cause: "disk full".into() }),
            (Fault::FailedFsync, None) => Err(CommitError::Unknown { cause: "failed fsync".into() }),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (closed, stdin) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut ignored = [0; 1024];
        while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
        drop(closed);
    });
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    stdout.flush()?;
    let Arguments { fault, after, delay, no_admin, no_secrets, heartbeat } = arguments;
    let withheld = [(no_admin, Role::Admin), (no_secrets, Role::ReadSecret)];
    let principal =
        withheld.into_iter().filter(|(no, _)| *no).fold(Principal::anonymous(), |it, (_, role)| it.without(role));
    Server::builder()
        .journal(Faulty { fault, left: after, delay: Duration::from_millis(delay) })
        .principal(principal)
        .heartbeat(Duration::try_from_secs_f64(heartbeat)?)
        .serve(listener, async { drop(stdin.await) })
        .await?;
    Ok(())
}
