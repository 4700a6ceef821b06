use std::{sync::Arc, time::Duration};

use snakepit_core::{
    error::Error,
    tool::Failure,
    value::Value,
    variable::{MAX_LABELS, Name, Timestamp},
};
use snakepit_proto::{Refusal, v1 as proto};

use super::{duration, shown, span, timestamp, value};
use crate::tool::{
    Arguments, Attempt, BreakerState, CallRecord, CallState, DispatchKey, LATENCY_BOUNDS, ListedTool, Order,
    RetryPolicy, Schema, ShownTool, ShownWorker, ToolSpec, ToolStats,
};

/// Characters of a description, a label, a failure's message.
const MAX_TEXT: usize = 64 * 1024;
const MAX_ATTEMPTS: u32 = 10;
const MAX_MULTIPLIER: f64 = 10.0;
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A tool that is offered, with its schema compiled.
pub(in crate::service) fn parse_spec(spec: proto::ToolSpec, schema_bytes: u64) -> Result<(ToolSpec, Schema), Error> {
    let name = Name::parse(&spec.name)?;
    if spec.description.len() > MAX_TEXT {
        return Err(Error::invalid("description", format!("takes at most {MAX_TEXT} bytes")));
    }
    if spec.metadata.len() > MAX_LABELS {
        let got = spec.metadata.len();
        return Err(Error::invalid("metadata", format!("takes at most {MAX_LABELS} entries, got {got}")));
    }
    if spec.result_schema.len() as u64 > schema_bytes {
        return Err(Error::LimitExceeded { limit: "tool_schema_bytes", max: schema_bytes });
    }
    let schema = Schema::compile(&spec.arguments_schema, schema_bytes)?;
    let spec = ToolSpec {
        name,
        description: spec.description,
        arguments_schema: spec.arguments_schema.into(),
        result_schema: spec.result_schema.into(),
        streaming: spec.streaming,
        idempotent: spec.idempotent,
        timeout: positive("timeout", spec.timeout)?,
        retry: spec.retry.map_or_else(|| Ok(RetryPolicy::default()), |retry| parse_retry(&retry))?,
        max_concurrency: (spec.max_concurrency > 0).then_some(spec.max_concurrency),
        metadata: spec.metadata,
    };
    Ok((spec, schema))
}

fn parse_retry(retry: &proto::RetryPolicy) -> Result<RetryPolicy, Error> {
    let backoff = |field: &str, given: Option<prost_types::Duration>, default: Duration| match given {
        None => Ok(default),
        Some(given) => span(given)
            .filter(|backoff| *backoff <= MAX_BACKOFF)
            .ok_or_else(|| Error::invalid(field, format!("takes 0 to 60 s, got {}", shown(given)))),
    };
    let default = RetryPolicy::default();
    if !(1..=MAX_ATTEMPTS).contains(&retry.max_attempts) {
        let problem = format!("takes 1 to {MAX_ATTEMPTS}, got {}", retry.max_attempts);
        return Err(Error::invalid("retry.max_attempts", problem));
    }
    if !(1.0..=MAX_MULTIPLIER).contains(&retry.multiplier) {
        let problem = format!("takes 1 to {MAX_MULTIPLIER}, got {}", retry.multiplier);
        return Err(Error::invalid("retry.multiplier", problem));
    }
    Ok(RetryPolicy {
        max_attempts: retry.max_attempts,
        initial_backoff: backoff("retry.initial_backoff", retry.initial_backoff, default.initial_backoff)?,
        multiplier: retry.multiplier,
        max_backoff: backoff("retry.max_backoff", retry.max_backoff, default.max_backoff)?,
    })
}

/// A span of time above zero, if it is given.
pub(in crate::service) fn positive(
    field: &str,
    given: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(given) = given else { return Ok(None) };
    match span(given) {
        Some(duration) if !duration.is_zero() => Ok(Some(duration)),
        Some(_) | None => Err(Error::invalid(field, format!("has to be above 0 s, got {}", shown(given)))),
    }
}

/// A call's arguments; none if they are not given.
pub(in crate::service) fn parse_arguments(arguments: Option<proto::MapValue>) -> Result<Arguments, Refusal> {
    let parsed = value::parse_map("arguments", arguments.unwrap_or_default(), 1)?;
    if let Value::Map(entries) = parsed { Ok(entries) } else { Err(Error::invalid("arguments", "takes a map").into()) }
}

/// A result or a chunk of a worker.
pub(in crate::service) fn parse_value(given: Option<proto::Value>) -> Result<Value, Error> {
    value::parse("value", given)
}

/// How a worker says that a tool failed.
pub(in crate::service) fn parse_failure(failure: Option<proto::ToolFailure>) -> Failure {
    failure.unwrap_or_default().into()
}

