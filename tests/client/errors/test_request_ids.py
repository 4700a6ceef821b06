"""Every error of a request says by which id the server's log knows it."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.rpc.error_details_pb2 import RequestInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded

from snakepit_bridge import BlockingContext, LocalServer, SessionContext, exceptions
from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.server import start
from snakepit_bridge.session_context import session_of
from tests.support.sessions import end_session
from tests.support.waiting import PATIENCE
from tests.tools.support.until import given_up

# It makes connections of its own, in the open.
pytestmark = pytest.mark.transport("open")


def named(error: BridgeError) -> str:
    """The id that an error names, once and at its end."""
    request_id = error.request_id
    assert request_id is not None
    assert re.fullmatch(r"[0-9a-f]{16}", request_id)
    assert str(error) == f"{error.message} (request {request_id})"
    assert request_id not in error.message
    return request_id


class LoggedServer:
    """A server whose log can be read."""

    def __init__(self, binary: Path, log: Path, *flags: str) -> None:
        self._log = log
        script = f'exec "$0" "$@" 2>{log}'
        serve = ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--log-format", "json"]
        self.server = start(Path("/bin/sh"), ["-c", script, str(binary), *serve, *flags])
        self.address = self.server.address

    def lines(self) -> list[dict[str, Any]]:
        """All lines; the server has to stop for that."""
        self.server.close()
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture
def logged(server_binary: Path, tmp_path: Path) -> Iterator[LoggedServer]:
    """A server that logs each request."""
    logged = LoggedServer(server_binary, tmp_path / "log", "--log", "snakepit_server::access=debug")
    yield logged
    logged.server.close()


async def test_an_error_names_its_request_once_and_another_each_time(ctx: SessionContext) -> None:
    seen = set()
    for attempt in (ctx.get_variable("x"), ctx.set_variable("x", 1), ctx.call_tool("x"), ctx.call_status("x")):
        with pytest.raises(BridgeError) as refused:
            await attempt
        seen.add(named(refused.value))
        assert named(pickle.loads(pickle.dumps(refused.value))) == refused.value.request_id
    assert len(seen) == 4


async def test_the_failure_of_a_tool_names_the_request_and_not_those_that_the_tool_made(
    ctx: SessionContext, blocking: BlockingContext
) -> None:
    def broken() -> None:
        blocking.get_variable("missing")

    await ctx.offer(broken)
    with pytest.raises(exceptions.ToolFailedError) as failed:
        await ctx.call_tool("broken")
    named(failed.value)
    assert "(request" not in failed.value.remote_message
    assert named(pickle.loads(pickle.dumps(failed.value))) == failed.value.request_id
    with pytest.raises(exceptions.ToolFailedError) as failed:
        list(blocking.stream_tool("broken"))
    named(failed.value)


async def test_streams_end_with_the_id_that_the_log_has(logged: LoggedServer) -> None:
    async with SessionContext.connect(logged.address, session_id="s") as ctx:
        await ctx.register_variable("x", "integer", 1)
        watch = ctx.watch_variables("x")
        await anext(watch)
        end_session(ctx)
        with pytest.raises(exceptions.SessionError) as ended:
            await anext(watch)
        with pytest.raises(exceptions.SessionError) as refused:
            await anext(ctx.stream_tool("none"))
    found = {line.get("request_id"): line for line in logged.lines()}
    assert found[named(ended.value)]["method"] == "VariableService/WatchVariables"
    assert found[named(refused.value)]["method"] == "ToolService/StreamTool"


async def test_a_call_that_was_given_up_is_found_in_the_log(logged: LoggedServer) -> None:
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    async with SessionContext.connect(logged.address, session_id="s") as ctx:
        await ctx.offer(wait)
        late = await given_up(lambda timeout: ctx.options(timeout=timeout).call_tool("wait"), began.is_set)
    lines = [line for line in logged.lines() if line.get("request_id") == named(late)]
    assert [(line["method"], line["level"]) for line in lines] == [("ToolService/CallTool", "DEBUG")]
    assert lines[0]["code"] in {"DeadlineExceeded", "Cancelled"}


def test_attempts_of_one_request_have_one_id(
    server_binary: Path, tmp_path: Path, start_server: Callable[..., LocalServer]
) -> None:
    server = start_server()
    ctx = SessionContext.connect(server.address, session_id="s", timeout=2).blocking
    ctx.register_variable("x", "integer", 1)
    server.close()
    sent: list[str] = []
    session = session_of(ctx)
    write = session.connection.variable.WriteVariables

    def recording(request: Any, **options: Any) -> Any:
        sent.append(dict(options["metadata"])["x-request-id"])
        return write(request, **options)

    session.connection.variable.WriteVariables = recording  # type: ignore[assignment]
    with pytest.raises(exceptions.ServerUnavailableError) as away:
        ctx.set_variable("x", 2)
    assert len(sent) > 1
    assert set(sent) == {named(away.value)}
    ctx.close()


def test_offers_that_are_refused_name_the_request(blocking: BlockingContext, ctx: SessionContext) -> None:
    blocking.offer(lambda: 1, name="same")
    with pytest.raises(exceptions.ToolExistsError) as refused:
        ctx.blocking.offer(lambda: 1, name="same", description="another")
    named(refused.value)


def test_what_never_was_a_request_has_no_id(blocking: BlockingContext) -> None:
    for attempt in (
        lambda: blocking.options(timeout=-1),
        lambda: blocking.register_variable("x", "no type", 1),
        lambda: SessionContext.connect(session_id="s", freshness="never"),  # type: ignore[arg-type]
    ):
        with pytest.raises(BridgeError) as refused:
            attempt()
        assert refused.value.request_id is None
        assert str(refused.value) == refused.value.message


def test_a_deadline_that_the_server_alone_keeps_has_the_id(address: str) -> None:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    path = "/snakepit_bridge.v1.ToolService/ServeTools"
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "s"), ("te", "trailers")]
    headers += [("content-type", "application/grpc"), ("grpc-timeout", "50m"), ("x-request-id", "mine")]
    # A worker that never says hello, and waits for longer than it says.
    connection.send_headers(1, headers)
    host, port = address.split(":")
    answer: dict[bytes, bytes] = {}
    with closing(socket.create_connection((host, int(port)), timeout=PATIENCE)) as wire:
        ended = False
        while not ended:
            wire.sendall(connection.data_to_send())
            for event in connection.receive_data(wire.recv(65_536)):
                if isinstance(event, ResponseReceived):
                    answer = dict(event.headers)
                ended = ended or isinstance(event, StreamEnded)
    assert (answer[b"grpc-status"], answer[b"x-request-id"]) == (b"4", b"mine")
    info = RequestInfo()
    details = Status.FromString(_decoded(answer[b"grpc-status-details-bin"])).details
    assert [detail.Unpack(info) for detail in details] == [True]
    assert info.request_id == "mine"


def _decoded(text: bytes) -> bytes:
    import base64

    return base64.b64decode(text + b"=" * (-len(text) % 4))
