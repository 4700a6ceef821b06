mod limits;
mod logs;
mod metrics;
pub(crate) mod settings;
mod tls;
mod upkeep;

use std::{
    future::Future,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{
    builder::{FalseyValueParser, RangedI64ValueParser},
    value_parser,
};
use snakepit_core::config::Windows;
use snakepit_server::{
    access::TokenFile,
    audit::AuditLog,
    journal::sqlite::{Disk, OpenError},
    server::Server,
    tool::BreakerPolicy,
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    Failure,
    serve::{limits::LimitFlags, logs::LogFlags, metrics::MetricsFlags, tls::TlsFlags, upkeep::UpkeepFlags},
};

/// Run the server. Prints `listening on HOST:PORT` on stdout once it accepts connections, and logs to stderr.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are the flags")]
pub(super) struct Serve {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, env = "SNAKEPIT_LISTEN", default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    listen: String,
    /// Where to keep sessions; made if it is not there. One server at a time has it.
    #[arg(long, env = "SNAKEPIT_DATA_DIR", default_value = ".snakepit", value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// Keep sessions in memory only: they end with the server. Wins over --data-dir.
    #[arg(long, env = "SNAKEPIT_EPHEMERAL", value_parser = FalseyValueParser::new())]
    ephemeral: bool,
    /// Stop when stdin closes, so that the server never outlives whoever started it.
    #[arg(long, env = "SNAKEPIT_UNTIL_STDIN_CLOSES", value_parser = FalseyValueParser::new())]
    until_stdin_closes: bool,
    /// Print every setting as TOML, with where it comes from, instead of running.
    #[arg(long)]
    print_config: bool,
    /// How often a quiet watch says that it lives.
    #[arg(long, env = "SNAKEPIT_HEARTBEAT", default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    heartbeat: Duration,
    /// Let strangers in: listen on an address that is not this machine's own without encryption, or without knowing who
    /// comes.
    #[arg(long, env = "SNAKEPIT_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Answer those alone who have a token that this file knows; see `snakepit token`. It is read again when it changes,
    /// and on SIGHUP.
    #[arg(long, env = "SNAKEPIT_AUTH_TOKEN_FILE", value_name = "FILE")]
    auth_token_file: Option<PathBuf>,
    /// Lost connections, timeouts and retryable failures in a row after which a tool's calls stop going to a worker.
    #[arg(long, env = "SNAKEPIT_BREAKER_FAILURES", default_value = "5", value_name = "N", value_parser = above_0())]
    breaker_failures: u32,
    /// How long they do; then they are let through one at a time.
    #[arg(long, env = "SNAKEPIT_BREAKER_OPEN", default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    breaker_open: Duration,
    /// How many of those have to go well until all are.
    #[arg(long, env = "SNAKEPIT_BREAKER_SUCCESSES", default_value = "2", value_name = "N", value_parser = above_0())]
    breaker_successes: u32,
    /// Add a line to this file for each change and each refusal: who, from where, what, but never a value. On SIGHUP it
    /// is opened anew, so that it can be moved away.
    #[arg(long, env = "SNAKEPIT_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,
    #[command(flatten)]
    metrics: MetricsFlags,
    #[command(flatten)]
    logs: LogFlags,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    upkeep: UpkeepFlags,
}

impl Serve {
    /// Whether settings are asked for, and no server.
    pub(super) fn print_config(&self) -> bool {
        self.print_config
    }

    /// What holds where nothing is given, of the flags that have no default of their own.
    pub(super) fn defaults() -> Vec<(&'static str, u64)> {
        [LimitFlags::defaults(), UpkeepFlags::defaults()].concat()
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        self.logs.begin();
        // Before anyone is told that the server is there: a signal from then on means a graceful stop.
        let shutdown = stop_signal(self.until_stdin_closes)?;
        let tokens = self.auth_token_file.as_ref().map(TokenFile::open).transpose().map_err(Failure::Failed)?;
        let audit = self.audit_log.as_ref().map(AuditLog::open).transpose().map_err(Failure::Failed)?;
        let tls = self.tls.read()?;
        let known = tls.is_some() && (tokens.is_some() || self.tls.knows_clients());
        let (listener, address, exposed) = self.bind(known).await?;
        let metrics = self.metrics.bind(self.insecure).await?;
        // Before anyone is told that the server is there: what it kept is read first.
        let disk = if self.ephemeral { None } else { Some(self.open()?) };
        let breaker = BreakerPolicy {
            opens_after: self.breaker_failures,
            open_for: self.breaker_open,
            closes_after: self.breaker_successes,
        };
        let mut builder =
            Server::builder().breaker(breaker).limits(self.limits.into()).heartbeat(self.heartbeat).insecure(exposed);
        on_hangup(tokens.clone(), audit.clone())?;
        if let Some(audit) = audit {
            builder = builder.audit(audit);
        }
        if let Some(tokens) = tokens {
            builder = builder.tokens(tokens);
        }
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        announce(address, metrics.as_ref().map(|(_, address)| *address))?;
        if let Some((listener, _)) = metrics {
            builder = builder.metrics(listener);
        }
        let served = match disk {
            Some(disk) => builder.journal(disk).serve(listener, shutdown).await,
            None => builder.serve(listener, shutdown).await,
        };
        served.map_err(|error| Failure::failed(format!("the server ended: {error}")))
    }

    fn open(&self) -> Result<Disk, Failure> {
        let (directory, began) = (&self.data_dir, Instant::now());
        let disk = Disk::open_with(directory, &Windows::default(), (&self.upkeep).into()).map_err(|error| {
            if matches!(error, OpenError::InUse { .. }) {
                return Failure::failed(format!("{error} with --data-dir, or keep nothing with --ephemeral"));
            }
            Failure::journal(directory, &error)
        })?;
        tracing::info!(directory = %directory.display(), sessions = disk.len(), took = ?began.elapsed(), "opened the journal");
        Ok(disk)
    }

    /// Also says whether strangers can reach the listener: other machines, without encryption or unknown who they are.
    async fn bind(&self, known: bool) -> Result<(TcpListener, SocketAddr, bool), Failure> {
        let listen = &self.listen;
        let looked_up = tokio::net::lookup_host(listen).await;
        let addresses: Vec<SocketAddr> = looked_up
            .map_err(|error| Failure::failed(format!("cannot listen on {listen:?}: {error}; it takes HOST:PORT")))?
            .collect();
        let exposed = !known && addresses.iter().any(|address| !address.ip().is_loopback());
        if exposed && !self.insecure {
            return Err(Failure::failed(format!(
                "{listen} is open to other machines: that takes encryption (--tls-cert, --tls-key) and to know who comes \
                 (--auth-token-file or --tls-client-ca); or listen on 127.0.0.1, or accept with --insecure that anyone \
                 who reaches it can listen in or do everything"
            )));
        }
        let cannot = |error: io::Error| {
            let advice = if error.kind() == io::ErrorKind::AddrInUse {
                "; another server may be running there: stop it, or choose another address with --listen HOST:PORT \
                 (port 0: any free one)"
            } else {
                ""
            };
            Failure::failed(format!("cannot listen on {listen}: {error}{advice}"))
        };
        let listener = TcpListener::bind(&addresses[..]).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok((listener, address, exposed))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "takes seconds, e.g. 5 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|heartbeat| (Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(heartbeat))
        .ok_or_else(|| "takes 0.01 to 3600 seconds".into())
}

fn above_0() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..)
}

