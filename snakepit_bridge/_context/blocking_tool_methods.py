"""What a context does with tools, for blocking code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from snakepit_bridge._client.transport import BLOCKING, finish
from snakepit_bridge._context.base import AnyContext, Declaration
from snakepit_bridge._tools import calls
from snakepit_bridge._tools.calls import CallOptions
from snakepit_bridge._tools.definition import declare
from snakepit_bridge._tools.models import CallStatus, Tool, ToolStatus
from snakepit_bridge._tools.serving import DRAIN_SECONDS
from snakepit_bridge._tools.stream import BlockingToolStream

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session

__all__ = ["BlockingToolCalls", "BlockingToolMethods"]


class BlockingToolCalls:
    """Calls tools, with what `options` says."""

    _session: Session
    _options = CallOptions()

    def call_tool(self, name: str, /, **arguments: Any) -> Any:
        """Calls a tool and gives what it returned. It is sent once, and never again."""
        return finish(calls.call(self._session, BLOCKING, name, arguments, self._options))

    def stream_tool(self, name: str, /, **arguments: Any) -> BlockingToolStream:
        """Calls a tool and gives each chunk that it yields, then its result, unless that is None."""
        return BlockingToolStream(self._session, name, arguments, self._options)


class _WithOptions(BlockingToolCalls):
    def __init__(self, session: Session, options: CallOptions) -> None:
        self._session = session
        self._options = options


class BlockingToolMethods(AnyContext, BlockingToolCalls):
    """The part of a `BlockingContext` that is about tools; each method is described at `ToolMethods`."""

    def options(self, *, timeout: float | None = None, call_id: str | None = None) -> BlockingToolCalls:
        """For calls with more to say: `ctx.options(timeout=5).call_tool(...)`."""
        return _WithOptions(self._session, CallOptions(timeout, call_id))

    def offer(self, function: Callable[..., Any], /, **declaration: Unpack[Declaration]) -> Tool:
        """Offers a function as a tool, served in the background from when this returns; takes what `tool` takes."""
        return finish(self._session.serving.offer(BLOCKING, declare(function, **declaration)))

    def serve(self, *, drain: float = DRAIN_SECONDS) -> None:
        """Offers what `tool` recorded, and serves until the context is closed, or Ctrl-C, which is raised after all.

        On Ctrl-C it first lets the calls that run end, for up to `drain` seconds; another one ends that, too.
        """
        finish(self._session.serving.serve(BLOCKING, drain))

    def withdraw(self, name: str) -> None:
        """Offers a tool no longer; calls of it that run go on."""
        finish(self._session.serving.withdraw(BLOCKING, name))

    def drain(self, timeout: float | None = DRAIN_SECONDS) -> bool:
        """Takes no more calls, waits for those that run, and offers nothing any more; tells whether all ended."""
        return finish(self._session.serving.drain(BLOCKING, timeout))

    def list_tools(self, pattern: str = "") -> list[Tool]:
        """The tools that can be called and whose name matches a glob (`*`, `?`), by name; all without one."""
        return finish(calls.list_tools(self._session, BLOCKING, pattern))

    def tool_status(self, name: str) -> ToolStatus:
        """One tool: its workers, the state of their breakers, its figures."""
        return finish(calls.status(self._session, BLOCKING, name))

    def cancel_call(self, call_id: str) -> bool:
        """Cancels a call, whoever made it; False if it had ended."""
        return finish(calls.cancel(self._session, BLOCKING, call_id))

    def call_status(self, call_id: str) -> CallStatus:
        """How a call stands, or ended; the server remembers the last 100,000 that ended."""
        return finish(calls.call_status(self._session, BLOCKING, call_id))
