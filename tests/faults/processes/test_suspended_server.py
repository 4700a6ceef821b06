"""A server that stands still for longer than every silence that is tolerated, as with docker pause or a VM's snapshot.

Whoever worked with it goes on by itself when it does: workers in this process, watches, reads and writes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from snakepit_bridge import LocalServer, SessionContext
from tests.support.waiting import PATIENCE
from tests.tools.support.until import until_called

WORKERS = 8


async def test_everyone_goes_on_with_a_server_that_was_suspended(
    start_server: Callable[..., LocalServer],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    seconds = request.config.getoption("--suspended-seconds")
    server = start_server()
    async with AsyncExitStack() as stack:

        async def context() -> SessionContext:
            return await stack.enter_async_context(SessionContext.connect(server.address, session_id="s", timeout=60))

        caller = await context()
        await caller.register_variable("n", "integer", 0)
        watch = caller.watch_variables()
        assert (await anext(watch)).value == 0
        for number in range(WORKERS):
            worker = await context()
            await worker.offer(lambda number=number: number, name=f"tool{number}")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        for number in range(WORKERS):
            assert await until_called(caller, f"tool{number}") == number
        await caller.set_variable("n", 1)
        async with asyncio.timeout(PATIENCE):
            assert (await anext(watch)).value == 1
        await watch.aclose()
    record_property("a suspended server", f"suspended for {seconds} s: {WORKERS} workers and a watch went on")