fn announce(address: SocketAddr, metrics: Option<SocketAddr>) -> Result<(), Failure> {
    let metrics = metrics.map_or_else(String::new, |address| format!("metrics on {address}\n"));
    let mut stdout = io::stdout().lock();
    // At once: whoever wants the first line may not stay for the second.
    stdout.write_all(format!("listening on {address}\n{metrics}").as_bytes())?;
    Ok(stdout.flush()?)
}

/// Resolves at the first reason to stop.
fn stop_signal(until_stdin_closes: bool) -> Result<impl Future<Output = ()> + Send, Failure> {
    let signals = signals().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let stdin = until_stdin_closes.then(stdin_closed);
    let closed = async {
        match stdin {
            // An error is the thread's end, which is what it tells.
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    };
    Ok(async {
        tokio::select! {
            () = signals => {}
            () = closed => {}
        }
    })
}

/// Resolves when stdin closes. Reads on a thread of its own: the runtime would wait for a read that nothing ends.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (closed, stdin) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut ignored = [0; 1024];
        while matches!(stdin.read(&mut ignored), Ok(1..)) {}
        drop(closed);
    });
    stdin
}

#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Reads the tokens again on SIGHUP, and opens the audit log anew. Without either SIGHUP ends the server, as it would.
#[cfg(unix)]
fn on_hangup(tokens: Option<TokenFile>, audit: Option<AuditLog>) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    if tokens.is_none() && audit.is_none() {
        return Ok(());
    }
    let hangups = signal(SignalKind::hangup());
    let mut hangups = hangups.map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if let Some(audit) = &audit {
                audit.reopen();
            }
            if let Some(tokens) = &tokens {
                tokens.reload_and_log().await;
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "fails on unix")]
fn on_hangup(_: Option<TokenFile>, _: Option<AuditLog>) -> Result<(), Failure> {
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "fails on unix")]
fn signals() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
