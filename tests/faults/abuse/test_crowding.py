"""More connections than a server may have: those it has are served, and once there is room, new ones are too."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable

import pytest

from snakepit_bridge import LocalServer, SessionContext
from tests.faults.abuse.process import Process
from tests.faults.abuse.wire import Wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")


def test_a_server_without_file_descriptors_serves_those_it_has_and_recovers(
    start_server: Callable[..., LocalServer],
) -> None:
    server = start_server()
    process = Process(server.pid)
    with SessionContext.connect(server.address, session_id="s") as ctx:
        ctx.register_variable("n", "integer", 0)
        room = process.descriptors + 20
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (room, room))
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(Wire(server.address))
            for _ in range(5_000):
                if "cannot accept connections" in process.said:
                    break
                assert ctx.increment("n") > 0
            assert "cannot accept connections" in process.said
            # All the time that it cannot accept anybody, this one is served.
            for _ in range(200):
                assert ctx.increment("n") > 0
        assert process.alive
        with SessionContext.connect(server.address, session_id="s", create=False) as late:
            assert late.get_variable("n") == ctx.get_variable("n")
