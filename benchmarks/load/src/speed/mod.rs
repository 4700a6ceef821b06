//! Speed beside the bare disk, etcd and NATS: cases that take turns on one disk in one run.

mod case;
mod disk;
mod etcd;
mod goals;
#[cfg(feature = "nats")]
mod nats;
mod peer;
mod snakepit;
mod watching;

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use snakepit_client::Connected;
use tonic_health::pb::health_client::HealthClient;

use crate::{
    Outcome, Setting, failure,
    process::memory,
    report::{Report, machine, mib, progress},
    server::Server,
    session::Session,
};
use case::{Case, Operation};
use peer::Peer;

/// Measure writes, reads and watches beside the bare disk, etcd and NATS.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Rounds; in each all cases take turns.
    #[arg(long, default_value_t = 12)]
    rounds: u32,
    /// Seconds of one slice of a case.
    #[arg(long, default_value_t = 1.5)]
    slice: f64,
    /// Writers and readers at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How many of them share a connection, on all servers alike.
    #[arg(long, default_value_t = 16)]
    per_connection: usize,
    /// Watchers, 100 on a connection.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Only cases whose names begin so, e.g. "writers"; goals need them all.
    #[arg(long, default_value = "")]
    only: String,
    /// etcd; without one it is left out.
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
    /// NATS, 2.12 or later; without one it is left out.
    #[arg(long, default_value = "nats-server")]
    nats: PathBuf,
}

/// Bytes of a value.
const PAYLOAD: usize = 64;
/// Watchers of one connection.
const WATCHERS_PER_CONNECTION: usize = 100;

/// The servers of a run.
struct Servers {
    snakepit: Server,
    etcd: Option<Peer>,
    nats: Option<Peer>,
}

/// Runs it.
pub async fn run(setting: &Setting, options: &Options) -> Outcome<Report> {
    let mut report = Report::new("speed");
    report.line(format!("before: {}", machine()));
    let data = setting.directory("snakepit")?;
    let servers = Servers {
        snakepit: Server::start(&setting.server, data.path(), &[]).await?,
        etcd: peer::etcd(setting, &options.etcd).await?,
        nats: if cfg!(feature = "nats") { peer::nats(setting, &options.nats).await? } else { None },
    };
    if servers.etcd.is_none() {
        report.line(format!("etcd is left out: there is no {}", options.etcd.display()));
    }
    if servers.nats.is_none() {
        report.line(format!(
            "NATS is left out: built without the feature, or no {} of version 2.12",
            options.nats.display()
        ));
    }
    let slice = Duration::from_secs_f64(options.slice);
    let raw = setting.directory("raw")?;
    let mut cases = cases(&servers, options, &raw.path().join("appended"), &mut report).await?;
    cases.retain(|case| case.name.starts_with(&options.only));
    for round in 0..=options.rounds {
        for case in &mut cases {
            case.slice(slice).await?;
            if round == 0 {
                case.forget();
            }
        }
        progress(&format!("round {round} of {}", options.rounds));
    }
    for case in &cases {
        report.line(case.line());
        report.fact(&case.name, case.facts());
    }
    goals::judge(&cases, options.clients, &mut report);
    if "watchers".starts_with(&options.only) {
        watching::run(&servers, options, slice, &mut report).await?;
    }
    let of = [
        ("snakepit", Some(servers.snakepit.pid)),
        ("etcd", servers.etcd.as_ref().map(|it| it.pid)),
        ("nats", servers.nats.as_ref().map(|it| it.pid)),
    ];
    for (name, pid) in of {
        let Some(pid) = pid else { continue };
        let now = memory(pid)?;
        report.line(format!("  {name}: RSS {} at the end, peak {}", mib(now.rss), mib(now.peak)));
        report.fact(&format!("{name} memory"), json!({"rss": now.rss, "peak": now.peak}));
    }
    servers.snakepit.stop().await?;
    Ok(report)
}

