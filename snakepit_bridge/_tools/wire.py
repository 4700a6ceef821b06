"""Tools, workers and calls on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.duration_pb2 import Duration

from snakepit_bridge._tools.models import (
    Attempt,
    BreakerState,
    CallState,
    CallStatus,
    LatencyBucket,
    Retry,
    Tool,
    ToolStats,
    ToolStatus,
    ToolWorker,
)
from snakepit_bridge.exceptions import InvalidRequestError
from snakepit_bridge.v1 import tool_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_LONGEST = 1e9
_CALL_STATES = {number: name.removeprefix("CALL_STATE_").lower() for name, number in pb.CallState.items()}
_BREAKER_STATES = {number: name.removeprefix("BREAKER_STATE_").lower() for name, number in pb.BreakerState.items()}


def duration(seconds: float, field: str) -> Duration:
    """Seconds on the wire; `field` is what they are, for the error if they cannot be meant."""
    if not 0 <= seconds < _LONGEST:
        raise InvalidRequestError(f"{field}={seconds!r}: wanted 0 or more seconds, at most 30 years", {"field": field})
    nanoseconds = round(seconds * 1e9)
    return Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def seconds(message: Duration) -> float:
    """A wire duration in seconds."""
    return message.seconds + message.nanos / 1e9


def retry_to_wire(retry: Retry) -> pb.RetryPolicy:
    """A retry policy on the wire; the server checks its numbers."""
    return pb.RetryPolicy(
        max_attempts=retry.max_attempts,
        initial_backoff=duration(retry.initial_backoff, "retry.initial_backoff"),
        multiplier=retry.multiplier,
        max_backoff=duration(retry.max_backoff, "retry.max_backoff"),
    )


def tool_from_wire(message: pb.Tool) -> Tool:
    """A tool as the server lists it."""
    spec = message.spec
    retry = Retry()
    if spec.HasField("retry"):
        retry = Retry(
            spec.retry.max_attempts,
            seconds(spec.retry.initial_backoff),
            spec.retry.multiplier,
            seconds(spec.retry.max_backoff),
        )
    return Tool(
        name=spec.name,
        description=spec.description,
        arguments_schema=_schema(spec.arguments_schema),
        result_schema=_schema(spec.result_schema),
        streaming=spec.streaming,
        idempotent=spec.idempotent,
        timeout=seconds(spec.timeout) if spec.HasField("timeout") else None,
        retry=retry,
        max_concurrency=spec.max_concurrency or None,
        metadata=dict(spec.metadata),
        everywhere=getattr(message, "global"),
        native=message.native,
        workers=message.workers,
    )


def schema_text(schema: Mapping[str, Any] | str | None, field: str) -> str:
    """A JSON Schema as the wire carries it; `field` is what it is of, for the error if it is none."""
    if schema is None:
        return ""
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        known = json.loads(text)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{field} is no JSON: {error}", {"field": field}) from None
    if not isinstance(known, dict):
        raise InvalidRequestError(f"{field} is {text:.40}, and has to be a JSON object", {"field": field})
    return text


def _schema(text: str) -> dict[str, Any]:
    # Of results nobody has checked it, and a stranger's nonsense must not hide the other tools.
    try:
        schema = json.loads(text) if text else {}
    except ValueError:
        return {}
    return schema if isinstance(schema, dict) else {}


def status_from_wire(message: pb.GetToolResponse) -> ToolStatus:
    """A tool, its workers and its figures."""
    stats = message.stats
    return ToolStatus(
        tool_from_wire(message.tool),
        tuple(map(_worker, message.workers)),
        ToolStats(
            calls=stats.calls,
            results=stats.results,
            failures=stats.failures,
            deadlines=stats.deadlines,
            cancellations=stats.cancellations,
            unavailable=stats.unavailable,
            retries=stats.retries,
            late=stats.late,
            refused=stats.refused,
            in_flight=stats.in_flight,
            queued=stats.queued,
            latency=_latency(stats.latency),
            latency_sum=seconds(stats.latency_sum),
        ),
    )


def _latency(buckets: RepeatedCompositeFieldContainer[pb.LatencyBucket]) -> tuple[LatencyBucket, ...]:
    return tuple(
        LatencyBucket(seconds(bucket.up_to) if bucket.HasField("up_to") else None, bucket.count) for bucket in buckets
    )


def _worker(worker: pb.ToolWorker) -> ToolWorker:
    return ToolWorker(
        worker_id=worker.worker_id,
        label=worker.label,
        in_flight=worker.in_flight,
        worker_in_flight=worker.worker_in_flight,
        max_concurrency=worker.max_concurrency,
        draining=worker.draining,
        breaker=cast("BreakerState", _BREAKER_STATES.get(worker.breaker, f"state {worker.breaker}")),
        failures_in_row=worker.failures_in_row,
        opens_for=seconds(worker.opens_for),
        connected=worker.connected,
    )


def call_from_wire(call: pb.Call) -> CallStatus:
    """A call and its attempts."""
    return CallStatus(
        call_id=call.call_id,
        tool=call.tool,
        state=_state(call.state),
        attempts=tuple(
            Attempt(attempt.worker_id, seconds(attempt.dispatched_after), seconds(attempt.took), _state(attempt.state))
            for attempt in call.attempts
        ),
        accepted_at=call.accepted_at.ToDatetime(tzinfo=UTC),
        took=seconds(call.took),
    )


def _state(number: pb.CallState.ValueType) -> CallState:
    return cast("CallState", _CALL_STATES.get(number, f"state {number}"))
