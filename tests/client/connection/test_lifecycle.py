"""Beginnings and ends: imports, local servers, closing, cancelling, Ctrl-C, forks; nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, SessionContext, local_server
from snakepit_bridge.exceptions import ServerStartError, ServerUnavailableError, SessionClosedError
from snakepit_bridge.session_context import session_of
from tests.support.python_process import ends, python, wait_until_blocked, wait_until_gone
from tests.support.threads import threads_left
from tests.support.waiting import PATIENCE
from tests.support.wire_proxy import WireProxy

# It is about servers that `local_server` starts, which take no tokens.
pytestmark = pytest.mark.transport("open")


def test_importing_it_brings_neither_dspy_nor_numpy() -> None:
    code = "from snakepit_bridge import *; import sys; print(*({'dspy', 'numpy'} & sys.modules.keys()), 'only')"
    assert ends(python(code))[1].split() == ["only"]


async def test_local_starts_the_shipped_server_and_ends_it() -> None:
    ctx = SessionContext.local(session_id="mine")
    assert ctx.address == ""
    await asyncio.gather(ctx.register_variable("x", "integer", 1), ctx.register_variable("y", "integer", 1))
    assert ctx.address.startswith("127.0.0.1:")
    assert len(await ctx.list_variables()) == 2
    await ctx.aclose()
    other = SessionContext.connect(ctx.address, session_id="mine")
    with pytest.raises(ServerUnavailableError):
        await other.get_variable("x")
    await other.aclose()


def test_local_works_by_plain_with() -> None:
    with SessionContext.local() as ctx:
        ctx.register_variable("x", "integer", 1)
        assert ctx["x"] == 1


def test_a_local_server_ends_with_its_with_block() -> None:
    with local_server() as server, SessionContext.connect(server.address) as ctx:
        assert ctx.list_variables() == []
    wait_until_gone(server.pid)
    server.close()


def test_a_local_server_ends_with_its_owner_even_a_killed_one() -> None:
    code = (
        "import sys, time; from snakepit_bridge import SessionContext, local_server; server = local_server(); "
        "print(server.pid, flush=True); time.sleep(60)"
    )
    owner = python(code)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    ends(owner)
    wait_until_gone(pid)


def test_a_program_that_forgets_to_close_ends_cleanly_and_takes_its_server_along() -> None:
    code = (
        "from snakepit_bridge import SessionContext\n"
        "ctx = SessionContext.local(freshness='streamed').blocking\n"
        "ctx.register_variable('x', 'integer', 1)\n"
        "ctx._session.track(['x']); ctx._session.take()\n"
        "watch = ctx.watch_variables(); next(watch)\n"
        "print(ctx._session._local.result().pid)\n"
    )
    status, out, err = ends(python(code))
    assert (status, err) == (0, "")
    wait_until_gone(int(out))


@pytest.mark.parametrize("binary", ["/nowhere/snakepit", sys.executable, __file__])
def test_a_server_that_cannot_be_started_is_told_clearly(binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_SERVER_BINARY", binary)
    with pytest.raises(ServerStartError) as refused:
        local_server()
    assert refused.value.facts["binary"] == binary
    with pytest.raises(ServerStartError):
        SessionContext.local().blocking.get_variable("x")


def test_the_server_is_found_next_to_this_python_and_on_path(
    server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakepit_bridge.server import find_binary

    monkeypatch.delenv("SNAKEPIT_SERVER_BINARY")
    (tmp_path / "snakepit").symlink_to(server_binary)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert find_binary() == tmp_path / "snakepit"
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "none"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == tmp_path / "snakepit"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(ServerStartError):
        find_binary()


async def test_closing_does_not_wait_for_a_dead_server(
    start_server: Callable[..., LocalServer], session_id: str
) -> None:
    server = start_server()
    proxy = WireProxy(server.address)
    for lose in (proxy.freeze, lambda: os.kill(server.pid, signal.SIGKILL)):
        proxy.thaw()
        ctx = SessionContext.connect(
            proxy.address, session_id=session_id, freshness="streamed", timeout=3600, sync_timeout=3600
        )
        await ctx.register_variable("x", "integer", 1)
        session_of(ctx).track(["x"])
        await session_of(ctx).take_async()
        watch = ctx.watch_variables()
        await anext(watch)
        lose()
        began = time.monotonic()
        await ctx.aclose()
        ctx.blocking.close()
        assert time.monotonic() - began < PATIENCE
    proxy.close()
    assert threads_left() == set()


def test_a_server_that_is_slow_to_greet_a_new_connection_is_waited_for(proxy: WireProxy, session_id: str) -> None:
    # A busy machine or a far server: it took 100 ms to be given up, before anything was said about why.
    proxy.freeze()
    greeting = threading.Timer(0.7, proxy.thaw)
    greeting.start()
    with SessionContext.connect(proxy.address, session_id=session_id, timeout=PATIENCE) as ctx:
        assert ctx.list_variables() == []
    greeting.join()


async def test_closing_ends_calls_in_flight(proxy: WireProxy, session_id: str) -> None:
    ctx = SessionContext.connect(proxy.address, session_id=session_id)
    await ctx.register_variable("x", "integer", 1)
    proxy.freeze()
    calls = [asyncio.create_task(ctx.get_variable("x")), asyncio.create_task(ctx.set_variable("x", 2))]
    calls.append(asyncio.create_task(asyncio.to_thread(ctx.blocking.get_variable, "x")))
    assert await asyncio.to_thread(proxy.held.wait, PATIENCE)
    await ctx.aclose()
    async with asyncio.timeout(PATIENCE):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in ended] == [SessionClosedError] * 3


async def test_cancelling_a_task_cancels_its_rpc_and_leaves_the_context_usable(
    proxy: WireProxy, session_id: str
) -> None:
    async with SessionContext.connect(proxy.address, session_id=session_id) as ctx:
        await ctx.register_variable("x", "integer", 1)
        proxy.freeze()
        threads = []
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await ctx.get_variable("x")
            threads.append(threading.active_count())
        # The channel may have started its one thread meanwhile; one for each call would be 20.
        assert max(threads) <= threads[0] + 1
        proxy.thaw()
        assert await ctx.get_variable("x") == 1


@pytest.mark.parametrize(
    "wait", ["ctx.get_variable('x')", "next(watch)", "ctx._session.take()", "asyncio.run(context.get_variable('x'))"]
)
def test_ctrl_c_ends_any_wait_at_once(proxy: WireProxy, session_id: str, wait: str) -> None:
    code = f"""
