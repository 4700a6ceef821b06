"""Serving tools from every kind of code: its beginnings and ends."""

from __future__ import annotations

import asyncio
import copy
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext, current_call
from snakepit_bridge.exceptions import InvalidRequestError, SessionClosedError, ToolFailedError, ToolUnavailableError
from tests.support.python_process import ends, python, wait_until_blocked
from tests.support.threads import threads_left
from tests.support.waiting import PATIENCE, wait_until
from tests.support.wire_proxy import WireProxy
from tests.tools.support.until import until_listed

ROOT = Path(__file__).parents[3]


def echo(value: Any = None) -> Any:
    return value


def test_both_kinds_of_context_do_the_same_with_tools() -> None:
    names = {
        "call_status", "call_tool", "cancel_call", "drain", "list_tools", "offer", "options", "serve", "stream_tool",
        "tool", "tool_status", "withdraw",
    }  # fmt: skip
    for context in (SessionContext, BlockingContext):
        assert {name for name in names if callable(getattr(context, name))} == names


async def test_recorded_functions_stay_what_they_were_and_are_served(ctx: SessionContext) -> None:
    @ctx.tool
    def twice(n: int) -> int:
        """Doubles."""
        return n * 2

    @ctx.tool(name="half", idempotent=True)
    async def halved(n: int) -> float:
        return n / 2

    @ctx.blocking.tool()
    def both(n: int) -> int:
        return n

    assert twice(2) == 4
    assert await halved(2) == 1.0
    assert await ctx.list_tools() == []
    serving = asyncio.create_task(ctx.serve())
    await until_listed(ctx, "both", "half", "twice")
    assert [tool.name for tool in await ctx.list_tools()] == ["both", "half", "twice"]
    assert (await ctx.tool_status("half")).tool.idempotent
    assert [await ctx.call_tool(name, n=2) for name in ("twice", "half", "both")] == [4, 1.0, 2]
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await ctx.list_tools() == []
    # What was recorded can be served once more.
    serving = asyncio.create_task(ctx.serve())
    await until_listed(ctx, "both", "half", "twice")
    assert await ctx.call_tool("twice", n=3) == 6
    assert await ctx.drain() is True
    await serving


async def test_recorded_again_it_takes_the_place_of_the_first(ctx: SessionContext) -> None:
    for said in ("first", "second"):

        @ctx.tool(name="say")
        def say(said: str = said) -> str:
            return said

    serving = asyncio.create_task(ctx.serve())
    await until_listed(ctx, "say")
    assert await ctx.call_tool("say") == "second"
    await ctx.drain()
    await serving


async def test_there_has_to_be_something_to_serve(ctx: SessionContext) -> None:
    with pytest.raises(InvalidRequestError):
        await ctx.serve()
    await ctx.offer(echo)
    serving = asyncio.create_task(ctx.serve())
    assert await ctx.call_tool("echo", value=1) == 1
    assert not serving.done()
    await ctx.drain()
    await serving


async def test_cancelled_while_it_serves_it_lets_calls_end_first(ctx: SessionContext) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    @ctx.tool
    async def hold() -> str:
        began.set()
        await release.wait()
        return "held"

    serving = asyncio.create_task(ctx.serve())
    await until_listed(ctx, "hold")
    calling = asyncio.create_task(ctx.call_tool("hold"))
    await began.wait()
    serving.cancel()
    await until_listed(ctx)
    async with asyncio.timeout(PATIENCE):
        assert not serving.done()
        release.set()
        assert await calling == "held"
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_cancelled_twice_it_cuts_them_off(ctx: SessionContext) -> None:
    began = asyncio.Event()

    @ctx.tool
    async def hold() -> None:
        began.set()
        await asyncio.sleep(60)

    serving = asyncio.create_task(ctx.serve())
    await until_listed(ctx, "hold")
    calling = asyncio.create_task(ctx.options(timeout=60).call_tool("hold"))
    await began.wait()
    async with asyncio.timeout(PATIENCE):
        serving.cancel()
        await until_listed(ctx)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(ToolUnavailableError):
            await calling


