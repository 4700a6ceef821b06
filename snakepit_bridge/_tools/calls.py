"""Calling tools, and asking about them. A call is sent once and never again, whatever happens to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from snakepit_bridge._client.metadata import new_request_id, sent_with
from snakepit_bridge._tools.errors import failure_from_wire
from snakepit_bridge._tools.jsonable import put
from snakepit_bridge._tools.models import CallStatus, Tool, ToolStatus
from snakepit_bridge._tools.wire import call_from_wire, duration, status_from_wire, tool_from_wire
from snakepit_bridge._variables.values import decode
from snakepit_bridge.exceptions import BridgeError, CallTimeoutError, InvalidRequestError, ServerUnavailableError
from snakepit_bridge.v1 import tool_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.metadata import Metadata
    from snakepit_bridge._client.session import SessionClient
    from snakepit_bridge._client.transport import Waiting

_PAGE = 1000
# The server's word about a deadline is to come before gRPC's own.
_GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What is said about a call besides its arguments: how many seconds it may take, and its id."""

    timeout: float | None = None
    call_id: str | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        if self.timeout is not None and not self.timeout > 0:
            raise InvalidRequestError(
                f"timeout={self.timeout!r}: wanted more than 0 seconds, or None", {"field": "timeout"}
            )


class Request:
    """A call about to be sent.

    Attributes:
        message: as it is sent.
        within: the gRPC deadline, in seconds; None: the server sees to it alone.
        request_id: what it is known by in the server's log.
        metadata: what it is sent with.
    """

    __slots__ = ("_session", "message", "metadata", "request_id", "within")

    def __init__(self, session: SessionClient, tool: str, arguments: Mapping[str, Any], options: CallOptions) -> None:
        message = pb.CallToolRequest(
            session_id=session.session_id,
            incarnation=session.incarnation,
            tool=tool,
            # Named here, so that also a call that was never answered can be asked about.
            call_id=options.call_id or os.urandom(8).hex(),
            author=session.author,
        )
        self.within: float | None = None
        if options.timeout is None:
            message.default_timeout.CopyFrom(duration(session.settings.timeout, "timeout"))
        else:
            message.timeout.CopyFrom(duration(options.timeout, "timeout"))
            self.within = options.timeout + _GRACE_SECONDS
        message.arguments.SetInParent()
        entries = message.arguments.entries
        for name, value in arguments.items():
            put(entries.add(key=name).value, value, name)
        self.request_id = new_request_id()
        self.metadata: Metadata = sent_with(session.connection.credentials, self.request_id)
        self.message = message
        self._session = session

    def failed(self, error: grpc.RpcError) -> BridgeError:
        """The exception for its failed rpc."""
        session, message = self._session, self.message
        about = {"tool": message.tool, "call": message.call_id}
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not session.closing.is_set():
            within = session.settings.timeout if self.within is None else self.within - _GRACE_SECONDS
            return CallTimeoutError(
                f"tool {message.tool!r} did not end within the time it has: {error.details()}",
                {"address": session.address, "timeout": f"{within:g}", **about},
                request_id=self.request_id,
            )
        failure = session.translated(error, self.within, self.request_id)
        if isinstance(failure, ServerUnavailableError):
            failure.facts.update(about)
        return failure


async def call(
    session: SessionClient, waiting: Waiting, tool: str, arguments: Mapping[str, Any], options: CallOptions
) -> Any:
    """Calls a tool and gives what it returned; raises as `SessionContext.call_tool` says."""
    await session.open(waiting)
    request = Request(session, tool, arguments, options)
    try:
        reply = await waiting.call(session.connection.tool.CallTool, request.message, request.within, request.metadata)
    except grpc.RpcError as error:
        raise request.failed(error) from None
    except ValueError:
        # How grpcio says that the channel was closed meanwhile.
        await session.open(waiting)
        raise
    if reply.WhichOneof("outcome") == "failure":
        raise failure_from_wire(reply.failure, tool, request.message.call_id, request.request_id)
    return decode(reply.result)


async def list_tools(session: SessionClient, waiting: Waiting, pattern: str) -> list[Tool]:
    """The tools that the session can call, whose name matches a glob, by name."""
    await session.open(waiting)
    tools: list[Tool] = []
    token = ""
    while True:
        request = pb.ListToolsRequest(
            session_id=session.session_id,
            incarnation=session.incarnation,
            pattern=pattern,
            page_size=_PAGE,
            page_token=token,
        )
        reply = await session.call(waiting, session.connection.tool.ListTools, request)
        tools.extend(map(tool_from_wire, reply.tools))
        token = reply.next_page_token
        if not token:
            return tools


async def status(session: SessionClient, waiting: Waiting, tool: str) -> ToolStatus:
    """One tool, who runs it, and how it fares."""
    await session.open(waiting)
    request = pb.GetToolRequest(session_id=session.session_id, incarnation=session.incarnation, tool=tool)
    return status_from_wire(await session.call(waiting, session.connection.tool.GetTool, request))


async def cancel(session: SessionClient, waiting: Waiting, call_id: str) -> bool:
    """Cancels a call; tells whether that ended it."""
    await session.open(waiting)
    request = pb.CancelCallRequest(
        session_id=session.session_id, incarnation=session.incarnation, call_id=call_id, author=session.author
    )
    return (await session.call(waiting, session.connection.tool.CancelCall, request)).cancelled


async def call_status(session: SessionClient, waiting: Waiting, call_id: str) -> CallStatus:
    """How a call stands, or ended."""
    await session.open(waiting)
    request = pb.GetCallRequest(session_id=session.session_id, incarnation=session.incarnation, call_id=call_id)
    return call_from_wire((await session.call(waiting, session.connection.tool.GetCall, request)).call)
