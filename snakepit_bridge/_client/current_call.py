"""The call that a tool is run for, as the tool itself sees it."""

from __future__ import annotations

import time
from contextvars import ContextVar

__all__ = ["CURRENT", "RunningCall", "current_call"]


class RunningCall:
    """One call, while a tool runs for it.

    Attributes:
        call_id: the call's id.
        attempt: which try this is, from 1.
        tool: the tool's name.
        caller: who calls, as it said itself; not verified unless there is authentication.
        session_id: the caller's session.
        wants_chunks: whether the caller reads what the tool yields; if not, it only gets the result.
        traceparent: the W3C trace context of the caller, "" if it sent none; requests made here pass it on. With
            opentelemetry-api installed it is the current context too.
        tracestate: what tracing systems add to it.
        cancelled: whether nobody waits for the result any more. An async tool is cancelled, and a generator closed at
            its next `yield`, without asking; any other function has to look, and to return.
    """

    __slots__ = (
        "_deadline",
        "attempt",
        "call_id",
        "caller",
        "cancelled",
        "session_id",
        "tool",
        "traceparent",
        "tracestate",
        "wants_chunks",
    )

    def __init__(
        self,
        *,
        call_id: str,
        attempt: int,
        tool: str,
        caller: str,
        session_id: str,
        wants_chunks: bool,
        traceparent: str,
        tracestate: str,
        time_left: float,
    ) -> None:
        self.call_id = call_id
        self.attempt = attempt
        self.tool = tool
        self.caller = caller
        self.session_id = session_id
        self.wants_chunks = wants_chunks
        self.traceparent = traceparent
        self.tracestate = tracestate
        self.cancelled = False
        self._deadline = time.monotonic() + time_left

    def time_left(self) -> float:
        """How many seconds the caller still waits; 0 when it no longer does."""
        return 0.0 if self.cancelled else max(self._deadline - time.monotonic(), 0.0)

    def __repr__(self) -> str:
        return f"<RunningCall {self.call_id} of {self.tool!r}, attempt {self.attempt}>"


CURRENT: ContextVar[RunningCall | None] = ContextVar("snakepit_current_call", default=None)


def current_call() -> RunningCall | None:
    """The call that the running tool is run for; None outside of one.

    It follows the context: tasks and `asyncio.to_thread` inherit it, a thread of one's own does not.
    """
    return CURRENT.get()
