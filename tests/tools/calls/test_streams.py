"""Tools that yield: every chunk in order, held back by a slow reader, cancelled with it."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from snakepit_bridge import BlockingContext, SessionContext, ToolResult, current_call
from snakepit_bridge.exceptions import (
    CallCancelledError,
    LimitExceededError,
    SessionClosedError,
    ToolFailedError,
    ToolNotFoundError,
)
from tests.support.waiting import PATIENCE
from tests.tools.support.until import given_up


def count(n: int) -> Iterator[int]:
    yield from range(n)


async def acount(n: int) -> AsyncIterator[int]:
    for index in range(n):
        yield index


def told(n: int) -> Generator[Any, None, str]:
    yield from range(n)
    return "all"


async def atold(n: int) -> AsyncIterator[Any]:
    for index in range(n):
        yield index
    yield ToolResult("all")


@pytest.mark.parametrize("tool", [count, acount])
async def test_every_chunk_comes_in_order_to_both_kinds_of_reader(
    ctx: SessionContext, blocking: BlockingContext, tool: Any
) -> None:
    assert (await ctx.offer(tool)).streaming
    for n in (0, 1, 10, 1000):
        stream = ctx.stream_tool(tool.__name__, n=n)
        assert [chunk async for chunk in stream] == list(range(n))
        assert stream.result is None
        assert await asyncio.to_thread(list, blocking.stream_tool(tool.__name__, n=n)) == list(range(n))


@pytest.mark.parametrize("tool", [told, atold])
async def test_its_result_comes_last_and_alone_to_who_only_calls(ctx: SessionContext, tool: Any) -> None:
    await ctx.offer(tool)
    stream = ctx.options(call_id="streamed").stream_tool(tool.__name__, n=3)
    assert [chunk async for chunk in stream] == [0, 1, 2, "all"]
    assert (stream.result, stream.call_id) == ("all", "streamed")
    assert await ctx.call_tool(tool.__name__, n=3) == "all"


async def test_without_a_result_who_only_calls_gets_what_was_yielded(ctx: SessionContext) -> None:
    def nothing() -> Iterator[Any]:
        yield 1
        yield ToolResult(None)

    for tool in (count, acount, nothing):
        await ctx.offer(tool)
    assert await ctx.call_tool("count", n=3) == [0, 1, 2]
    assert await ctx.call_tool("acount", n=0) == []
    assert await ctx.call_tool("nothing") is None
    assert [chunk async for chunk in ctx.stream_tool("nothing")] == [1]


async def test_a_plain_tool_can_be_streamed_and_a_stream_carries_every_value(ctx: SessionContext) -> None:
    values = [None, 2**63 - 1, "é" * 100_000, b"\x00", {"a": [None]}]

    def give() -> Iterator[Any]:
        yield from values
        yield np.arange(3)

    await ctx.offer(give)
    await ctx.offer(lambda: [1], name="plain")
    assert [chunk async for chunk in ctx.stream_tool("plain")] == [[1]]
    *plain, array = [chunk async for chunk in ctx.stream_tool("give")]
    assert plain == values
    assert array.tolist() == [0, 1, 2]


async def test_the_tool_knows_whether_chunks_are_wanted(ctx: SessionContext) -> None:
    def wanted() -> Iterator[Any]:
        call = current_call()
        assert call is not None
        yield call.wants_chunks

    await ctx.offer(wanted)
    assert [chunk async for chunk in ctx.stream_tool("wanted")] == [True]
    assert await ctx.call_tool("wanted") == [False]


async def test_a_failure_comes_after_the_chunks_before_it(ctx: SessionContext) -> None:
    def breaks(n: int) -> Iterator[int]:
        yield from range(n)
        raise LookupError("no more")

    async def abreaks(n: int) -> AsyncIterator[Any]:
        for index in range(n):
            yield index
        yield object()

    await ctx.offer(breaks)
    await ctx.offer(abreaks)
    for name, kind in (("breaks", LookupError), ("abreaks", TypeError)):
        stream = ctx.stream_tool(name, n=20)
        assert [await anext(stream) for _ in range(20)] == list(range(20))
        for _ in range(2):
            with pytest.raises(kind) as failed:
                await anext(stream)
            assert isinstance(failed.value, ToolFailedError)


async def test_a_result_has_to_come_last(ctx: SessionContext) -> None:
    def goes_on() -> Iterator[Any]:
        yield ToolResult(1)
        yield 2

    await ctx.offer(goes_on)
    with pytest.raises(TypeError):
        await ctx.call_tool("goes_on")


async def test_chunks_and_what_is_kept_of_them_are_bounded(ctx: SessionContext) -> None:
    def huge(parts: int, size: int, result: bool) -> Iterator[Any]:
        for _ in range(parts):
            yield bytes(size)
        if result:
            yield ToolResult("small")

    await ctx.offer(huge)
    with pytest.raises(ToolFailedError) as failed:
        await anext(ctx.stream_tool("huge", parts=1, size=16 * 2**20 + 1, result=False))
    assert failed.value.type == "LimitExceededError"
    with pytest.raises(ToolFailedError) as failed:
        await ctx.call_tool("huge", parts=20, size=2**20, result=False)
    assert failed.value.type == "LimitExceededError"
    assert await ctx.call_tool("huge", parts=20, size=2**20, result=True) == "small"
    sizes = [len(chunk) async for chunk in ctx.stream_tool("huge", parts=20, size=2**20, result=False)]
    assert sizes == [2**20] * 20


# 200 MB take an unoptimised server's TLS longer than a call has.
@pytest.mark.transport("tokens")
@pytest.mark.parametrize("kind", ["generator", "async_generator"])
async def test_a_slow_reader_holds_the_tool_back_and_nothing_else(ctx: SessionContext, kind: str) -> None:
    yielded = 0

    def flood() -> Iterator[bytes]:
        nonlocal yielded
        for _ in range(2000):
            yielded += 1
            yield bytes(100_000)

    async def aflood() -> AsyncIterator[bytes]:
        for chunk in flood():
            yield chunk

    await ctx.offer(flood if kind == "generator" else aflood, name="flood")
    await ctx.offer(acount)
    stream = ctx.stream_tool("flood")
    for index in range(3):
        assert len(await anext(stream)) == 100_000
        # Another stream of the same worker goes on meanwhile; when it has ended the flood has come to rest, or is held.
        assert [n async for n in ctx.stream_tool("acount", n=200)] == list(range(200))
        assert yielded < 500, index
    # What is held back is bounded, and all of it arrives.
    assert sum([len(chunk) async for chunk in stream]) == 1997 * 100_000
    assert yielded == 2000


async def test_leaving_the_loop_closes_the_generator(ctx: SessionContext) -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.set()

    async def aendless() -> AsyncIterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            await asyncio.sleep(0)
            closed.set()

    for tool in (endless, aendless):
        await ctx.offer(tool)

        async def read(name: str = tool.__name__) -> None:
            async for n in ctx.stream_tool(name):
                if n == 3:
                    return

        await read()
        gc.collect()
        assert await asyncio.to_thread(closed.wait, PATIENCE)
        closed.clear()
        async with ctx.stream_tool(tool.__name__) as stream:
            assert await anext(stream) == 0
        assert await asyncio.to_thread(closed.wait, PATIENCE)
        assert [chunk async for chunk in stream] == []
        closed.clear()
        with ctx.blocking.stream_tool(tool.__name__) as blocking:
            assert await asyncio.to_thread(next, blocking) == 0
        assert await asyncio.to_thread(closed.wait, PATIENCE)
        closed.clear()


async def test_cancelling_the_reader_cancels_the_call(ctx: SessionContext) -> None:
    began, closed = asyncio.Event(), asyncio.Event()

    async def silent() -> AsyncIterator[int]:
        try:
            began.set()
            await asyncio.sleep(60)
            yield 1
        finally:
            closed.set()

    await ctx.offer(silent)
    stream = ctx.options(call_id="mine").stream_tool("silent")
    reading = asyncio.create_task(anext(stream))
    async with asyncio.timeout(PATIENCE):
        await began.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await closed.wait()
    assert (await ctx.call_status("mine")).state == "cancelled"
    assert [chunk async for chunk in stream] == []


async def test_a_stream_cancelled_from_elsewhere_or_past_its_deadline_says_so(ctx: SessionContext) -> None:
    async def one_then_silence() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    await ctx.offer(one_then_silence)
    stream = ctx.stream_tool("one_then_silence")
    assert await anext(stream) == 1
    assert await ctx.cancel_call(stream.call_id)
    with pytest.raises(CallCancelledError):
        await anext(stream)
    got: list[int] = []
    late = stream

    async def read(seconds: float) -> None:
        nonlocal late
        late = ctx.options(timeout=seconds).stream_tool("one_then_silence")
        async for chunk in late:
            got.append(chunk)  # noqa: PERF401  what came before it ended is wanted too

    error = await given_up(read, lambda: bool(got))
    assert (got, error.tool, error.call_id) == ([1], "one_then_silence", late.call_id)


async def test_what_is_refused_is_refused_at_the_first_item(ctx: SessionContext) -> None:
    stream = ctx.stream_tool("nobody")
    assert stream.call_id == ""
    for _ in range(2):
        with pytest.raises(ToolNotFoundError):
            await anext(stream)
    await ctx.offer(count)
    with pytest.raises(LimitExceededError):
        await anext(ctx.stream_tool("count", n=b"x" * (16 * 2**20)))


async def test_closing_the_context_ends_a_stream_for_its_reader(address: str, session_id: str) -> None:
    async def one_then_silence() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    ctx = SessionContext.connect(address, session_id=session_id)
    await ctx.offer(one_then_silence)
    stream = ctx.stream_tool("one_then_silence")
    assert await anext(stream) == 1
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    await ctx.aclose()
    async with asyncio.timeout(PATIENCE):
        # Not the end that a complete stream has.
        with pytest.raises(SessionClosedError):
            await reading
    with pytest.raises(SessionClosedError):
        await anext(ctx.stream_tool("one_then_silence"))


def test_a_stream_refuses_pickle(blocking: BlockingContext) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(blocking.stream_tool("any"))


async def test_ten_thousand_chunks_lose_nothing(ctx: SessionContext) -> None:
    await ctx.offer(count)
    assert [chunk async for chunk in ctx.options(timeout=120).stream_tool("count", n=10_000)] == list(range(10_000))
