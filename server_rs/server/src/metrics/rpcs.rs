use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use prost::Message as _;
use snakepit_proto::v1::{DESCRIPTORS, ErrorReason};

use super::seconds;

/// gRPC's codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
const DEADLINE_EXCEEDED: usize = 4;

/// What an rpc that is none is called.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    method: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    method: Arc<str>,
    code: &'static str,
}

/// The rpcs of a server's own services. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RpcMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Family<Named, Counter>,
    handled: Family<Handled, Counter>,
    duration: Family<Named, Histogram, fn() -> Histogram>,
    streams: Family<Named, Gauge>,
    refusals: Family<[(&'static str, String); 1], Counter>,
    limits: Family<[(&'static str, String); 1], Counter>,
    /// By path. What is not in it is `other`.
    methods: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

/// One rpc.
#[derive(Debug)]
struct Method {
    name: Arc<str>,
    started: Counter,
    /// By code; made when there is one.
    handled: [OnceLock<Counter>; CODES.len()],
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unary(Histogram),
    Stream(Gauge),
}

impl Default for Inner {
    fn default() -> Self {
        let (started, handled, streams) = (Family::default(), Family::default(), Family::<Named, Gauge>::default());
        let duration = Family::new_with_constructor(seconds as fn() -> Histogram);
        let method = |name: &str, is_stream: bool| {
            let named = Named { method: name.into() };
            let kind = if is_stream {
                Kind::Stream(streams.get_or_create_owned(&named))
            } else {
                Kind::Unary(duration.get_or_create_owned(&named))
            };
            let started: Counter = started.get_or_create_owned(&named);
            Arc::new(Method { name: named.method, started, handled: Default::default(), kind })
        };
        let methods = of_protocol().map(|(path, name, is_stream)| (path, method(&name, is_stream))).collect();
        let other = method(OTHER, false);
        let (refusals, limits) = (Family::default(), Family::default());
        let this = Self { started, handled, duration, streams, refusals, limits, methods, other };
        // What has not happened yet is a zero, so that its first time is seen as a rise.
        this.methods.values().for_each(|method| this.count(method, 0, 0));
        for reason in (1..).map_while(|number| ErrorReason::try_from(number).ok()) {
            let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
            drop(this.refusals.get_or_create(&[("reason", name.to_owned())]));
        }
        this
    }
}

impl Inner {
    fn count(&self, method: &Method, code: usize, by: u64) {
        let code = if code < CODES.len() { code } else { UNKNOWN };
        let counter = method.handled[code].get_or_init(|| {
            self.handled.get_or_create_owned(&Handled { method: Arc::clone(&method.name), code: CODES[code] })
        });
        counter.inc_by(by);
    }
}

/// Path, name and whether it streams, of each rpc of the protocol.
fn of_protocol() -> impl Iterator<Item = (String, String, bool)> {
    // They were compiled with this program.
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default().file;
    files.into_iter().flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().flat_map(move |service| {
            let prefix = format!("/{package}.{}/", service.name());
            service.method.into_iter().map(move |method| {
                let is_stream = method.client_streaming() || method.server_streaming();
                (format!("{prefix}{}", method.name()), method.name().to_owned(), is_stream)
            })
        })
    })
}

impl RpcMetrics {
    /// An rpc begins that may take this long.
    pub(crate) fn begin(&self, path: &str, within: Option<Duration>) -> Rpc {
        let method = Arc::clone(self.0.methods.get(path).unwrap_or(&self.0.other));
        method.started.inc();
        if let Kind::Stream(open) = &method.kind {
            open.inc();
        }
        Rpc { metrics: self.clone(), method, began: Instant::now(), within, ended: false }
    }

    /// Something was refused for a reason of ours; because of this limit, if it was one.
    pub(crate) fn refused(&self, reason: &str, limit: Option<&str>) {
        self.0.refusals.get_or_create(&[("reason", reason.to_owned())]).inc();
        if let Some(limit) = limit {
            self.0.limits.get_or_create(&[("limit", limit.to_owned())]).inc();
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("rpc_started", "Requests that came in", self.0.started.clone());
        registry.register("rpc_handled", "Requests that ended, by gRPC code", self.0.handled.clone());
        registry.register_with_unit(
            "rpc_duration",
            "From a request's coming in until its answer was handed to the transport; not of streams",
            Unit::Seconds,
            self.0.duration.clone(),
        );
        registry.register("rpc_streams", "Streams that are open", self.0.streams.clone());
        registry.register(
            "refusals",
            "Requests that were refused, and streams that were ended",
            self.0.refusals.clone(),
        );
        registry.register("limit_exceeded", "Refusals because of a limit, by its name", self.0.limits.clone());
    }
}

/// A request that was not answered yet, or a stream that is open. Dropped before its end it was cancelled.
#[derive(Debug)]
pub(crate) struct Rpc {
    metrics: RpcMetrics,
    method: Arc<Method>,
    began: Instant,
    within: Option<Duration>,
    ended: bool,
}

impl Rpc {
    /// It ends with this code.
    pub(crate) fn ended(mut self, code: i32) {
        self.end(usize::try_from(code).unwrap_or(UNKNOWN));
    }

    /// What it belongs to.
    pub(crate) fn metrics(&self) -> &RpcMetrics {
        &self.metrics
    }

    fn end(&mut self, code: usize) {
        self.ended = true;
        match &self.method.kind {
            Kind::Unary(duration) => duration.observe(self.began.elapsed().as_secs_f64()),
            Kind::Stream(open) => drop(open.dec()),
        }
        self.metrics.0.count(&self.method, code, 1);
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        if !self.ended {
            // Its client's clock began a little earlier.
            let late = self.within.is_some_and(|within| self.began.elapsed() >= within.mul_f64(0.9));
            self.end(if late { DEADLINE_EXCEEDED } else { CANCELLED });
        }
    }
}