/// All cases in the order of their turns: what is compared is next to each other.
async fn cases(
    servers: &Servers,
    options: &Options,
    file: &std::path::Path,
    report: &mut Report,
) -> Outcome<Vec<Case>> {
    let own = &servers.snakepit;
    let (many, pid) = (options.clients, Some(own.pid));
    report.line(format!(
        "values of {PAYLOAD} bytes; {many} clients with a session or key each, {} on a connection; slices of {} s, {} \
         rounds",
        options.per_connection, options.slice, options.rounds
    ));
    let channels = snakepit_channels(own, many.div_ceil(options.per_connection)).await?;
    let mut sessions = Vec::new();
    for index in 0..many {
        let session = Session::open(&channels[index / options.per_connection], format!("load-{index}")).await?;
        session.register_bytes(snakepit::NAME, snakepit::bytes(payload(0))).await?;
        sessions.push(session);
    }
    let get = |index: usize| snakepit::Get::new(&sessions[index], &channels[index / options.per_connection]);
    let mut cases = vec![
        Case::new("1 append of 4 KiB + fdatasync", None, vec![boxed(disk::Append::new(file)?)])?,
        Case::new("1 health check", pid, vec![boxed(snakepit::Check(HealthClient::new(channels[0].clone())))])?,
        Case::new("1 writer: snakepit", pid, vec![boxed(snakepit::Set(sessions[0].clone()))])?,
        Case::new("writers: snakepit", pid, sessions.iter().map(|it| boxed(snakepit::Set(it.clone()))).collect())?,
        Case::new("1 reader: snakepit", pid, vec![boxed(get(0))])?,
        Case::new("readers: snakepit", pid, (0..many).map(|index| boxed(get(index))).collect())?,
    ];
    if let Some(peer) = &servers.etcd {
        let mut clients = Vec::new();
        for index in 0..many {
            if index % options.per_connection == 0 {
                clients.push(etcd::Client::connect(&peer.address).await?);
            }
            let client = clients[index / options.per_connection].clone();
            client.clone().put(&key(index), payload(0)).await?;
        }
        let client = |index: usize| clients[index / options.per_connection].clone();
        let put = |index: usize| boxed(etcd::Put { client: client(index), key: key(index) });
        let get = |index: usize, serializable: bool| {
            boxed(etcd::Get { client: client(index), key: key(index), serializable })
        };
        let pid = Some(peer.pid);
        cases.push(Case::new("1 writer: etcd", pid, vec![put(0)])?);
        cases.push(Case::new("writers: etcd", pid, (0..many).map(put).collect())?);
        cases.push(Case::new("1 reader: etcd", pid, vec![get(0, false)])?);
        cases.push(Case::new("readers: etcd", pid, (0..many).map(|index| get(index, false)).collect())?);
        cases.push(Case::new("readers: etcd, serializable", pid, (0..many).map(|it| get(it, true)).collect())?);
    }
    #[cfg(feature = "nats")]
    if let Some(peer) = &servers.nats {
        cases.extend(nats_cases(peer, options).await?);
    }
    cases.sort_by_key(|case| ORDER.iter().position(|it| case.name.starts_with(it)));
    Ok(cases)
}

/// What is compared takes turns next to each other.
const ORDER: [&str; 6] = ["1 append", "1 health", "1 writer", "writers", "1 reader", "readers"];

#[cfg(feature = "nats")]
async fn nats_cases(peer: &Peer, options: &Options) -> Outcome<Vec<Case>> {
    let (many, pid) = (options.clients, Some(peer.pid));
    let mut stores = Vec::new();
    for index in 0..many {
        if index % options.per_connection == 0 {
            stores.push(nats::connect(&peer.address).await?);
        }
        stores[index / options.per_connection].put(key(index), payload(0).into()).await?;
    }
    let store = |index: usize| stores[index / options.per_connection].clone();
    let put = |index: usize| boxed(nats::Put { store: store(index), key: key(index) });
    let get = |index: usize| boxed(nats::Get { store: store(index), key: key(index) });
    Ok(vec![
        Case::new("1 writer: nats", pid, vec![put(0)])?,
        Case::new("writers: nats", pid, (0..many).map(put).collect())?,
        Case::new("1 reader: nats", pid, vec![get(0)])?,
        Case::new("readers: nats", pid, (0..many).map(get).collect())?,
    ])
}

async fn snakepit_channels(server: &Server, count: usize) -> Outcome<Vec<Connected>> {
    let mut channels = Vec::new();
    for _ in 0..count.max(1) {
        channels.push(server.connect().await?);
    }
    Ok(channels)
}

fn boxed(operation: impl Operation + 'static) -> Box<dyn Operation> {
    Box::new(operation)
}

fn key(index: usize) -> String {
    format!("load-{index}")
}

/// A value that begins with a number.
fn payload(number: u64) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(PAYLOAD, 0xa5);
    value
}

/// The number that a value begins with.
fn number(value: &[u8]) -> Outcome<u64> {
    let first = value.get(..8).and_then(|it| it.try_into().ok());
    first.map(u64::from_le_bytes).ok_or_else(|| failure(format!("a value of {} bytes", value.len())))
}
