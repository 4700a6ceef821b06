"""Traces of OpenTelemetry, if the program has any: what rpcs are sent with, and what a tool is run in.

Nothing of OpenTelemetry is imported here before the program itself has, or a traced call has come.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import Any, NamedTuple

from snakepit_bridge._client.current_call import CURRENT, RunningCall

__all__ = ["carry_on", "outgoing"]

logger = logging.getLogger("snakepit_bridge.traces")

_KEYS = ("traceparent", "tracestate")


class _Api(NamedTuple):
    context: Any
    propagate: Any
    trace: Any


def outgoing() -> tuple[tuple[str, str], ...]:
    """The W3C trace context of the current span, as metadata; else, in a tool, the one that its call came with."""
    api = _api() if _in_use() else None
    if api is not None and api.trace.get_current_span().get_span_context().is_valid:
        carrier: dict[str, str] = {}
        api.propagate.inject(carrier)
        # Baggage is for those that the program chooses, not for whoever runs a server.
        return tuple((key, carrier[key]) for key in _KEYS if key in carrier)
    running = CURRENT.get()
    if running is None or not running.traceparent:
        return ()
    state = (("tracestate", running.tracestate),) if running.tracestate else ()
    return (("traceparent", running.traceparent), *state)


def carry_on(call: RunningCall) -> None:
    """From here on this context's spans are children of the caller's; of none, if it sent none.

    To be called in a context of the run's own, which nobody has to tidy up.
    """
    api = _api() if call.traceparent or _in_use() else None
    if api is None:
        return
    carrier = {key: value for key, value in zip(_KEYS, (call.traceparent, call.tracestate), strict=True) if value}
    # In an empty context: whatever span the tool was offered in has nothing to do with this call.
    api.context.attach(api.propagate.extract(carrier, api.context.Context()))


def _in_use() -> bool:
    """Whether there can be a span at all: what makes them has been imported."""
    return "opentelemetry.trace" in sys.modules


@cache
def _api() -> _Api | None:
    try:
        from opentelemetry import context, propagate, trace
    except ImportError:
        return None
    except Exception as broken:
        # It reads its settings when it is imported. A mistake there must not cost any call.
        logger.warning("going on without traces: OpenTelemetry cannot be imported: %s", broken)
        return None
    return _Api(context, propagate, trace)
