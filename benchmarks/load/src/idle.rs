//! What idle watches cost in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use snakepit_proto::v1::WatchMode;
use tokio::task::JoinSet;

use crate::{Outcome, Setting, failure, process::memory, report::Report, server::Server, session::Session};

/// Open many watches that have nothing to tell, and say what each takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Watches of each kind.
    #[arg(long, default_value_t = 10_000)]
    watches: u64,
    /// Watches of one connection.
    #[arg(long, default_value_t = 100)]
    per_connection: u64,
    /// Seconds to wait before memory is read: some heartbeats.
    #[arg(long, default_value_t = 12)]
    quiet: u64,
}

/// Runs it.
pub async fn run(setting: &Setting, options: &Options) -> Outcome<Report> {
    let mut report = Report::new("idle-watches");
    report.line(format!("{} idle watches, {} on a connection", options.watches, options.per_connection));
    for (mode, name) in [(WatchMode::Latest, "latest"), (WatchMode::Every, "every")] {
        for (per_session, how) in
            [(1, "each of its own session"), (options.per_connection, "by connection, one session")]
        {
            let each = one(setting, options, mode, per_session).await?;
            report.line(format!("mode {name}, {how}: {each} bytes a watch"));
            report.fact(&format!("{name}_{per_session}_per_session"), json!(each));
        }
    }
    Ok(report)
}

/// Bytes of one watch of a server of its own, where so many follow one session.
async fn one(setting: &Setting, options: &Options, mode: WatchMode, per_session: u64) -> Outcome<u64> {
    let data = setting.directory("idle")?;
    let server = Server::start(&setting.server, data.path(), &["--limit-sessions", "1000000"]).await?;
    let loader = server.connect().await?;
    let names: Vec<String> = (0..10).map(|it| format!("temperature_{it}")).collect();
    let mut sessions = Vec::new();
    for number in 0..options.watches.div_ceil(per_session) {
        let session = Session::open(&loader, format!("agent-{number:08}")).await?;
        session.register(&names).await?;
        sessions.push(session);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = memory(server.pid)?;
    let told = Arc::new(AtomicU64::new(0));
    let mut watches = JoinSet::new();
    let mut channel = loader.clone();
    for number in 0..options.watches {
        if number % options.per_connection == 0 {
            channel = server.connect().await?;
        }
        let index = usize::try_from(number / per_session)?;
        let mut stream = sessions[index].over(&channel).watch(mode, 0).await?;
        let told = Arc::clone(&told);
        watches.spawn(async move {
            while let Ok(Some(_)) = stream.message().await {
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(options.quiet)).await;
    let after = memory(server.pid)?;
    if told.load(Ordering::Relaxed) < 2 * options.watches {
        return Err(failure("the watches have not even told a state and a heartbeat"));
    }
    watches.shutdown().await;
    server.stop().await?;
    Ok(after.rss.saturating_sub(before.rss) / options.watches.max(1))
}