import asyncio, sys
from snakepit_bridge import SessionContext
context = SessionContext.connect(sys.argv[1], session_id=sys.argv[2], timeout=3600, sync_timeout=3600)
ctx = context.blocking
ctx.register_variable("x", "integer", 1)
watch = ctx.watch_variables()
next(watch)
print("ready", flush=True)
sys.stdin.readline()
print("waiting", flush=True)
{wait}
"""
    process = python(code, proxy.address, session_id)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    proxy.freeze()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "waiting\n"
    # gRPC's own first steps cannot be interrupted well.
    wait_until_blocked(process.pid)
    process.send_signal(signal.SIGINT)
    code_, _, err = ends(process)
    assert code_ != 0
    assert err.strip().endswith("KeyboardInterrupt")


def test_a_forked_child_is_refused_clearly_and_the_parent_goes_on(address: str, session_id: str) -> None:
    code = """
import os, sys
from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import ForkedProcessError
context = SessionContext.connect(sys.argv[1], session_id=sys.argv[2], freshness="streamed")
ctx = context.blocking
ctx.register_variable("x", "integer", 1)
ctx._session.track(["x"])
ctx._session.take()
child = os.fork()
if not child:
    refused = 0
    for use in (lambda: ctx.get_variable("x"), ctx._session.take, lambda: ctx.set_variable("x", 2)):
        try:
            use()
        except ForkedProcessError:
            refused += 1
    try:
        SessionContext.connect(sys.argv[1], session_id="other").blocking.list_variables()
    except ForkedProcessError:
        refused += 1
    context.blocking.close()
    sys.exit(10 + refused)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), ctx.get_variable("x"), ctx._session.take().variables["x"].value)
"""
    status, out, _ = ends(python(code, address, session_id))
    assert (status, out.split()) == (0, ["14", "1", "1"])


async def test_nothing_is_left_after_many_contexts(address: str, session_id: str) -> None:
    for _ in range(20):
        async with SessionContext.connect(address, session_id=session_id, freshness="streamed") as ctx:
            await ctx.register_variable("x", "integer", 1)
            session_of(ctx).track(["x"])
            assert (await session_of(ctx).take_async()).variables["x"].value == 1
            await anext(ctx.watch_variables())
    assert threads_left() == set()
