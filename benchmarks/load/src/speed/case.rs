//! Cases that take turns: each runs for a slice of time, then the next one.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Outcome,
    process::{cpu, own_cpu},
    report::percentiles,
};

/// Something that a client does again and again.
pub(super) trait Operation: Send {
    /// Does it once; `number` rises from one time to the next.
    fn run(&mut self, number: u64) -> BoxFuture<'_, Outcome<()>>;
}

/// Clients that do the same at once, and what came of it.
pub(super) struct Case {
    /// Who does what.
    pub(super) name: String,
    /// The server's process, if there is one.
    server: Option<u32>,
    clients: Vec<Box<dyn Operation>>,
    /// All latencies, in microseconds.
    pub(super) latencies: Histogram<u64>,
    slices: Vec<Slice>,
}

/// What one slice came to.
pub(super) struct Slice {
    pub(super) done: u64,
    pub(super) took: Duration,
    pub(super) p50: u64,
    pub(super) generator: Duration,
    pub(super) server: Duration,
}

impl Case {
    pub(super) fn new(name: &str, server: Option<u32>, clients: Vec<Box<dyn Operation>>) -> Outcome<Self> {
        Ok(Self { name: name.to_owned(), server, clients, latencies: Histogram::new(3)?, slices: Vec::new() })
    }

    /// Runs it for a while.
    pub(super) async fn slice(&mut self, length: Duration) -> Outcome<()> {
        let spent = Spent::start(self.server)?;
        let until = Instant::now() + length;
        let first = self.latencies.len();
        let mut clients = JoinSet::new();
        for mut client in self.clients.drain(..) {
            clients.spawn(async move {
                let mut latencies = Histogram::new(3)?;
                let mut begun = Instant::now();
                while begun < until {
                    client.run(first + latencies.len()).await?;
                    let now = Instant::now();
                    latencies.record(microseconds(now - begun))?;
                    begun = now;
                }
                Ok::<_, crate::Failure>((client, latencies))
            });
        }
        let mut all = Histogram::new(3)?;
        while let Some(ended) = clients.join_next().await {
            let (client, latencies) = ended??;
            self.clients.push(client);
            all.add(latencies)?;
        }
        self.slices.push(spent.end(all.len(), all.value_at_quantile(0.5))?);
        self.latencies.add(all)?;
        Ok(())
    }

    /// Forgets what the first slices came to: they warmed up.
    pub(super) fn forget(&mut self) {
        self.latencies.reset();
        self.slices.clear();
    }

    /// The median of all, in microseconds.
    pub(super) fn p50(&self) -> u64 {
        self.latencies.value_at_quantile(0.5)
    }

    /// How many a second.
    pub(super) fn rate(&self) -> f64 {
        rate(&self.slices)
    }

    /// A line of a table.
    pub(super) fn line(&self) -> String {
        line(&self.name, &self.slices, &self.latencies)
    }

    /// All slices.
    pub(super) fn facts(&self) -> Value {
        facts(&self.slices, &self.latencies)
    }
}

/// CPU time before a slice.
pub(super) struct Spent {
    began: Instant,
    pid: Option<u32>,
    generator: Duration,
    server: Duration,
}

impl Spent {
    pub(super) fn start(pid: Option<u32>) -> Outcome<Self> {
        let server = pid.map(cpu).transpose()?.unwrap_or_default();
        Ok(Self { began: Instant::now(), pid, generator: own_cpu()?, server })
    }

    pub(super) fn end(self, done: u64, p50: u64) -> Outcome<Slice> {
        let server = self.pid.map(cpu).transpose()?.unwrap_or_default();
        Ok(Slice {
            done,
            took: self.began.elapsed(),
            p50,
            generator: own_cpu()?.saturating_sub(self.generator),
            server: server.saturating_sub(self.server),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn rate(slices: &[Slice]) -> f64 {
    let took: Duration = slices.iter().map(|slice| slice.took).sum();
    slices.iter().map(|slice| slice.done).sum::<u64>() as f64 / took.as_secs_f64().max(f64::EPSILON)
}

/// A line of a table: rate, percentiles, CPU of both sides in cores.
pub(super) fn line(name: &str, slices: &[Slice], latencies: &Histogram<u64>) -> String {
    let took: Duration = slices.iter().map(|slice| slice.took).sum();
    let cores = |spent: fn(&Slice) -> Duration| {
        slices.iter().map(spent).sum::<Duration>().as_secs_f64() / took.as_secs_f64().max(f64::EPSILON)
    };
    format!(
        "  {name:<34} {:>8.0}/s  {}  CPU server {:.2} generator {:.2}",
        rate(slices),
        percentiles(latencies),
        cores(|slice| slice.server),
        cores(|slice| slice.generator)
    )
}

/// The same for programs, with all slices.
pub(super) fn facts(slices: &[Slice], latencies: &Histogram<u64>) -> Value {
    let at = |quantile: f64| latencies.value_at_quantile(quantile);
    let slices: Vec<Value> = slices
        .iter()
        .map(|slice| {
            json!({
                "done": slice.done, "seconds": slice.took.as_secs_f64(), "p50_us": slice.p50,
                "generator_cpu_seconds": slice.generator.as_secs_f64(), "server_cpu_seconds": slice.server.as_secs_f64(),
            })
        })
        .collect();
    json!({"p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "max_us": at(1.0), "slices": slices})
}

pub(super) fn microseconds(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1)
}
