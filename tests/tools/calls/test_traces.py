"""Spans that tools make in their processes are children of their callers'."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from snakepit_bridge import BlockingContext, SessionContext, current_call
from snakepit_bridge.dspy_integration import load
from snakepit_bridge.session_context import session_of
from tests.tools.conftest import StartWorker

ROOT = Path(__file__).parents[3]
WORKER = "tests.tools.support.tracing_worker"


@pytest.fixture
def tracer() -> Iterator[trace.Tracer]:
    """Makes the caller's spans; nothing of it is global."""
    provider = TracerProvider()
    yield provider.get_tracer("caller")
    provider.shutdown()


def spans(blocking: BlockingContext) -> dict[str, dict[str, Any]]:
    """What the worker's process has recorded, by name; the last of each."""
    return {span["name"]: span for span in blocking.call_tool("spans")}


def ids(span: trace.Span) -> tuple[str, str]:
    """A span's trace and its own id, as they are written."""
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def is_child(span: dict[str, Any], of: tuple[str, str]) -> bool:
    """Whether a recorded span is one of that trace and parent."""
    return (span["trace"], span["parent"]) == of


async def test_spans_of_every_kind_of_tool_are_children_of_the_callers(
    ctx: SessionContext, blocking: BlockingContext, start_worker: StartWorker, tracer: trace.Tracer
) -> None:
    start_worker("program", module=WORKER)
    with tracer.start_as_current_span("caller") as caller:
        # In threads of the worker's, in its loop, from a loop and from none: always another process.
        assert blocking.call_tool("plain") != os.getpid()
        await ctx.call_tool("coroutine")
        list(blocking.stream_tool("generator"))
        assert [chunk async for chunk in ctx.stream_tool("async_generator")] != [os.getpid()]
        assert load(await ctx.call_tool("program", question="why")).answer == "why"
    made = spans(blocking)
    for name in ("plain", "coroutine", "generator", "async_generator", "program"):
        assert is_child(made[name], ids(caller)), name


def test_a_tool_that_calls_a_tool_stays_in_the_trace(
    blocking: BlockingContext, start_worker: StartWorker, tracer: trace.Tracer
) -> None:
    start_worker(module=WORKER)
    with tracer.start_as_current_span("caller") as caller:
        blocking.call_tool("outer")
    made = spans(blocking)
    assert is_child(made["outer"], ids(caller))
    assert is_child(made["plain"], (made["outer"]["trace"], made["outer"]["span"]))


def test_a_call_outside_of_any_span_begins_a_trace_at_the_tool(
    blocking: BlockingContext, start_worker: StartWorker
) -> None:
    start_worker(module=WORKER)
    blocking.call_tool("plain")
    blocking.call_tool("coroutine")
    made = spans(blocking)
    # Nor is it one of the span in which the worker offered it.
    assert not made["plain"]["parent"]
    assert not made["coroutine"]["parent"]
    assert len({made[name]["trace"] for name in ("offering", "plain", "coroutine")}) == 3


@pytest.mark.parametrize("tool", ["relay", "relay_stream"])
def test_a_worker_without_opentelemetry_passes_the_trace_on(
    blocking: BlockingContext, start_worker: StartWorker, tool: str
) -> None:
    start_worker(module=WORKER)
    start_worker("without", module=WORKER)
    state = TraceState([("vendor", "t61rcWkgMzE")])
    remote = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    with trace.use_span(NonRecordingSpan(remote)):
        blocking.call_tool(tool, tool="plain" if tool == "relay" else "generator")
    made = spans(blocking)["plain" if tool == "relay" else "generator"]
    assert (made["trace"], made["parent"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert made["state"] == "vendor=t61rcWkgMzE"


async def test_whatever_a_tool_asks_the_server_belongs_to_the_trace(
    ctx: SessionContext, blocking: BlockingContext, tracer: trace.Tracer
) -> None:
    sent: list[tuple[tuple[str, str], ...]] = []
    session = session_of(blocking)
    blocking.register_variable("x", "integer", 1)

    class Recording:
        """Notes what a real rpc is sent with."""

        def __init__(self, method: Any) -> None:
            self._method = method

        def __call__(self, request: Any, **options: Any) -> Any:
            sent.append(options["metadata"])
            return self._method(request, **options)

    variable: Any = session.connection.variable
    variable.GetVariables, variable.WatchVariables = (
        Recording(variable.GetVariables),
        Recording(variable.WatchVariables),
    )

    def asks() -> str:
        call = current_call()
        assert call is not None
        blocking.get_variable("x")
        with blocking.watch_variables("x") as changes:
            next(iter(changes))
        return call.traceparent

    await ctx.offer(asks)
    with tracer.start_as_current_span("caller"):
        traceparent = await ctx.call_tool("asks")
    assert [dict(metadata)["traceparent"] for metadata in sent] == [traceparent] * 2
    blocking.get_variable("x")
    assert "traceparent" not in dict(sent[-1])


def test_who_does_not_trace_imports_nothing(address: str, session_id: str) -> None:
    program = f"""
import sys
from snakepit_bridge import SessionContext
with SessionContext.connect({address!r}, session_id={session_id!r}) as ctx:
    ctx.offer(lambda: 1, name="one")
    assert ctx.call_tool("one") == 1
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_mistake_in_the_settings_of_opentelemetry_costs_no_call(address: str, session_id: str) -> None:
    program = f"""
import logging
from snakepit_bridge import SessionContext, current_call
with SessionContext.connect({address!r}, session_id={session_id!r}) as ctx:
    import opentelemetry.trace
    ctx.offer(lambda: current_call().traceparent, name="parent")
    assert ctx.call_tool("parent") == ""
"""
    environment = os.environ | {"OTEL_PROPAGATORS": "none-such"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, env=environment)
