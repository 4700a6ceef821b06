//! What sessions cost in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Outcome, Setting,
    process::{Memory, memory},
    report::{Report, mib},
    server::Server,
    session::Session,
};

/// Load many sessions of a few floats each, restart, and say what the server takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Sessions.
    #[arg(long, default_value_t = 100_000)]
    sessions: u64,
    /// Floats of each.
    #[arg(long, default_value_t = 10)]
    floats: usize,
    /// Clients that load at once.
    #[arg(long, default_value_t = 128)]
    clients: u64,
    /// Seconds to wait before memory is read again: longer than sessions hold on to events that nobody watches.
    #[arg(long, default_value_t = 20)]
    quiet: u64,
}

const CLIENTS_PER_CONNECTION: u64 = 64;

/// Runs it.
pub async fn run(setting: &Setting, options: &Options) -> Outcome<Report> {
    let data = setting.directory("memory")?;
    let most = options.sessions.to_string();
    let flags = ["--limit-sessions", &most];
    let mut report = Report::new("memory");
    let server = Server::start(&setting.server, data.path(), &flags).await?;
    let empty = memory(server.pid)?;
    let began = Instant::now();
    load(&server, options).await?;
    let loaded = began.elapsed();
    let written = memory(server.pid)?;
    tokio::time::sleep(Duration::from_secs(options.quiet)).await;
    let full = memory(server.pid)?;
    let each = |now: Memory| (now.rss - empty.rss) / options.sessions.max(1);
    report.line(format!(
        "{} sessions of {} floats, written in {:.0} s",
        options.sessions,
        options.floats,
        loaded.as_secs_f64()
    ));
    report.line(line("empty", empty));
    report.line(line("as the last is written", written));
    report.line(format!("{}; {} bytes a session", line(&format!("{} s later", options.quiet), full), each(full)));
    server.stop().await?;
    let journal: u64 = data.path().read_dir()?.map(|it| it.and_then(|it| it.metadata()).map_or(0, |it| it.len())).sum();
    let began = Instant::now();
    let server = Server::start(&setting.server, data.path(), &flags).await?;
    let opened = began.elapsed();
    let at_once = memory(server.pid)?;
    tokio::time::sleep(Duration::from_secs(options.quiet)).await;
    let again = memory(server.pid)?;
    report.line(format!("reopened a journal of {} in {:.2} s", mib(journal), opened.as_secs_f64()));
    report.line(line("as it listens again", at_once));
    report.line(format!("{}; {} bytes a session", line(&format!("{} s later", options.quiet), again), each(again)));
    report.fact("written_rss", json!(written.rss));
    report.fact("loaded_rss", json!(full.rss));
    report.fact("loaded_pss", json!(full.pss));
    report.fact("loaded_peak", json!(full.peak));
    report.fact("reopened_rss", json!(again.rss));
    report.fact("reopened_peak", json!(again.peak));
    report.fact("reopened_seconds", json!(opened.as_secs_f64()));
    report.fact("journal_bytes", json!(journal));
    server.stop().await?;
    Ok(report)
}

async fn load(server: &Server, options: &Options) -> Outcome<()> {
    let names: Arc<Vec<String>> = Arc::new((0..options.floats).map(|it| format!("temperature_{it}")).collect());
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    let mut channel = server.connect().await?;
    for client in 0..options.clients {
        if client % CLIENTS_PER_CONNECTION == 0 {
            channel = server.connect().await?;
        }
        let (names, next, channel, sessions) =
            (Arc::clone(&names), Arc::clone(&next), channel.clone(), options.sessions);
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sessions {
                    return Ok::<(), tonic::Status>(());
                }
                Session::open(&channel, format!("agent-{number:08}")).await?.register(&names).await?;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

fn line(what: &str, memory: Memory) -> String {
    format!("{what}: RSS {}, PSS {}, peak {}", mib(memory.rss), mib(memory.pss), mib(memory.peak))
}
