//! Requests with an id, or as part of a trace.

use tonic::{Extensions, Request, metadata::MetadataMap};

/// A request by that id.
pub fn named<T>(id: &str, message: T) -> Request<T> {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-request-id", id.parse().unwrap());
    Request::from_parts(metadata, Extensions::new(), message)
}

pub const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A request that belongs to a trace.
pub fn traced<T>(message: T, parent: &str, state: &str) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in [("traceparent", parent), ("tracestate", state)] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    request
}
