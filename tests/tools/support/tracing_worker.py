"""A process whose tools make spans, and say which.

`python -m tests.tools.support.tracing_worker ADDRESS SESSION [program|without]` says `serving` once it does, and goes
on until its stdin closes. With `program` it serves a DSPy program, too; `without` anything of OpenTelemetry it has
other tools.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from snakepit_bridge import BlockingContext, SessionContext

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


def offer_spans(ctx: BlockingContext, *, program: bool) -> None:
    """Offers tools each of which makes a span of its own name; a program as well if that is wanted."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("worker")

    def plain() -> int:
        with tracer.start_as_current_span("plain"):
            return os.getpid()

    async def coroutine() -> int:
        with tracer.start_as_current_span("coroutine"):
            return os.getpid()

    def generator() -> Iterator[int]:
        with tracer.start_as_current_span("generator"):
            yield os.getpid()

    async def async_generator() -> AsyncIterator[int]:
        with tracer.start_as_current_span("async_generator"):
            yield os.getpid()

    def outer() -> Any:
        with tracer.start_as_current_span("outer"):
            return ctx.call_tool("plain")

    def spans() -> list[dict[str, Any]]:
        """The spans of this process that have ended."""
        return [
            {
                "name": span.name,
                "trace": f"{span.context.trace_id:032x}",
                "span": f"{span.context.span_id:016x}",
                "parent": f"{span.parent.span_id:016x}" if span.parent else "",
                "state": span.context.trace_state.to_header(),
            }
            for span in exporter.get_finished_spans()
        ]

    # Whatever the worker does while it offers is no part of its calls.
    with tracer.start_as_current_span("offering"):
        for function in (plain, coroutine, generator, async_generator, outer, spans):
            ctx.offer(function)
        if program:
            serve(ctx, tracer)


def serve(ctx: BlockingContext, tracer: Tracer) -> None:
    """Serves a program that makes a span."""
    import dspy

    from snakepit_bridge.dspy_integration import serve_program

    class Program(dspy.Module):
        def forward(self, question: str) -> Any:
            with tracer.start_as_current_span("program"):
                return dspy.Prediction(answer=question)

    serve_program(ctx, "program", Program(), signature="question -> answer")


def offer_relays(ctx: BlockingContext) -> None:
    """Offers tools that call another, in a process that cannot import OpenTelemetry."""
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]

    def relay(tool: str) -> Any:
        return ctx.call_tool(tool)

    def relay_stream(tool: str) -> Any:
        return list(ctx.stream_tool(tool))

    ctx.offer(relay)
    ctx.offer(relay_stream)


def main() -> None:
    address, session_id, *what = sys.argv[1:]
    ctx = SessionContext.connect(address, session_id=session_id, create=False).blocking
    if what == ["without"]:
        offer_relays(ctx)
    else:
        offer_spans(ctx, program=what == ["program"])
    print("serving", flush=True)

    def until_told() -> None:
        sys.stdin.read()
        ctx.close()

    threading.Thread(target=until_told, daemon=True).start()
    ctx.serve()


if __name__ == "__main__":
    main()
