//! A watcher that does not read, while others do and changes pass: what it costs the server, and what it is told.

mod live;
mod resting;
mod writers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use snakepit_proto::v1::WatchMode;
use tokio::sync::watch;

use crate::{
    Outcome, Setting, failure,
    process::{cpu, own_cpu, rss},
    report::{Report, mib, percentiles, progress},
    server::Server,
    session::Session,
};
use live::Live;
use resting::{End, Resting};
use writers::{Brake, Writing};

/// Keep a watcher of each mode from reading while changes pass, beside others that read.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Changes.
    #[arg(long, default_value_t = 1_000_000)]
    changes: u64,
    /// Changes a second; fewer where the watchers that read cannot follow.
    #[arg(long, default_value_t = 1_000)]
    pace: u32,
    /// Seconds after which no more changes are made, once there are enough for the stuck ones to be left behind.
    #[arg(long, default_value_t = 3_600)]
    seconds: u64,
    /// Watchers that read.
    #[arg(long, default_value_t = 100)]
    live: u64,
    /// Connections that they share.
    #[arg(long, default_value_t = 10)]
    connections: u64,
    /// Changes before memory is first read: more than what a session keeps.
    #[arg(long, default_value_t = 12_000)]
    warm_up: u64,
    /// MiB by which the server may grow.
    #[arg(long, default_value_t = 32)]
    growth: u64,
}

/// The session that all is about.
const SESSION: &str = "busy";
const VARIABLES: u64 = 10;
/// Changes that leave a stuck watcher behind for certain: more than a session keeps, and than any buffer holds.
const LEAST: u64 = 13_000;
/// Changes with which the watchers that read are warmed up.
const SETTLING: u64 = 2_000;
/// Changes after the stuck ones read again.
const AFTER: u64 = 200;
/// How long anything may take that is awaited.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What writers and watchers tell each other.
#[derive(Debug)]
pub(crate) struct Run {
    began: Instant,
    /// When each change was sent, in microseconds after `began`, by its number.
    sent: Vec<AtomicU64>,
    /// The revision that each change was acknowledged with, by its number.
    acknowledged: Vec<AtomicU64>,
    /// The number of the change of each revision, as the first watcher saw it, plus one.
    seen: Vec<AtomicU64>,
    /// The greatest revision acknowledged.
    newest: AtomicU64,
}

