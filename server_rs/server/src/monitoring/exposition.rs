//! All figures in one text, in the format of `OpenMetrics`.

use std::{fmt, iter, sync::Arc};

use hyper::header::HeaderValue;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{
        MetricType,
        counter::ConstCounter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::{Registry, Unit},
};
use snakepit_proto::API_VERSION;

use super::process::Process;
use crate::{
    service::context::Serving,
    tool::{LATENCY_BOUNDS, ToolStats},
};

/// What [`Exposition::expose`] writes.
pub(super) const FORMAT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// All figures of one server.
#[derive(Debug)]
pub(super) struct Exposition(Registry);

impl Exposition {
    pub(super) fn of(serving: &Arc<Serving>) -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(Process::now()));
        let ours = all.sub_registry_with_prefix("snakepit");
        // Not of OpenMetrics' own type for it, which readers of the older format stumble over.
        let build = Family::<[(&'static str, String); 2], Gauge>::default();
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("api_version", API_VERSION.to_string())];
        build.get_or_create(&version).set(1);
        ours.register("build_info", "Which server this is", build);
        serving.metrics.rpcs.register(ours);
        serving.metrics.watches.register(ours);
        let journal = serving.store.metrics();
        journal.writes.register(ours);
        journal.journal.register(ours);
        journal.home.register(ours);
        ours.register_collector(Box::new(Now(Arc::clone(serving))));
        Self(all)
    }

    /// The text. Takes time in the number of sessions, tools and calls.
    pub(super) fn expose(&self) -> Result<String, fmt::Error> {
        let mut exposed = String::new();
        text::encode(&mut exposed, &self.0)?;
        Ok(exposed)
    }
}

/// What is looked up when somebody asks.
struct Now(Arc<Serving>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Now").finish_non_exhaustive()
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Serving { store, tools, .. } = &*self.0;
        let (held, tools) = (store.figures(), tools.figures());
        let read_only = u64::from(store.health().trouble().is_some());
        for (name, help, unit, value) in [
            ("read_only", "1 while nothing can be written.", None, read_only),
            ("sessions", "Live sessions.", None, held.sessions),
            ("sessions_max", "Live sessions that there may be.", None, held.sessions_max),
            ("variables", "Variables of live sessions.", None, held.variables),
            ("values", "Encoded bytes of the variables' values.", Some(Unit::Bytes), held.value_bytes),
            ("events_held", "Events that are held in memory for watches.", None, held.events),
            ("journal_queue_events", "Events that wait for the journal, or have a place to.", None, held.queued),
            ("tools", "Tools that somebody offers.", None, tools.tools),
            ("tool_workers", "Workers that are connected.", None, tools.workers),
            ("tool_calls_running", "Calls that a worker, or this server, runs.", None, tools.running),
            ("tool_calls_waiting", "Calls that wait for a worker, or for another attempt.", None, tools.waiting),
            ("tool_breakers_open", "Breakers that let no call through, or one at a time.", None, tools.breakers),
        ] {
            let metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        calls(&mut encoder, &tools.totals)
    }
}

/// What became of tool calls.
fn calls(encoder: &mut DescriptorEncoder<'_>, totals: &ToolStats) -> fmt::Result {
    for (name, help, value) in [
        ("tool_calls_accepted", "Calls that were accepted.", totals.calls),
        ("tool_calls_refused", "Calls of a known tool that were refused before they were accepted.", totals.refused),
        ("tool_calls_retried", "Attempts beyond a call's first.", totals.retries),
        ("tool_results_late", "Results that came after the end of their call.", totals.late),
    ] {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)?;
    }
    let mut ended = encoder.encode_descriptor("tool_calls", "Calls that ended, by how.", None, MetricType::Counter)?;
    for (outcome, value) in [
        ("result", totals.results),
        ("failure", totals.failures),
        ("deadline", totals.deadlines),
        ("cancelled", totals.cancellations),
        ("unavailable", totals.unavailable),
    ] {
        ConstCounter::new(value).encode(ended.encode_family(&[("outcome", outcome)])?)?;
    }
    let bounds = LATENCY_BOUNDS.iter().map(std::time::Duration::as_secs_f64).chain(iter::once(f64::INFINITY));
    let buckets: Vec<(f64, u64)> = bounds.zip(totals.latency).collect();
    let help = "From a call's acceptance to its end.";
    let mut took =
        encoder.encode_descriptor("tool_call_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    let (sum, count) = (totals.latency_sum.as_secs_f64(), totals.latency.iter().sum());
    took.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
