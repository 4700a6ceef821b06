"""Refusals of streams reach Python with their reason: in the open, with tokens, and with TLS as well.

A refused stream is one HEADERS frame that ends the stream. grpcio reports headers that carry a status and leave the
stream open as "Stream removed", so the test at the bottom looks at the frames.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from snakepit_bridge import LocalServer, SessionContext
from snakepit_bridge.exceptions import (
    BridgeError,
    CompactedError,
    InvalidRequestError,
    PermissionDeniedError,
    SessionNotFoundError,
    ToolNotFoundError,
)
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import tool_pb2, variable_pb2
from tests.support.sessions import end_session
from tests.support.transports import OPEN, SECURE, TOKENS, Transport, new_token
from tests.support.waiting import PATIENCE

# It has all transports itself.
pytestmark = pytest.mark.transport("open")

LIMITED = "limited-session"


class Served:
    """A server, with a token for one session besides the one for everything."""

    def __init__(self, name: str, binary: Path, directory: Path) -> None:
        self.transport = Transport.make(name, binary, directory)
        file = directory / "tokens.toml"
        roles = "read,write,call_tool,offer_tool"
        self.limited = new_token(binary, file, "limited", roles, LIMITED) if name != OPEN else ""
        self.reader = new_token(binary, file, "reader", "read", LIMITED) if name != OPEN else ""
        self.server: LocalServer = self.transport.serve(binary)
        self.address = self.server.address


@pytest.fixture(
    params=[
        OPEN,
        TOKENS,
        pytest.param(
            SECURE, marks=pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes certificates")
        ),
    ]
)
def served(
    request: pytest.FixtureRequest, server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """A server for each transport; clients find its token and its certificate."""
    running = Served(request.param, server_binary, tmp_path)
    for name in ("SNAKEPIT_TOKEN", "SNAKEPIT_TLS_CA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in running.transport.environment.items():
        monkeypatch.setenv(name, value)
    with running.server:
        yield running


def echo(value: str = "") -> str:
    return value


async def first(stream: AsyncIterator[Any]) -> Any:
    """The first item."""
    async with asyncio.timeout(PATIENCE):
        return await anext(stream)


async def test_a_refused_watch_says_why(served: Served, session_id: str) -> None:
    async with SessionContext.connect(served.address, session_id=session_id) as ctx:
        with pytest.raises(InvalidRequestError) as invalid:
            await first(ctx.watch_variables(names=["no name"]))
        assert invalid.value.field == "names"
        await ctx.register_variable("x", "float", 1.0)
        end_session(ctx)
        with pytest.raises(SessionNotFoundError) as missing:
            await first(ctx.watch_variables())
        assert missing.value.facts["session"] == session_id
        assert missing.value.request_id


async def test_a_compacted_watch_begins_anew_or_says_what_is_kept(served: Served, session_id: str) -> None:
    async with SessionContext.connect(served.address, session_id=session_id) as ctx:
        await ctx.register_variable("big", "bytes", b"")
        await ctx.register_variable("gone", "integer", 1)
        await ctx.delete_variable("gone")
        for number in range(20):
            await ctx.set_variable("big", bytes([number]) * 2**20)
        with pytest.raises(CompactedError) as compacted:
            await first(ctx.watch_variables(after=1, on_compacted="raise"))
        assert compacted.value.oldest > 1
        watch = ctx.watch_variables(after=1)
        change = await first(watch)
        assert (change.name, change.gap, change.value) == ("big", True, bytes([19]) * 2**20)
        await watch.aclose()


async def test_a_refused_streamed_call_says_why(served: Served, session_id: str) -> None:
    async with SessionContext.connect(served.address, session_id=session_id) as ctx:
        with pytest.raises(ToolNotFoundError) as missing:
            await first(ctx.stream_tool("nothing"))
        assert missing.value.tool == "nothing"
        await ctx.offer(echo)
        with pytest.raises(InvalidRequestError) as invalid:
            await first(ctx.stream_tool("echo", value=1))
        assert "value" in str(invalid.value.facts)


async def test_a_refused_worker_says_why(served: Served, session_id: str) -> None:
    ctx = SessionContext.connect(served.address, session_id=session_id)
    session_of(ctx).serving.worker_id = "no id/at all"
    with pytest.raises(InvalidRequestError) as invalid:
        await ctx.offer(echo)
    assert invalid.value.field == "worker_id"
    await ctx.aclose()


async def test_a_stream_without_permission_says_which(served: Served) -> None:
    if not served.limited:
        async with SessionContext.connect(served.address, session_id=LIMITED) as ctx:
            assert (await ctx.offer(echo, everywhere=True)).everywhere, "without tokens everything is allowed"
        return
    async with SessionContext.connect(served.address, session_id=LIMITED, token=served.limited) as ctx:
        with pytest.raises(PermissionDeniedError):
            await ctx.offer(echo, everywhere=True)
        await ctx.offer(echo)
        assert await ctx.call_tool("echo", value="still here") == "still here"
    reader = SessionContext.connect(served.address, session_id=LIMITED, token=served.reader, create=False)
    for refused in (reader.offer(echo), first(reader.stream_tool("echo"))):
        with pytest.raises(PermissionDeniedError) as denied:
            await refused
        assert denied.value.facts["role"] in {"offer_tool", "call_tool"}
    await reader.aclose()


async def test_a_withdrawn_worker_of_a_session_that_ended_says_why(served: Served, session_id: str) -> None:
    ctx = SessionContext.connect(served.address, session_id=session_id)
    ctx.tool(echo)
    await ctx.offer(echo)
    serving = asyncio.create_task(ctx.serve())
    end_session(ctx)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(BridgeError) as ended:
            await serving
    assert isinstance(ended.value, SessionNotFoundError)
    await ctx.aclose()


WATCH = "/snakepit_bridge.v1.VariableService/WatchVariables"
STREAM = "/snakepit_bridge.v1.ToolService/StreamTool"
SERVE = "/snakepit_bridge.v1.ToolService/ServeTools"
REFUSED = {
    WATCH: variable_pb2.WatchVariablesRequest(session_id="nobody"),
    STREAM: tool_pb2.StreamToolRequest(call=tool_pb2.CallToolRequest(session_id="nobody", tool="nothing")),
    SERVE: tool_pb2.ServeToolsRequest(hello=tool_pb2.WorkerHello(session_id="nobody")),
}


@pytest.mark.parametrize("path", REFUSED)
async def test_a_refused_stream_is_one_frame_of_headers_that_ends_it(served: Served, path: str) -> None:
    if served.transport.name == SECURE:
        pytest.skip("the frames are the same below TLS")
    message = REFUSED[path].SerializeToString()
    events = await _frames(served, path, b"\0" + len(message).to_bytes(4, "big") + message)
    answer, *rest = events
    assert isinstance(answer, h2.events.ResponseReceived)
    assert isinstance(answer.stream_ended, h2.events.StreamEnded)
    assert dict(answer.headers)[b"grpc-status"] != b"0"
    # A request that is still open is no longer read, which HTTP/2 says without an error.
    resets = [event for event in rest if event is not answer.stream_ended]
    assert [(type(event), getattr(event, "error_code", None)) for event in resets] in (
        [],
        [(h2.events.StreamReset, h2.errors.ErrorCodes.NO_ERROR)],
    )


async def _frames(served: Served, path: str, body: bytes) -> list[h2.events.Event]:
    """What one call is answered, as events of HTTP/2; for a worker the request stays open, as a worker's does."""
    host, _, port = served.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    wire = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    wire.initiate_connection()
    token = served.transport.environment.get("SNAKEPIT_TOKEN")
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "snakepit")]
    headers += [("te", "trailers"), ("content-type", "application/grpc")]
    headers += [("authorization", f"Bearer {token}")] if token else []
    wire.send_headers(1, headers)
    wire.send_data(1, body, end_stream=path != SERVE)
    events: list[h2.events.Event] = []
    async with asyncio.timeout(PATIENCE):
        while not any(isinstance(event, h2.events.StreamEnded) for event in events):
            writer.write(wire.data_to_send())
            received = await reader.read(65_536)
            assert received, "the server hung up"
            events += [event for event in wire.receive_data(received) if getattr(event, "stream_id", 0) == 1]
    writer.close()
    await writer.wait_closed()
    return [event for event in events if not isinstance(event, h2.events.WindowUpdated)]