async def test_everything_works_blocking_inside_a_running_loop(blocking: BlockingContext) -> None:
    async def where() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    def count(n: int) -> Iterator[int]:
        yield from range(n)

    # Notebooks: this very thread runs a loop, and is blocked by each of these.
    assert blocking.offer(where).name == "where"
    blocking.offer(count)
    blocking.offer(echo)
    assert blocking.call_tool("where") == "snakepit-tool-loop"
    assert blocking.call_tool("echo", value="x") == "x"
    assert list(blocking.stream_tool("count", n=3)) == [0, 1, 2]
    assert blocking.options(timeout=PATIENCE).call_tool("count", n=2) == [0, 1]
    assert [tool.name for tool in blocking.list_tools()] == ["count", "echo", "where"]
    assert blocking.tool_status("echo").stats.calls == 1
    blocking.withdraw("echo")
    assert blocking.drain() is True
    assert blocking.list_tools() == []


async def test_an_async_tool_runs_in_the_loop_in_which_it_was_offered(ctx: SessionContext) -> None:
    loop = asyncio.get_running_loop()

    async def mine() -> bool:
        return asyncio.get_running_loop() is loop

    def thread() -> str:
        return threading.current_thread().name

    await ctx.offer(mine)
    await ctx.offer(thread)
    assert await ctx.call_tool("mine") is True
    assert await ctx.call_tool("thread") == "snakepit-tool"


