"""What a context does with tools, for async code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from snakepit_bridge._client.transport import ASYNCIO
from snakepit_bridge._context.base import AnyContext, Declaration
from snakepit_bridge._tools import calls
from snakepit_bridge._tools.calls import CallOptions
from snakepit_bridge._tools.definition import declare
from snakepit_bridge._tools.models import CallStatus, Tool, ToolStatus
from snakepit_bridge._tools.serving import DRAIN_SECONDS
from snakepit_bridge._tools.stream import ToolStream

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session

__all__ = ["ToolCalls", "ToolMethods"]


class ToolCalls:
    """Calls tools, with what `options` says."""

    _session: Session
    _options = CallOptions()

    async def call_tool(self, name: str, /, **arguments: Any) -> Any:
        """Calls a tool and gives what it returned. It is sent once, and never again.

        Unless `options` says otherwise, the call may take as long as the tool's own timeout says, or else as long as
        this context's `timeout`. Cancelling the task cancels the call.

        Args:
            name: the tool.
            arguments: plain data, arrays; also pydantic models, dataclasses, enums, sets, dates and times, which
                travel as plain data.

        Raises:
            ToolFailedError: the tool itself failed; also an instance of the built-in exception that was raised there.
            ToolNotFoundError: there is none; with the closest names.
            InvalidRequestError: the arguments do not fit the tool's schema, or the id was used before.
            ToolUnavailableError: nobody can run it now, or its worker was lost while it did.
            CallTimeoutError: it took longer than it may.
            CallCancelledError: somebody else cancelled it.
            LimitExceededError: the arguments are too large, or too many calls wait.
            TypeMismatchError: an argument is no data.
        """
        return await calls.call(self._session, ASYNCIO, name, arguments, self._options)

    def stream_tool(self, name: str, /, **arguments: Any) -> ToolStream:
        """Calls a tool and gives each chunk that it yields, then its result, unless that is None.

        A reader that is slow holds the tool back. Raises, while it is read, like `call_tool`.
        """
        return ToolStream(self._session, name, arguments, self._options)


class _WithOptions(ToolCalls):
    def __init__(self, session: Session, options: CallOptions) -> None:
        self._session = session
        self._options = options


class ToolMethods(AnyContext, ToolCalls):
    """The part of a `SessionContext` that is about tools."""

    def options(self, *, timeout: float | None = None, call_id: str | None = None) -> ToolCalls:
        """For calls with more to say: `ctx.options(timeout=5).call_tool(...)`.

        Args:
            timeout: how many seconds the call may take; the tool's own timeout still holds.
            call_id: names the call, for `cancel_call` and `call_status`: 1 to 64 letters, digits, `_` or `-`, never
                used before in this session. Else it is named by chance.
        """
        return _WithOptions(self._session, CallOptions(timeout, call_id))

    async def offer(self, function: Callable[..., Any], /, **declaration: Unpack[Declaration]) -> Tool:
        """Offers a function as a tool, served in the background from when this returns; takes what `tool` takes.

        It is offered again whenever the connection was lost, until it is withdrawn, or the context drained or closed.
        Each call runs in a copy of the `contextvars` context in which it was offered.

        Raises:
            ToolExistsError: somebody else offers another tool of that name.
            InvalidRequestError: the name or the schema is not possible, or this context offers that name already.
        """
        return await self._session.serving.offer(ASYNCIO, declare(function, **declaration))

    async def serve(self, *, drain: float = DRAIN_SECONDS) -> None:
        """Offers what `tool` recorded, and serves until the task is cancelled or the context closed.

        When it is cancelled it first lets the calls that run end, for up to `drain` seconds.

        Raises:
            SessionNotFoundError, SessionExpiredError: the session ended.
            ToolExistsError, InvalidRequestError: like `offer`.
        """
        await self._session.serving.serve(ASYNCIO, drain)

    async def withdraw(self, name: str) -> None:
        """Offers a tool no longer; calls of it that run go on.

        Raises:
            InvalidRequestError: this context does not offer it.
        """
        await self._session.serving.withdraw(ASYNCIO, name)

    async def drain(self, timeout: float | None = DRAIN_SECONDS) -> bool:  # noqa: ASYNC109
        """Takes no more calls, waits for those that run, and offers nothing any more; tells whether all ended in time.

        Those that did not are cut off, which their callers are told. Afterwards tools can be offered anew.
        """
        return await self._session.serving.drain(ASYNCIO, timeout)

    async def list_tools(self, pattern: str = "") -> list[Tool]:
        """The tools that can be called and whose name matches a glob (`*`, `?`), by name; all without one."""
        return await calls.list_tools(self._session, ASYNCIO, pattern)

    async def tool_status(self, name: str) -> ToolStatus:
        """One tool: its workers, the state of their breakers, its figures.

        Raises:
            ToolNotFoundError: there is none; with the closest names.
        """
        return await calls.status(self._session, ASYNCIO, name)

    async def cancel_call(self, call_id: str) -> bool:
        """Cancels a call, whoever made it; False if it had ended.

        Raises:
            InvalidRequestError: there is no such call.
        """
        return await calls.cancel(self._session, ASYNCIO, call_id)

    async def call_status(self, call_id: str) -> CallStatus:
        """How a call stands, or ended; the server remembers the last 100,000 that ended.

        Raises:
            InvalidRequestError: there is no such call, or it is no longer remembered.
        """
        return await calls.call_status(self._session, ASYNCIO, call_id)