impl Run {
    fn of(changes: u64) -> Outcome<Self> {
        let zeros = |count: u64| -> Outcome<Vec<AtomicU64>> {
            Ok(std::iter::repeat_with(AtomicU64::default).take(usize::try_from(count)?).collect())
        };
        Ok(Self {
            began: Instant::now(),
            sent: zeros(changes)?,
            acknowledged: zeros(changes)?,
            // The creation and the registration come before the changes.
            seen: zeros(changes + 8)?,
            newest: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Runs it.
pub async fn run(setting: &Setting, options: &Options) -> Outcome<Report> {
    let mut report = Report::new("stuck-watcher");
    let data = setting.directory("stuck")?;
    let server = Server::start(&setting.server, data.path(), &[]).await?;
    let session = Session::open(&server.connect().await?, SESSION.to_owned()).await?;
    let names: Vec<String> = (0..VARIABLES).map(|it| format!("temperature_{it}")).collect();
    session.register(&names).await?;
    let run = Arc::new(Run::of(options.warm_up + SETTLING + options.changes + AFTER)?);
    let mut writing = Writing::new(&server, Arc::clone(&run), names).await?;

    // What the session keeps is filled first, as fast as it goes, so that its own growth is not measured.
    writing.write(options.warm_up, None, Brake::none()).await?;
    let (last, told) = watch::channel(u64::MAX);
    let live = Live::open(&server, &run, options.live, options.connections, &told).await?;
    writing.write(SETTLING, Some(options.pace), live.brake()).await?;
    let mut latest = Resting::open(&server, WatchMode::Latest).await?;
    let mut every = Resting::open(&server, WatchMode::Every).await?;
    let (before, began) = (rss(server.pid)?, Instant::now());
    let spent = (cpu(server.pid)?, own_cpu()?);
    live.measure();

    let peak = Arc::new(AtomicU64::new(before));
    let sampler = tokio::spawn(sample(server.pid, Arc::clone(&peak), Arc::clone(&run)));
    writing.until(began + Duration::from_secs(options.seconds), LEAST.min(options.changes));
    let made = writing.write(options.changes, Some(options.pace), live.brake()).await?;
    writing.until(began, u64::MAX);
    let took = began.elapsed();
    let spent = (cpu(server.pid)?.saturating_sub(spent.0), own_cpu()?.saturating_sub(spent.1));
    sampler.abort();
    let (peak, end) = (peak.load(Ordering::Relaxed), rss(server.pid)?);

    let newest = run.newest.load(Ordering::SeqCst);
    let missed = newest - every.revision;
    latest.catch_up(newest).await?;
    let caught_up = latest.messages;
    let ended = every.read_on(newest).await?;
    writing.write(AFTER, Some(options.pace), live.brake()).await?;
    let newest = run.newest.load(Ordering::SeqCst);
    let values = session.values().await?;
    let state_after = latest.catch_up(newest).await?;
    every.go_on(newest).await?;
    last.send_replace(newest);
    let delivered = live.join().await?;
    verify(&run, &writing, newest)?;
    if state_after != values {
        return Err(failure(format!("the stuck watcher of the latest state has {state_after:?}, not {values:?}")));
    }
    server.stop().await?;

    #[expect(clippy::cast_precision_loss, reason = "a count of changes")]
    let reached = made as f64 / took.as_secs_f64();
    report.line(format!(
        "{made} changes in {:.0} s: {reached:.0} a second ({} asked for), {} watchers on {} connections read them, 2 did not",
        took.as_secs_f64(),
        options.pace,
        options.live,
        options.connections
    ));
    let grown = peak.saturating_sub(before);
    report.line(format!(
        "server: {} before, at most {} (+{}), {} at the end; CPU {:.2} of a core, the generator {:.2}",
        mib(before),
        mib(peak),
        mib(grown),
        mib(end),
        spent.0.as_secs_f64() / took.as_secs_f64(),
        spent.1.as_secs_f64() / took.as_secs_f64(),
    ));
    report.line(format!(
        "change sent → delivered, {} deliveries without a gap: {}",
        delivered.len(),
        percentiles(&delivered)
    ));
    report.line(format!(
        "stuck, mode latest: {caught_up} messages, then the last state; {} in the end, after {AFTER} more changes",
        latest.messages
    ));
    report.line(match &ended {
        End::Compacted { read, oldest } => format!(
            "stuck, mode every: {read} of {missed} changes, then COMPACTED (oldest {oldest}); resumed with a snapshot, \
             {} changes without a gap",
            every.since_snapshot
        ),
        End::All => format!("stuck, mode every: all {missed} changes: the log reached that far"),
    });
    report.fact("changes", json!(made));
    report.fact("seconds", json!(took.as_secs_f64()));
    report.fact("server_before", json!(before));
    report.fact("server_peak", json!(peak));
    report.fact("server_end", json!(end));
    report.fact("deliveries", json!(delivered.len()));
    report.fact("delivery_p50_us", json!(delivered.value_at_quantile(0.5)));
    report.fact("delivery_p99_us", json!(delivered.value_at_quantile(0.99)));
    report.fact("compacted", json!(matches!(ended, End::Compacted { .. })));
    report.fact("server_cpu", json!(spent.0.as_secs_f64()));
    report.fact("generator_cpu", json!(spent.1.as_secs_f64()));
    if grown > options.growth << 20 {
        report.fail(format!("the server has grown by {}, more than {} MiB", mib(grown), options.growth));
    }
    Ok(report)
}

/// Every acknowledged change was seen by the watchers at the revision that it was acknowledged with, and nothing else.
fn verify(run: &Run, writing: &Writing, newest: u64) -> Outcome<()> {
    for (number, acknowledged) in run.acknowledged.iter().enumerate().take(usize::try_from(writing.made())?) {
        let revision = acknowledged.load(Ordering::SeqCst);
        let seen = run.seen[usize::try_from(revision)?].load(Ordering::SeqCst);
        if seen != 0 && seen != number as u64 + 1 {
            return Err(failure(format!("revision {revision} was change {number}, and watchers saw {}", seen - 1)));
        }
    }
    let first = run.seen.iter().position(|it| it.load(Ordering::SeqCst) != 0).unwrap_or_default();
    let unseen = (first..=usize::try_from(newest)?).find(|it| run.seen[*it].load(Ordering::SeqCst) == 0);
    unseen.map_or(Ok(()), |revision| Err(failure(format!("no watcher saw revision {revision}"))))
}

async fn sample(pid: u32, peak: Arc<AtomicU64>, run: Arc<Run>) {
    let mut reported = Instant::now();
    while let Ok(now) = rss(pid) {
        peak.fetch_max(now, Ordering::Relaxed);
        if reported.elapsed() > Duration::from_secs(60) {
            reported = Instant::now();
            progress(&format!("revision {}, server {}", run.newest.load(Ordering::Relaxed), mib(now)));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