async def test_closing_does_not_wait_for_tools_that_run_and_ends_their_calls(address: str, session_id: str) -> None:
    began, release = threading.Semaphore(0), threading.Event()

    def stuck() -> None:
        began.release()
        release.wait(PATIENCE)

    async def astuck() -> None:
        began.release()
        await asyncio.sleep(60)

    worker = SessionContext.connect(address, session_id=session_id)
    caller = SessionContext.connect(address, session_id=session_id)
    await worker.offer(stuck)
    await worker.offer(astuck)
    await asyncio.to_thread(worker.blocking.offer, astuck, name="elsewhere")
    serving = asyncio.create_task(worker.serve())
    names = ("stuck", "astuck", "elsewhere")
    calls = [asyncio.create_task(caller.options(timeout=60).call_tool(name)) for name in names]
    for _ in calls:
        assert await asyncio.to_thread(began.acquire, timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        await worker.aclose()
        worker.blocking.close()
        await serving
        for call in calls:
            with pytest.raises(ToolUnavailableError):
                await call
    for attempt in (worker.offer(echo), worker.call_tool("stuck"), worker.serve(), worker.withdraw("stuck")):
        with pytest.raises(SessionClosedError):
            await attempt
    assert await worker.drain() is True
    release.set()
    await caller.aclose()
    assert threads_left() == set()


async def test_a_worker_of_a_dead_server_can_be_closed(
    start_server: Callable[..., LocalServer], session_id: str
) -> None:
    server = start_server()
    with WireProxy(server.address) as proxy:
        for lose in (proxy.freeze, server.close):
            proxy.thaw()
            ctx = SessionContext.connect(proxy.address, session_id=session_id)
            await ctx.offer(echo)
            lose()
            async with asyncio.timeout(PATIENCE):
                await ctx.aclose()
    assert threads_left() == set()


async def test_nothing_is_left_after_many_workers(address: str, session_id: str) -> None:
    async def acount() -> Any:
        for index in range(3):
            yield index

    for _ in range(20):
        async with SessionContext.connect(address, session_id=session_id) as ctx:
            await ctx.offer(echo)
            await asyncio.to_thread(ctx.blocking.offer, acount)
            assert await ctx.call_tool("echo", value=1) == 1
            assert [n async for n in ctx.stream_tool("acount")] == [0, 1, 2]
    assert threads_left() == set()


async def test_contexts_refuse_pickle_and_copies_share_them(ctx: SessionContext, blocking: BlockingContext) -> None:
    await ctx.offer(echo)
    for context in (ctx, blocking):
        with pytest.raises(TypeError):
            pickle.dumps(context)
        assert copy.deepcopy(context) is context


async def test_calls_from_many_threads_and_loops_at_once(ctx: SessionContext) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    async def aadd(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    await ctx.offer(add)
    await ctx.offer(aadd)

    async def here(n: int) -> None:
        for index in range(30):
            assert await ctx.call_tool("aadd", a=index, b=n) == index + n

    def there(n: int) -> None:
        for index in range(30):
            assert ctx.blocking.call_tool("add", a=index, b=n) == index + n

    def in_another_loop(n: int) -> None:
        asyncio.run(here(n))

    await asyncio.gather(
        *(here(n) for n in range(4)),
        *(asyncio.to_thread(there, n) for n in range(4)),
        *(asyncio.to_thread(in_another_loop, n) for n in range(2)),
    )


def test_a_forked_child_is_refused_and_the_worker_goes_on(address: str, session_id: str) -> None:
    code = """
import os, sys
from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import ForkedProcessError
ctx = SessionContext.connect(sys.argv[1], session_id=sys.argv[2]).blocking
def echo(value: int) -> int:
    return value
async def aecho(value: int) -> int:
    return value
ctx.offer(echo)
ctx.offer(aecho)
child = os.fork()
if not child:
    refused = 0
    uses = (
        lambda: ctx.call_tool("echo", value=1), lambda: ctx.offer(echo, name="other"), ctx.list_tools,
        lambda: next(ctx.stream_tool("echo", value=1)), ctx.serve, ctx.drain, lambda: ctx.withdraw("echo"),
    )
    for use in uses:
        try:
            use()
        except ForkedProcessError:
            refused += 1
    ctx.close()
    sys.exit(10 + refused)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), ctx.call_tool("echo", value=2), ctx.call_tool("aecho", value=3))
"""
    status, out, _ = ends(python(code, address, session_id))
    assert (status, out.split()) == (0, ["17", "2", "3"])


def test_a_program_that_forgets_to_close_ends_cleanly(address: str, session_id: str) -> None:
    code = """
import sys, time
from snakepit_bridge import SessionContext
ctx = SessionContext.connect(sys.argv[1], session_id=sys.argv[2]).blocking
def forever() -> None:
    while True:
        time.sleep(1)
async def aforever() -> None:
    import asyncio
    await asyncio.sleep(3600)
def endless():
    while True:
        yield 1
for tool in (forever, aforever, endless):
    ctx.offer(tool)
for name in ("forever", "aforever"):
    try:
        ctx.options(timeout=0.2).call_tool(name)
    except TimeoutError:
        print(name)
stream = ctx.stream_tool("endless")
print(next(stream))
"""
    assert ends(python(code, address, session_id)) == (0, "forever\naforever\n1\n", "")


@pytest.mark.parametrize("wait", ["ctx.call_tool('hold')", "next(ctx.stream_tool('hold'))"])
def test_ctrl_c_ends_a_call_and_cancels_it(blocking: BlockingContext, session_id: str, wait: str) -> None:
    began, cancelled = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        call = current_call()
        assert call is not None
        while not call.cancelled:
            cancelled.wait(0.005)
        cancelled.set()

    blocking.offer(hold, timeout=60)
    code = f"""
import sys
from snakepit_bridge import SessionContext
ctx = SessionContext.connect(sys.argv[1], session_id=sys.argv[2]).blocking
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, blocking.address, session_id]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert began.wait(PATIENCE)
    # gRPC's own first steps, in the middle of which it may be, cannot be interrupted well.
    wait_until_blocked(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted\n"
    # The process lives on, and nobody closed its context.
    assert cancelled.wait(PATIENCE)
    process.communicate()


def test_blocking_code_serves_until_its_context_is_closed(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id).blocking
    ctx.tool(echo)
    serving = threading.Thread(target=ctx.serve)
    serving.start()
    wait_until(ctx.list_tools)
    assert ctx.call_tool("echo", value=1) == 1
    ctx.close()
    serving.join(PATIENCE)
    assert not serving.is_alive()


async def test_a_tool_may_close_its_own_context(address: str, session_id: str) -> None:
    worker = SessionContext.connect(address, session_id=session_id)

    def leave() -> None:
        worker.blocking.close()

    async def aleave() -> None:
        await worker.aclose()

    async with SessionContext.connect(address, session_id=session_id) as caller:
        for tool in (leave, aleave):
            worker = SessionContext.connect(address, session_id=session_id)
            await worker.offer(tool)
            async with asyncio.timeout(PATIENCE):
                with pytest.raises((ToolUnavailableError, ToolFailedError)):
                    await caller.call_tool(tool.__name__)
    assert threads_left() == set()


def test_a_local_server_serves_tools_too() -> None:
    with SessionContext.local(tool_concurrency=1) as ctx:
        ctx.offer(echo)
        assert ctx.call_tool("echo", value=[1]) == [1]
        (worker,) = ctx.tool_status("echo").workers
        assert worker.max_concurrency == 1
    for wrong in (0, 10_001):
        with pytest.raises(InvalidRequestError) as refused:
            SessionContext.connect(tool_concurrency=wrong)
        assert refused.value.field == "tool_concurrency"