fn spec(spec: &ToolSpec) -> proto::ToolSpec {
    proto::ToolSpec {
        name: spec.name.to_string(),
        description: spec.description.clone(),
        arguments_schema: spec.arguments_schema.to_string(),
        result_schema: spec.result_schema.to_string(),
        streaming: spec.streaming,
        idempotent: spec.idempotent,
        timeout: spec.timeout.and_then(duration),
        retry: Some(proto::RetryPolicy {
            max_attempts: spec.retry.max_attempts,
            initial_backoff: duration(spec.retry.initial_backoff),
            multiplier: spec.retry.multiplier,
            max_backoff: duration(spec.retry.max_backoff),
        }),
        max_concurrency: spec.max_concurrency.unwrap_or_default(),
        metadata: spec.metadata.clone(),
    }
}

pub(in crate::service) fn tool(tool: &ListedTool) -> proto::Tool {
    proto::Tool { spec: Some(spec(&tool.spec)), global: tool.global, native: tool.native, workers: count(tool.workers) }
}

pub(in crate::service) fn shown_tool(shown: &ShownTool) -> proto::GetToolResponse {
    proto::GetToolResponse {
        tool: Some(tool(&shown.tool)),
        workers: shown.workers.iter().map(worker).collect(),
        stats: Some(stats(&shown.stats, shown.queued)),
    }
}

fn worker(worker: &ShownWorker) -> proto::ToolWorker {
    let (breaker, opens_for) = match worker.breaker {
        BreakerState::Closed => (proto::BreakerState::Closed, None),
        BreakerState::Open(left) => (proto::BreakerState::Open, duration(left)),
        BreakerState::HalfOpen => (proto::BreakerState::HalfOpen, None),
    };
    proto::ToolWorker {
        worker_id: worker.id.to_string(),
        label: worker.label.to_string(),
        in_flight: count(worker.in_flight),
        worker_in_flight: count(worker.worker_in_flight),
        max_concurrency: count(worker.max),
        draining: worker.draining,
        breaker: breaker.into(),
        failures_in_row: worker.failures_in_row,
        opens_for,
        connected: worker.connected,
    }
}

fn stats(stats: &ToolStats, queued: usize) -> proto::ToolStats {
    let bounds = LATENCY_BOUNDS.iter().map(|bound| duration(*bound)).chain([None]);
    let latency = bounds.zip(stats.latency).map(|(up_to, count)| proto::LatencyBucket { up_to, count });
    proto::ToolStats {
        calls: stats.calls,
        results: stats.results,
        failures: stats.failures,
        deadlines: stats.deadlines,
        cancellations: stats.cancellations,
        unavailable: stats.unavailable,
        retries: stats.retries,
        late: stats.late,
        refused: stats.refused,
        in_flight: stats.in_flight(),
        queued: queued as u64,
        latency: latency.collect(),
        latency_sum: duration(stats.latency_sum),
    }
}

pub(in crate::service) fn call(record: &CallRecord) -> proto::Call {
    let ended = record.accepted.after(record.took);
    proto::Call {
        call_id: record.id.to_string(),
        tool: record.tool.to_string(),
        state: call_state(record.state).into(),
        attempts: record.attempts.iter().map(|it| attempt(it, record.accepted, ended)).collect(),
        accepted_at: Some(timestamp(record.accepted)),
        took: duration(record.took),
    }
}

fn attempt(attempt: &Attempt, accepted: Timestamp, ended: Timestamp) -> proto::Attempt {
    proto::Attempt {
        worker_id: attempt.worker.to_string(),
        dispatched_after: duration(attempt.dispatched.since(accepted)),
        took: duration(attempt.ended.unwrap_or(ended).since(attempt.dispatched)),
        state: call_state(attempt.state).into(),
    }
}

fn call_state(state: CallState) -> proto::CallState {
    match state {
        CallState::Queued => proto::CallState::Queued,
        CallState::Running => proto::CallState::Running,
        CallState::Result => proto::CallState::Result,
        CallState::Failure => proto::CallState::Failure,
        CallState::Deadline => proto::CallState::Deadline,
        CallState::Cancelled => proto::CallState::Cancelled,
        CallState::Unavailable => proto::CallState::Unavailable,
    }
}

/// What a worker is to run.
pub(in crate::service) fn dispatch(order: &Order, now: Timestamp) -> proto::Dispatch {
    let request = &order.request;
    let entry =
        |(key, given): &(Arc<str>, Value)| proto::MapEntry { key: key.to_string(), value: Some(value::encode(given)) };
    proto::Dispatch {
        dispatch: order.dispatch.0,
        call_id: order.call_id.to_string(),
        attempt: order.attempt,
        tool: order.tool.to_string(),
        arguments: Some(proto::MapValue { entries: request.arguments.iter().map(entry).collect() }),
        time_left: duration(order.deadline.since(now)),
        chunk_credit: order.chunk_credit,
        caller: request.caller.to_string(),
        session_id: request.session_id.to_string(),
        traceparent: request.traceparent.to_string(),
        tracestate: request.tracestate.to_string(),
    }
}

/// The number of a dispatch.
pub(in crate::service) fn dispatch_key(number: u64) -> DispatchKey {
    DispatchKey(number)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
