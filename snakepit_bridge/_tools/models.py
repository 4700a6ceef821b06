"""What a tool is, who runs it and how its calls stand, as Python sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

__all__ = [
    "Attempt",
    "BreakerState",
    "CallState",
    "CallStatus",
    "LatencyBucket",
    "Retry",
    "Tool",
    "ToolResult",
    "ToolStats",
    "ToolStatus",
    "ToolWorker",
]

CallState = Literal["queued", "running", "result", "failure", "deadline", "cancelled", "unavailable"]
BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Retry:
    """When an idempotent tool is tried again, after its worker was lost or it failed retryably. Times in seconds.

    Attributes:
        max_attempts: attempts in all, 1 to 10.
        initial_backoff: before the second attempt; each pause is drawn between half of the backoff and all of it.
        multiplier: what each further backoff is multiplied by, 1 to 10.
        max_backoff: the longest backoff, at most 60; also how long an attempt waits for some worker to be there.
    """

    max_attempts: int = 3
    initial_backoff: float = 0.1
    multiplier: float = 2.0
    max_backoff: float = 5.0


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a generator yields last, if it returns something besides what it yielded.

    The only way to a result for an asynchronous generator; a plain one may `return` it instead. `ToolResult(None)` is
    a result, too: without any, whoever only calls the tool gets the list of what it yielded.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as it can be called.

    Attributes:
        arguments_schema: a JSON Schema of its arguments, of type "object"; {} if it takes any.
        result_schema: a JSON Schema of its result; {} if nobody said.
        streaming: whether it yields chunks before its result.
        idempotent: whether running it twice does no harm.
        timeout: how many seconds a call may take, retries included; None: as long as its caller says.
        max_concurrency: how many calls of it one worker runs at once; None: as many as that worker runs in all.
        everywhere: whether every session has it.
        native: whether the server's host runs it itself.
        workers: how many workers offer it and are not draining; 1 for a native one.
    """

    name: str
    description: str
    arguments_schema: dict[str, Any]
    result_schema: dict[str, Any]
    streaming: bool
    idempotent: bool
    timeout: float | None
    retry: Retry
    max_concurrency: int | None
    metadata: dict[str, str]
    everywhere: bool
    native: bool
    workers: int


@dataclass(frozen=True, slots=True)
class ToolWorker:
    """One worker, seen from a tool.

    Attributes:
        worker_id: the same each time it connects; "" for the server's host.
        label: what and where it is, for people.
        in_flight: attempts of this tool that it runs now.
        worker_in_flight: attempts of all tools that it runs now.
        max_concurrency: how many it takes at most.
        draining: whether it takes no more calls.
        breaker: whether calls of this tool go to it: "closed" yes, "open" no, "half_open" one at a time, as a trial.
        failures_in_row: lost connections, timeouts and retryable failures in a row.
        opens_for: how many seconds an open breaker still stays open.
        connected: False for one that is listed only because its breaker remembers it.
    """

    worker_id: str
    label: str
    in_flight: int
    worker_in_flight: int
    max_concurrency: int
    draining: bool
    breaker: BreakerState
    failures_in_row: int
    opens_for: float
    connected: bool


@dataclass(frozen=True, slots=True)
class LatencyBucket:
    """How many calls took at most `up_to` seconds, and longer than the bucket before; None has the rest."""

    up_to: float | None
    count: int


@dataclass(frozen=True, slots=True)
class ToolStats:
    """The figures of a tool since the server started.

    Attributes:
        calls: calls accepted; `results`, `failures`, `deadlines`, `cancellations` and `unavailable` are how they
            ended, and `in_flight` those that have not.
        unavailable: lost with a worker, or nobody could run them.
        retries: attempts beyond the first.
        late: ends that came after the end, and were dropped.
        refused: calls refused before they were accepted, for their arguments or a full queue.
        queued: of those in flight, the ones that wait for a worker.
        latency: how long calls took, from acceptance to end.
        latency_sum: the sum of it, in seconds.
    """

    calls: int
    results: int
    failures: int
    deadlines: int
    cancellations: int
    unavailable: int
    retries: int
    late: int
    refused: int
    in_flight: int
    queued: int
    latency: tuple[LatencyBucket, ...]
    latency_sum: float


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """A tool, who runs it, and how it fares."""

    tool: Tool
    workers: tuple[ToolWorker, ...]
    stats: ToolStats


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to run a call. Times in seconds.

    Attributes:
        worker_id: who ran it; "" for the server's host.
        dispatched_after: how long after the call's acceptance.
        took: from there to its end, or until now.
        state: where it stands, or how it ended.
    """

    worker_id: str
    dispatched_after: float
    took: float
    state: CallState


@dataclass(frozen=True, slots=True)
class CallStatus:
    """A call, as far as it has come.

    Attributes:
        state: "queued" (for a worker that has room, or for its next attempt), "running"; or how it ended: "result",
            "failure" (the tool said so), "deadline", "cancelled" (or its caller was lost), "unavailable" (its worker
            was lost, or nobody could run it).
        attempts: in order.
        accepted_at: by the server's clock, in UTC.
        took: from there to its end, or until now, in seconds.
    """

    call_id: str
    tool: str
    state: CallState
    attempts: tuple[Attempt, ...]
    accepted_at: datetime
    took: float
