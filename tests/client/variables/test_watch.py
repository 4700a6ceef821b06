"""Watches: every change in order, once, whatever happens to the stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from snakepit_bridge import BlockingContext, Change, LocalServer, SessionContext
from snakepit_bridge.exceptions import CompactedError, SessionExpiredError, SessionNotFoundError
from tests.support.sessions import end_session
from tests.support.waiting import PATIENCE
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")


async def _take(watch: Any, count: int) -> list[Change]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(watch) for _ in range(count)]


async def test_it_begins_with_what_there_is_and_goes_on_with_every_change(ctx: SessionContext) -> None:
    await ctx.register_variable("llm_t", "float", 0.5)
    await ctx.register_variable("other", "float", 0.5)
    async with ctx.watch_variables("llm_*") as watch:
        (first,) = await _take(watch, 1)
        assert (first.name, first.value, first.old, first.version, first.kind) == ("llm_t", 0.5, None, 1, "initial")
        await ctx.set_variable("llm_t", 0.6, reason="why")
        await ctx.set_variable("other", 0.6)
        await ctx.register_variable("llm_n", "integer", 1)
        await ctx.increment("llm_n", 2)
        await ctx.delete_variable("llm_t")
        changes = await _take(watch, 4)
        assert [(c.kind, c.name, c.old, c.value, c.version) for c in changes] == [
            ("set", "llm_t", 0.5, 0.6, 2),
            ("registered", "llm_n", None, 1, 1),
            ("set", "llm_n", 1, 3, 2),
            ("deleted", "llm_t", 0.6, None, 3),
        ]
        assert changes[0].reason == "why"
        assert changes[0].by.name
        assert [c.revision for c in changes] == sorted({c.revision for c in changes})
        assert not any(c.gap for c in changes)
        assert watch.revision == changes[-1].revision == ctx.revision


async def test_a_batch_arrives_as_one_revision_in_its_order(ctx: SessionContext) -> None:
    watch = ctx.watch_variables(names=["b", "a"])
    async with ctx.batch_updates() as batch:
        batch.register("a", "integer", 1).register("b", "integer", 2).register("c", "integer", 3)
    assert {change.name for change in await _take(watch, 2)} == {"a", "b"}
    await ctx.set_variables({"b": 3, "a": 2})
    changes = await _take(watch, 2)
    assert [change.name for change in changes] == ["b", "a"]
    assert len({change.revision for change in changes}) == 1
    await watch.aclose()


async def test_cutting_its_stream_loses_nothing_and_repeats_nothing(
    proxy: WireProxy, ctx: SessionContext, session_id: str
) -> None:
    await ctx.register_variable("n", "integer", 0)
    async with SessionContext.connect(proxy.address, session_id=session_id) as watcher:
        watch = watcher.watch_variables("n")
        assert (await _take(watch, 1))[0].value == 0

        async def count() -> None:
            opened = 0
            for index in range(200):
                await ctx.increment("n")
                if index % 20 == 10:
                    opened = proxy.count("WatchVariables")
                    proxy.cut()
                # A few changes happen while it is cut off; the next cut is to hit a stream that is open again.
                while index % 20 == 15 and proxy.count("WatchVariables") == opened:  # noqa: ASYNC110  a thread counts
                    await asyncio.sleep(0.005)

        counting = asyncio.create_task(count())
        changes = await _take(watch, 200)
        await counting
        assert [(change.old, change.value) for change in changes] == [(n, n + 1) for n in range(200)]
        assert [change.version for change in changes] == list(range(2, 202))
        assert proxy.count("WatchVariables") > 10


async def test_a_watch_begins_after_a_revision_seen_before(ctx: SessionContext) -> None:
    await ctx.register_variable("n", "integer", 0)
    await ctx.increment("n")
    async with ctx.watch_variables("n") as first:
        assert (await _take(first, 1))[0].value == 1
        seen = first.revision
    await ctx.increment("n")
    await ctx.increment("n")
    async with ctx.watch_variables("n", after=seen) as second:
        assert [(change.kind, change.value) for change in await _take(second, 2)] == [("set", 2), ("set", 3)]


async def test_a_slow_reader_gets_every_change_all_the_same(ctx: SessionContext) -> None:
    await ctx.register_variable("n", "integer", 0)
    async with ctx.watch_variables("n") as watch:
        assert (await _take(watch, 1))[0].value == 0
        for _ in range(15):
            await asyncio.gather(*(ctx.increment("n") for _ in range(200)))
        assert [change.value for change in await _take(watch, 3000)] == list(range(1, 3001))


async def _fall_behind(ctx: SessionContext, proxy: WireProxy) -> None:
    """Lets more than the server keeps pass while the proxied stream is away."""
    upstream, proxy.upstream = proxy.upstream, "127.0.0.1:1"
    proxy.cut()
    await ctx.delete_variable("gone")
    for index in range(10):
        await ctx.set_variable("big", bytes([index]) * 2**20)
    proxy.upstream = upstream


async def test_changes_no_longer_kept_are_replaced_by_a_flagged_snapshot(
    proxy: WireProxy, ctx: SessionContext, session_id: str
) -> None:
    await ctx.register_variable("big", "bytes", b"")
    await ctx.register_variable("gone", "integer", 1)
    async with SessionContext.connect(proxy.address, session_id=session_id) as watcher:
        watch = watcher.watch_variables()
        await _take(watch, 2)
        await _fall_behind(ctx, proxy)
        changes = await _take(watch, 2)
        assert [(c.kind, c.name, c.old == b"", c.gap) for c in changes] == [
            ("deleted", "gone", False, True),
            ("initial", "big", True, True),
        ]
        assert changes[0].old == 1
        assert changes[1].value == b"\x09" * 2**20
        await ctx.set_variable("big", b"end")
        (last,) = await _take(watch, 1)
        assert (last.kind, last.value, last.gap) == ("set", b"end", False)


async def test_a_watch_told_to_raise_says_what_is_still_kept(
    proxy: WireProxy, ctx: SessionContext, session_id: str
) -> None:
    await ctx.register_variable("big", "bytes", b"")
    await ctx.register_variable("gone", "integer", 1)
    async with SessionContext.connect(proxy.address, session_id=session_id) as watcher:
        watch = watcher.watch_variables(on_compacted="raise")
        await _take(watch, 2)
        await _fall_behind(ctx, proxy)
        for _ in range(2):
            with pytest.raises(CompactedError) as refused:
                await _take(watch, 1)
            assert refused.value.oldest > 2
    too_early = ctx.watch_variables(after=1, on_compacted="raise")
    with pytest.raises(CompactedError):
        await _take(too_early, 1)
    await too_early.aclose()


async def test_it_ends_with_its_session(ctx: SessionContext) -> None:
    await ctx.register_variable("n", "integer", 0)
    watch = ctx.watch_variables()
    await _take(watch, 1)
    end_session(ctx)
    with pytest.raises(SessionNotFoundError):
        await _take(watch, 1)


async def test_a_restarted_server_without_the_session_ends_it(
    start_server: Callable[..., LocalServer], session_id: str
) -> None:
    server = start_server()
    async with SessionContext.connect(server.address, session_id=session_id) as ctx:
        await ctx.register_variable("n", "integer", 0)
        one, other = ctx.watch_variables(), ctx.watch_variables()
        await _take(one, 1)
        await _take(other, 1)
        server.close()
        start_server(listen=server.address)
        with pytest.raises(SessionNotFoundError):
            await _take(one, 1)
        with pytest.raises(SessionNotFoundError):
            await _take(other, 1)


async def test_another_life_of_the_session_ends_it(
    start_server: Callable[..., LocalServer], proxy: WireProxy, session_id: str
) -> None:
    proxy.upstream = start_server().address
    async with SessionContext.connect(proxy.address, session_id=session_id) as ctx:
        await ctx.register_variable("n", "integer", 0)
        watch = ctx.watch_variables()
        await _take(watch, 1)
        second = start_server().address
        async with SessionContext.connect(second, session_id=session_id) as other:
            await other.register_variable("n", "integer", 5)
            proxy.upstream = second
            proxy.cut()
            with pytest.raises(SessionExpiredError):
                await _take(watch, 1)


async def test_leaving_the_loop_ends_its_stream_and_thread(ctx: SessionContext) -> None:
    await ctx.register_variable("n", "integer", 0)
    before = set(threading.enumerate())
    async for change in ctx.watch_variables():
        assert change.kind == "initial"
        assert "snakepit-watch" in {thread.name for thread in set(threading.enumerate()) - before}
        break
    async with asyncio.timeout(PATIENCE):
        while "snakepit-watch" in {thread.name for thread in set(threading.enumerate()) - before}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_closing_the_context_ends_it_for_whoever_waits(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id)
    await ctx.register_variable("n", "integer", 0)

    async def read() -> list[str]:
        return [change.name async for change in ctx.watch_variables()]

    def read_blocking(began: threading.Event) -> list[str]:
        names = []
        for change in ctx.blocking.watch_variables():
            names.append(change.name)
            began.set()
        return names

    began = threading.Event()
    watch = ctx.watch_variables()
    reading = [asyncio.create_task(read()), asyncio.create_task(asyncio.to_thread(read_blocking, began))]
    await asyncio.to_thread(began.wait)
    await _take(watch, 1)
    await ctx.aclose()
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*reading) == [["n"], ["n"]]
        assert [change async for change in watch] == []


async def test_a_cancelled_wait_loses_no_change(ctx: SessionContext) -> None:
    await ctx.register_variable("n", "integer", 0)
    async with ctx.watch_variables() as watch:
        await _take(watch, 1)
        for n in range(1, 20):
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
            waiting.cancel()
            await ctx.increment("n")
            assert (await _take(watch, 1))[0].value == n


def test_the_twin_watches_by_a_plain_loop(blocking: BlockingContext) -> None:
    blocking.register_variable("n", "integer", 0)
    values = []
    for change in blocking.watch_variables("n"):
        values.append((change.old, change.value))
        if change.value == 3:
            break
        blocking.increment("n")
    assert values == [(None, 0), (0, 1), (1, 2), (2, 3)]
