//! Many watchers of one value: how long a change takes until the last of them has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::BoxStream};
use hdrhistogram::Histogram;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{
    Options, Servers, WATCHERS_PER_CONNECTION,
    case::{Operation, Slice, Spent, facts, line, microseconds},
    etcd, goals, payload, snakepit,
};
use crate::{
    Outcome, failure,
    report::{Report, progress},
    session::Session,
};

/// Between one change's last delivery and the next change.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the last delivery may take, in microseconds, of 99 in 100 changes.
const GOAL: u64 = 50_000;
const KEY: &str = "watched";

/// One server's watchers and the one who writes.
struct Watched {
    name: &'static str,
    pid: u32,
    writer: Box<dyn Operation>,
    written: u64,
    /// When the last watcher had a change, and which.
    delivered: mpsc::UnboundedReceiver<Outcome<(u64, Instant)>>,
    latencies: Histogram<u64>,
    slices: Vec<Slice>,
    _watchers: JoinSet<()>,
}

/// Runs it.
pub(super) async fn run(servers: &Servers, options: &Options, slice: Duration, report: &mut Report) -> Outcome<()> {
    let mut all = vec![of_snakepit(servers, options).await?];
    all.extend(of_etcd(servers, options).await?);
    #[cfg(feature = "nats")]
    all.extend(of_nats(servers, options).await?);
    for round in 0..=options.rounds {
        for watched in &mut all {
            watched.slice(slice).await?;
            if round == 0 {
                watched.latencies.reset();
                watched.slices.clear();
            }
        }
        progress(&format!("watchers, round {round} of {}", options.rounds));
    }
    report.line(format!(
        "{} watchers of one value, {WATCHERS_PER_CONNECTION} on a connection; from a change's sending to its last delivery",
        options.watchers
    ));
    for watched in &all {
        let name = format!("watchers: {}", watched.name);
        report.line(line(&name, &watched.slices, &watched.latencies));
        report.fact(&name, facts(&watched.slices, &watched.latencies));
    }
    if let Some(own) = all.first() {
        let p99 = own.latencies.value_at_quantile(0.99);
        let text = format!("{} watchers: p99 {p99} µs, at most {GOAL}", options.watchers);
        goals::verdict(report, "watchers", p99 <= GOAL, &text);
    }
    Ok(())
}

impl Watched {
    fn new(
        name: &'static str,
        pid: u32,
        writer: Box<dyn Operation>,
        streams: Vec<BoxStream<'static, Outcome<u64>>>,
    ) -> Outcome<Self> {
        let (tell, delivered) = mpsc::unbounded_channel();
        let (count, waiting) = (streams.len(), Arc::new(AtomicUsize::new(streams.len())));
        let mut watchers = JoinSet::new();
        for mut stream in streams {
            let (tell, waiting) = (tell.clone(), Arc::clone(&waiting));
            watchers.spawn(async move {
                let mut next = 1;
                while let Some(told) = stream.next().await {
                    match told {
                        Ok(number) if number == next => next += 1,
                        // The receiver is gone when the run is over.
                        Ok(number) => drop(tell.send(Err(failure(format!("change {number} instead of {next}"))))),
                        Err(ended) => drop(tell.send(Err(ended))),
                    }
                    if waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
                        waiting.store(count, Ordering::SeqCst);
                        drop(tell.send(Ok((next - 1, Instant::now()))));
                    }
                }
            });
        }
        let latencies = Histogram::new(3)?;
        Ok(Self { name, pid, writer, written: 0, delivered, latencies, slices: Vec::new(), _watchers: watchers })
    }

    /// Makes changes for a while, each after the one before has reached everybody.
    async fn slice(&mut self, length: Duration) -> Outcome<()> {
        let spent = Spent::start(Some(self.pid))?;
        let (began, mut done) = (Instant::now(), Histogram::new(3)?);
        while began.elapsed() < length {
            self.written += 1;
            let written = Instant::now();
            self.writer.run(self.written).await?;
            let delivered = timeout(PATIENCE, self.delivered.recv()).await?;
            let (number, last) = delivered.ok_or_else(|| failure("all watchers have ended"))??;
            if number != self.written {
                return Err(failure(format!("change {number} was delivered for {}", self.written)));
            }
            done.record(microseconds(last - written))?;
            tokio::time::sleep(PAUSE).await;
        }
        self.slices.push(spent.end(done.len(), done.value_at_quantile(0.5))?);
        self.latencies.add(done)?;
        Ok(())
    }
}

async fn of_snakepit(servers: &Servers, options: &Options) -> Outcome<Watched> {
    let server = &servers.snakepit;
    let session = Session::open(&server.connect().await?, KEY.to_owned()).await?;
    session.register_bytes(snakepit::NAME, snakepit::bytes(payload(0))).await?;
    let (mut streams, mut channel) = (Vec::new(), server.connect().await?);
    for index in 0..options.watchers {
        if index > 0 && index % WATCHERS_PER_CONNECTION == 0 {
            channel = server.connect().await?;
        }
        streams.push(snakepit::watch(&session.over(&channel)).await?);
    }
    Watched::new("snakepit", server.pid, Box::new(snakepit::Set(session)), streams)
}

async fn of_etcd(servers: &Servers, options: &Options) -> Outcome<Option<Watched>> {
    let Some(peer) = &servers.etcd else { return Ok(None) };
    let (mut streams, mut client) = (Vec::new(), etcd::Client::connect(&peer.address).await?);
    let writer = etcd::Put { client: client.clone(), key: KEY.to_owned() };
    for index in 0..options.watchers {
        if index % WATCHERS_PER_CONNECTION == 0 {
            client = etcd::Client::connect(&peer.address).await?;
        }
        streams.push(client.watch(KEY).await?);
    }
    Ok(Some(Watched::new("etcd", peer.pid, Box::new(writer), streams)?))
}

#[cfg(feature = "nats")]
async fn of_nats(servers: &Servers, options: &Options) -> Outcome<Option<Watched>> {
    use super::nats;

    let Some(peer) = &servers.nats else { return Ok(None) };
    let (mut streams, mut store) = (Vec::new(), nats::connect(&peer.address).await?);
    let writer = nats::Put { store: store.clone(), key: KEY.to_owned() };
    for index in 0..options.watchers {
        if index % WATCHERS_PER_CONNECTION == 0 {
            store = nats::connect(&peer.address).await?;
        }
        streams.push(nats::watch(&store, KEY).await?);
    }
    Ok(Some(Watched::new("nats", peer.pid, Box::new(writer), streams)?))
}
