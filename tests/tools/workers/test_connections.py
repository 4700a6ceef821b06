"""Workers that are lost, come back, leave in order, share their work; through real processes and cut connections."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from snakepit_bridge import BlockingContext, LocalServer, Retry, SessionContext
from snakepit_bridge.exceptions import (
    InvalidRequestError,
    ServerUnavailableError,
    SessionError,
    SessionExpiredError,
    SessionNotFoundError,
    ToolExistsError,
    ToolNotFoundError,
    ToolUnavailableError,
)
from snakepit_bridge.session_context import session_of
from tests.support.sessions import end_session
from tests.support.waiting import PATIENCE
from tests.support.wire_proxy import WireProxy
from tests.tools.conftest import StartWorker
from tests.tools.support.until import until, until_called, until_listed, until_runs

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")


def echo(value: str = "") -> str:
    return value


async def test_a_worker_killed_in_the_middle_ends_its_calls_at_once(
    ctx: SessionContext, start_worker: StartWorker
) -> None:
    worker = start_worker()
    calling = asyncio.create_task(ctx.options(call_id="lost", timeout=60).call_tool("wait", seconds=60))
    streaming = asyncio.create_task(anext(ctx.options(timeout=60).stream_tool("wait", seconds=60)))
    await until_runs(ctx, "wait")
    worker.kill()
    async with asyncio.timeout(PATIENCE):
        for call in (calling, streaming):
            with pytest.raises(ToolUnavailableError) as lost:
                await call
            assert (lost.value.tool, lost.value.dispatched) == ("wait", True)
    assert (await ctx.call_status("lost")).state == "unavailable"
    with pytest.raises(ToolNotFoundError):
        await ctx.call_tool("who")
    assert await ctx.list_tools() == []


async def test_an_idempotent_call_of_a_killed_worker_runs_on_another(
    ctx: SessionContext, start_worker: StartWorker
) -> None:
    first = start_worker("one")
    calling = asyncio.create_task(ctx.options(call_id="twice", timeout=60).call_tool("steady", seconds=60))
    await until_runs(ctx, "steady")
    second = start_worker("two")
    first.kill()
    assert await calling == [second.pid, 2]
    status = await ctx.call_status("twice")
    assert [(attempt.worker_id, attempt.state) for attempt in status.attempts] == [
        ("one", "unavailable"),
        ("two", "result"),
    ]


async def test_two_workers_share_the_calls(ctx: SessionContext, start_worker: StartWorker) -> None:
    pids = {start_worker().pid, start_worker().pid}
    assert (await ctx.tool_status("who")).tool.workers == 2
    ran = await asyncio.gather(*(ctx.call_tool("wait", seconds=0.01) for _ in range(40)))
    assert set(ran) == pids
    assert min(ran.count(pid) for pid in pids) >= 10


# With tokens its connection was once lost before it had finished: found at the end of a session, and not explained yet.
@pytest.mark.transport("open")
async def test_a_stopped_worker_finishes_what_it_runs_and_takes_no_more(
    ctx: SessionContext, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker, released = start_worker(), tmp_path / "released"
    calling = asyncio.create_task(ctx.options(timeout=PATIENCE).call_tool("hold", until=str(released)))
    streaming = ctx.options(timeout=PATIENCE).stream_tool("count", n=5, until=str(released))
    assert await anext(streaming) == 0
    await until_runs(ctx, "hold")
    worker.send_signal(signal.SIGINT)
    await until_listed(ctx)
    with pytest.raises((ToolNotFoundError, ToolUnavailableError)):
        await ctx.call_tool("who")
    released.touch()
    assert await calling == worker.pid
    assert [chunk async for chunk in streaming] == [1, 2, 3, 4]
    assert worker.stdout is not None
    assert await asyncio.to_thread(worker.stdout.readline) == "drained\n"
    assert await asyncio.to_thread(worker.wait, PATIENCE) == 0


async def test_draining_tells_whether_all_ended_and_tools_can_be_offered_again(ctx: SessionContext) -> None:
    began, release = threading.Event(), threading.Event()

    def hold() -> str:
        began.set()
        release.wait(PATIENCE)
        return "held"

    assert await ctx.drain() is True
    await ctx.offer(hold)
    calling = asyncio.create_task(ctx.options(timeout=60).call_tool("hold"))
    await asyncio.to_thread(began.wait, PATIENCE)
    draining = asyncio.create_task(ctx.drain())
    await until_listed(ctx)
    with pytest.raises(InvalidRequestError):
        await ctx.offer(echo)
    assert not draining.done()
    release.set()
    assert await draining is True
    assert await calling == "held"
    began.clear()
    release.clear()
    await ctx.offer(hold)
    calling = asyncio.create_task(ctx.options(timeout=60).call_tool("hold"))
    await asyncio.to_thread(began.wait, PATIENCE)
    assert await ctx.drain(0.05) is False
    with pytest.raises(ToolUnavailableError):
        await calling
    release.set()
    assert await ctx.list_tools() == []


async def test_a_withdrawn_tool_takes_no_more_calls_and_finishes_those_it_has(ctx: SessionContext) -> None:
    release = asyncio.Event()

    async def hold() -> str:
        await release.wait()
        return "held"

    await ctx.offer(hold)
    await ctx.offer(echo)
    calling = asyncio.create_task(ctx.call_tool("hold"))
    await until_runs(ctx, "hold")
    await ctx.withdraw("hold")
    with pytest.raises(ToolNotFoundError):
        await ctx.call_tool("hold")
    assert await ctx.call_tool("echo", value="x") == "x"
    release.set()
    assert await calling == "held"
    with pytest.raises(InvalidRequestError):
        await ctx.withdraw("hold")
    await ctx.offer(hold)
    assert await ctx.call_tool("hold") == "held"


async def test_a_cut_connection_is_made_again_and_the_tools_offered_again(
    proxy: WireProxy, ctx: SessionContext, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "snakepit_bridge.worker")
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with SessionContext.connect(proxy.address, session_id=session_id) as worker:
        await worker.offer(echo)
        await worker.offer(hold)
        for cuts in range(1, 6):
            calling = asyncio.create_task(ctx.options(timeout=60).call_tool("hold"))
            async with asyncio.timeout(PATIENCE):
                await began.wait()
                proxy.cut()
                with pytest.raises(ToolUnavailableError):
                    await calling
                await cancelled.wait()
            began.clear()
            cancelled.clear()
            assert await until_called(ctx, "echo", value=f"{cuts}") == f"{cuts}"
            assert [tool.name for tool in await ctx.list_tools()] == ["echo", "hold"]
        (known,) = (await ctx.tool_status("echo")).workers
        assert known.worker_id == session_of(worker).serving.worker_id
    told = [record.levelname for record in caplog.records]
    assert told.count("WARNING") == told.count("INFO") == 5


async def test_an_outage_is_told_once_and_a_server_that_comes_back_has_the_global_tools(
    start_server: Callable[..., LocalServer], session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def told() -> bool:
        return bool(caplog.records)

    async def tried_several_times() -> bool:
        return proxy.connections > before + 3

    server = start_server()
    with WireProxy(server.address) as proxy:
        worker = SessionContext.connect(proxy.address, session_id=session_id)
        await worker.offer(echo, everywhere=True)
        before = proxy.connections
        server.close()
        await until(told)
        await until(tried_several_times)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        start_server(listen=server.address)
        async with SessionContext.connect(server.address) as other:
            assert await until_called(other, "echo", value="again") == "again"
        await worker.aclose()


async def test_serving_ends_with_the_session_that_a_restarted_server_forgot(
    start_server: Callable[..., LocalServer], session_id: str
) -> None:
    server = start_server()
    ctx = SessionContext.connect(server.address, session_id=session_id)
    ctx.tool(echo)
    serving = asyncio.create_task(ctx.serve())
    await until_called(ctx, "echo")
    server.close()
    start_server(listen=server.address)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(SessionNotFoundError):
            await serving
    await ctx.aclose()


async def test_another_life_of_the_session_ends_serving(
    start_server: Callable[..., LocalServer], session_id: str
) -> None:
    server = start_server()
    with WireProxy(server.address) as proxy:
        ctx = SessionContext.connect(proxy.address, session_id=session_id)
        ctx.tool(echo)
        serving = asyncio.create_task(ctx.serve())
        await until_called(ctx, "echo")
        second = start_server()
        async with SessionContext.connect(second.address, session_id=session_id) as other:
            proxy.upstream = second.address
            proxy.cut()
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(SessionExpiredError):
                    await serving
            assert await other.list_tools() == []
        await ctx.aclose()


async def test_with_its_session_a_tool_is_gone_and_what_ran_ends(ctx: SessionContext, session_id: str) -> None:
    began = asyncio.Event()

    async def hold() -> None:
        began.set()
        await asyncio.sleep(60)

    ctx.tool(hold)
    serving = asyncio.create_task(ctx.serve())
    await until_listed(ctx, "hold")
    calling = asyncio.create_task(ctx.options(timeout=60).call_tool("hold"))
    await began.wait()
    end_session(ctx)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(SessionError):
            await calling
        with pytest.raises(SessionError):
            await serving
    for attempt in (ctx.call_tool("hold"), ctx.list_tools(), ctx.offer(echo), ctx.serve()):
        with pytest.raises(SessionError):
            await attempt


async def test_a_silent_server_is_lost_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, start_server: Callable[..., LocalServer], session_id: str
) -> None:
    monkeypatch.setenv("SNAKEPIT_HEARTBEAT", "0.2")
    server = start_server()
    with WireProxy(server.address) as proxy:
        async with (
            SessionContext.connect(proxy.address, session_id=session_id) as worker,
            SessionContext.connect(server.address, session_id=session_id) as caller,
        ):
            await worker.offer(echo)

            async def kept() -> bool:
                opened = proxy.count("ServeTools")
                await asyncio.sleep(1)
                return proxy.count("ServeTools") == opened

            # Heartbeats keep a quiet stream, for longer than silence may last; on a loaded machine one may be late.
            await until(kept)
            assert await until_called(caller, "echo", value="x") == "x"
            proxy.freeze()
            await until_listed(caller)
            proxy.thaw()
            assert await until_called(caller, "echo", value="again") == "again"


async def test_a_process_that_was_suspended_for_long_serves_again(
    monkeypatch: pytest.MonkeyPatch,
    start_server: Callable[..., LocalServer],
    start_worker: StartWorker,
    session_id: str,
) -> None:
    monkeypatch.setenv("SNAKEPIT_HEARTBEAT", "0.2")
    server = start_server()
    worker = start_worker(at=server.address)
    async with SessionContext.connect(server.address, session_id=session_id) as ctx:
        worker.send_signal(signal.SIGSTOP)
        # The server has given it up, and has told it so.
        await until_listed(ctx)
        worker.send_signal(signal.SIGCONT)
        assert await until_called(ctx, "who") == worker.pid


async def test_a_suspended_server_finds_its_workers_again(
    monkeypatch: pytest.MonkeyPatch, start_server: Callable[..., LocalServer], session_id: str
) -> None:
    monkeypatch.setenv("SNAKEPIT_HEARTBEAT", "0.1")
    server = start_server()
    async with SessionContext.connect(server.address, session_id=session_id) as worker:
        await worker.offer(echo)
        hello = session_of(worker).serving._workers[False]._hello

        async def opened() -> bool:
            return hello.generation >= wanted

        for number in range(3):
            wanted = hello.generation + 4
            os.kill(server.pid, signal.SIGSTOP)
            # All these streams wait to be read, and only the last of them is still the worker's.
            await until(opened)
            os.kill(server.pid, signal.SIGCONT)
            assert await until_called(worker, "echo", value=f"{number}") == f"{number}"
            assert (await worker.tool_status("echo")).tool.workers == 1


async def test_a_worker_of_the_same_name_takes_the_place_of_the_first(
    address: str, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = SessionContext.connect(address, session_id=session_id)
    second = SessionContext.connect(address, session_id=session_id)
    for context in (first, second):
        session_of(context).serving.worker_id = "slot-1"
        context.tool(echo)
    serving = asyncio.create_task(first.serve())
    await until_called(first, "echo")
    await second.offer(echo)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(InvalidRequestError) as replaced:
            await serving
    assert replaced.value.field == "worker_id"
    # An end for good is in the log: nobody may be waiting for `serve`.
    assert [(record.name, record.levelname) for record in caplog.records] == [("snakepit_bridge.worker", "WARNING")]
    assert await first.call_tool("echo", value="x") == "x"
    assert (await first.tool_status("echo")).tool.workers == 1
    await first.aclose()
    await second.aclose()


async def test_what_became_anothers_meanwhile_is_not_offered_again_and_the_rest_is(
    proxy: WireProxy, ctx: SessionContext, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    def other(value: int) -> int:
        return value

    async with SessionContext.connect(proxy.address, session_id=session_id) as worker:
        worker.tool(echo)
        worker.tool(name="kept")(echo)
        worker.tool(name="alone", metadata={"a": "b"})(echo)
        serving = asyncio.create_task(worker.serve())
        await until_called(ctx, "echo")
        upstream, proxy.upstream = proxy.upstream, "127.0.0.1:1"
        proxy.cut()
        await until_listed(ctx)
        await ctx.offer(other, name="echo")
        proxy.upstream = upstream
        assert await until_called(ctx, "kept", value="x") == "x"
        assert await ctx.call_tool("echo", value=3) == 3
        assert [tool.name for tool in await ctx.list_tools()] == ["alone", "echo", "kept"]
        assert [record.levelname for record in caplog.records].count("ERROR") == 1
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_of_tools_offered_at_once_all_are_or_none(ctx: SessionContext, blocking: BlockingContext) -> None:
    def other(value: int) -> int:
        return value

    blocking.offer(other, name="taken")
    ctx.tool(echo)
    ctx.tool(name="taken")(echo)
    with pytest.raises(ToolExistsError) as refused:
        await ctx.serve()
    assert refused.value.tool == "taken"
    assert [tool.name for tool in await ctx.list_tools()] == ["taken"]


async def test_a_call_whose_connection_is_cut_is_not_made_again(
    proxy: WireProxy, ctx: SessionContext, session_id: str
) -> None:
    runs = 0
    began = asyncio.Event()

    async def hold() -> None:
        nonlocal runs
        runs += 1
        began.set()
        await asyncio.sleep(60)

    async def ended() -> bool:
        return (await ctx.call_status("cut")).state != "running"

    await ctx.offer(hold, idempotent=True, retry=Retry(max_attempts=10, initial_backoff=0))
    async with SessionContext.connect(proxy.address, session_id=session_id) as caller:
        calling = asyncio.create_task(caller.options(call_id="cut", timeout=60).call_tool("hold"))
        async with asyncio.timeout(PATIENCE):
            await began.wait()
            proxy.cut()
            with pytest.raises(ServerUnavailableError) as lost:
                await calling
        assert (lost.value.facts["tool"], lost.value.facts["call"]) == ("hold", "cut")
        await until(ended)
    assert (await ctx.call_status("cut")).state == "cancelled"
    assert (runs, proxy.count("CallTool")) == (1, 1)


async def test_offering_to_a_server_that_is_not_there_is_told_at_once(session_id: str) -> None:
    ctx = SessionContext.connect("127.0.0.1:1", session_id=session_id)
    for attempt in (ctx.offer(echo), ctx.call_tool("echo"), ctx.list_tools()):
        with pytest.raises(ServerUnavailableError):
            await attempt
    await ctx.aclose()
