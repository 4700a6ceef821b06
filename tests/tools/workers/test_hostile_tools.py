"""Tools that misbehave: each fails its own call, and the worker goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakepit_bridge import SessionContext, current_call
from snakepit_bridge.exceptions import CallTimeoutError, ToolFailedError
from snakepit_bridge.session_context import session_of
from tests.support.waiting import PATIENCE
from tests.tools.support.until import given_up, until, until_listed, until_runs

ROOT = Path(__file__).parents[3]

RAISED: list[BaseException] = [
    SystemExit(3),
    SystemExit(),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(1),
    StopAsyncIteration(),
    asyncio.CancelledError(),
    MemoryError(),
    RecursionError(),
    BaseExceptionGroup("both", [SystemExit(1), ValueError("x")]),
]


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


async def answers(ctx: SessionContext) -> None:
    """The worker still does its work, on the connection it had."""
    assert await ctx.call_tool("fine", n=1) == 2
    assert await ctx.call_tool("afine", n=1) == 2


@pytest.fixture
async def worker(ctx: SessionContext) -> SessionContext:
    def fine(n: int) -> int:
        return n + 1

    async def afine(n: int) -> int:
        return n + 1

    await ctx.offer(fine)
    await ctx.offer(afine)
    return ctx


@pytest.mark.parametrize("error", [*RAISED, UnprintableError()], ids=lambda error: type(error).__name__)
async def test_whatever_it_raises_is_a_failure_of_its_call(worker: SessionContext, error: BaseException) -> None:
    def plain() -> None:
        raise error

    async def coroutine() -> None:
        await asyncio.sleep(0)
        raise error

    def generator() -> Iterator[int]:
        yield 1
        raise error

    async def async_generator() -> AsyncIterator[int]:
        yield 1
        raise error

    link = session_of(worker).serving._workers[False]._link
    for tool in (plain, coroutine, generator, async_generator):
        await worker.offer(tool)
        with pytest.raises(ToolFailedError) as failed:
            await worker.call_tool(tool.__name__)
        if tool is plain or not isinstance(error, (StopIteration, StopAsyncIteration)):
            assert failed.value.type == type(error).__name__
        else:
            # Python itself does not let these out of coroutines and generators.
            assert failed.value.type == "RuntimeError" or isinstance(error, StopAsyncIteration)
        with pytest.raises(ToolFailedError):
            assert [chunk async for chunk in worker.stream_tool(tool.__name__)] == [1]
    await answers(worker)
    assert session_of(worker).serving._workers[False]._link is link


def test_a_tool_that_exits_or_prints_leaves_its_process_alone(address: str, session_id: str) -> None:
    code = """
import sys
from snakepit_bridge import SessionContext
ctx = SessionContext.connect(sys.argv[1], session_id=sys.argv[2])

@ctx.tool
def leave():
    print("leaving")
    print("loudly", file=sys.stderr)
    sys.exit(7)

@ctx.tool
async def aleave():
    raise KeyboardInterrupt

@ctx.tool
def fine() -> str:
    return "fine"

async def main():
    import asyncio
    serving = asyncio.create_task(ctx.serve())
    while not await ctx.list_tools():
        await asyncio.sleep(0.01)
    for name in ("leave", "aleave"):
        try:
            await ctx.call_tool(name)
        except Exception as error:
            print(error.type, error.remote_message)
    print(await ctx.call_tool("fine"))
    serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        print("drained")
    await ctx.aclose()

import asyncio
asyncio.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", code, address, session_id],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "loudly\n")
    assert result.stdout.splitlines() == ["leaving", "SystemExit 7", "KeyboardInterrupt ", "fine", "drained"]


@pytest.mark.parametrize(
    ("result", "kind", "said"),
    [
        (threading.Lock, "TypeMismatchError", "the result"),
        (lambda: {"a": [object()]}, "TypeMismatchError", "the result['a'][0]"),
        (lambda: iter([1]), "TypeMismatchError", "list_iterator"),
        (lambda: asyncio.sleep(0), "TypeError", "async def"),
        (lambda: 2**63, "ConstraintError", "9223372036854775808"),
        (lambda: "\ud800", "InvalidRequestError", "surrogate"),
        (lambda: bytes(16 * 2**20 + 1), "LimitExceededError", "16777216"),
        (lambda: _nested(31), "InvalidRequestError", "nests deeper than 30 levels"),
        (lambda: [_endless()], "InvalidRequestError", "nests deeper than 30 levels"),
    ],
)
async def test_a_result_that_cannot_be_sent_is_a_clear_failure(
    worker: SessionContext, result: Callable[[], Any], kind: str, said: str
) -> None:
    await worker.offer(result, name="bad", arguments_schema={"type": "object"})
    with pytest.raises(ToolFailedError) as failed:
        await worker.call_tool("bad")
    assert failed.value.type == kind
    assert said in failed.value.remote_message
    if kind == "TypeMismatchError":
        assert isinstance(failed.value, TypeError)
    await answers(worker)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"d": value}
    return value


def _endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


async def test_the_largest_and_deepest_result_arrives(worker: SessionContext) -> None:
    await worker.offer(lambda: bytes(16 * 2**20 - 8), name="large")
    await worker.offer(lambda: _nested(30), name="deep")
    assert len(await worker.call_tool("large")) == 16 * 2**20 - 8
    assert await worker.call_tool("deep") == _nested(30)


async def test_a_chunk_that_cannot_be_sent_fails_its_call_alone(worker: SessionContext) -> None:
    def chunks() -> Iterator[Any]:
        yield 1
        yield _nested(31)

    async def achunks() -> AsyncIterator[Any]:
        yield 1
        yield bytes(16 * 2**20 + 1)

    for tool in (chunks, achunks):
        await worker.offer(tool)
        stream = worker.stream_tool(tool.__name__)
        assert await anext(stream) == 1
        with pytest.raises(ToolFailedError):
            await anext(stream)
    await answers(worker)


async def test_a_tool_that_blocks_its_loop_blocks_neither_the_connection_nor_plain_tools(
    address: str, session_id: str
) -> None:
    ctx = SessionContext.connect(address, session_id=session_id)
    caller = SessionContext.connect(address, session_id=session_id)
    release = threading.Event()

    async def block() -> str:
        release.wait(PATIENCE)
        return "released"

    def plain() -> str:
        return "plain"

    # Both run in the worker's own loop and threads; this one stays free to look on.
    await asyncio.to_thread(ctx.blocking.offer, block)
    await asyncio.to_thread(ctx.blocking.offer, plain)
    blocked = asyncio.create_task(caller.options(timeout=60).call_tool("block"))
    await until_runs(caller, "block")
    assert await caller.call_tool("plain") == "plain"
    release.set()
    assert await blocked == "released"
    await caller.aclose()
    await ctx.aclose()


async def test_a_tool_that_never_returns_keeps_its_place_and_the_others_are_served(
    address: str, session_id: str
) -> None:
    release = threading.Event()
    begun = 0

    def stuck() -> None:
        nonlocal begun
        begun += 1
        release.wait(PATIENCE)

    def plain() -> str:
        return "plain"

    async with SessionContext.connect(address, session_id=session_id, tool_concurrency=2) as ctx:
        await ctx.offer(stuck)
        await ctx.offer(plain)
        await given_up(lambda timeout: ctx.options(timeout=timeout).call_tool("stuck"), lambda: begun == 1)
        assert await ctx.call_tool("plain") == "plain"
        (worker,) = (await ctx.tool_status("stuck")).workers
        assert (worker.in_flight, worker.worker_in_flight) == (1, 1)
        await given_up(lambda timeout: ctx.options(timeout=timeout).call_tool("stuck"), lambda: begun == 2)
        # Both places are taken by what nobody waits for any more.
        with pytest.raises(CallTimeoutError):
            await ctx.options(timeout=0.2).call_tool("plain")
        release.set()
        assert await ctx.call_tool("plain") == "plain"
        assert (await ctx.tool_status("stuck")).stats.late == 2


async def test_no_more_run_at_once_than_were_said(address: str, session_id: str) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def count(seconds: float) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(seconds)
        with lock:
            running -= 1

    async with SessionContext.connect(address, session_id=session_id, tool_concurrency=3) as ctx:
        await ctx.offer(count)
        await ctx.offer(count, name="single", max_concurrency=1)
        await asyncio.gather(*(ctx.call_tool("count", seconds=0.02) for _ in range(12)))
        assert most == 3
        most = 0
        await asyncio.gather(*(ctx.call_tool("single", seconds=0.02) for _ in range(4)))
        assert most == 1


async def test_an_async_tool_may_ignore_that_it_was_cancelled(worker: SessionContext) -> None:
    began, ignored = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ignored.set()
        return "all the same"

    await worker.offer(stubborn)
    await given_up(lambda timeout: worker.options(timeout=timeout).call_tool("stubborn"), began.is_set)
    async with asyncio.timeout(PATIENCE):
        await ignored.wait()
    await answers(worker)


async def test_what_an_async_tool_awaits_to_clean_up_is_not_interrupted(worker: SessionContext) -> None:
    cleaned = 0

    async def endless() -> AsyncIterator[int]:
        nonlocal cleaned
        try:
            while True:
                yield 1
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            cleaned += 1

    await worker.offer(endless)
    for _ in range(50):
        stream = worker.stream_tool("endless")
        assert await anext(stream) == 1
        await stream.aclose()

    async def all_cleaned() -> bool:
        return cleaned == 50

    await until(all_cleaned)


async def test_what_was_cancelled_before_its_loop_began_it_gives_its_place_back(worker: SessionContext) -> None:
    runs = 0

    async def count() -> None:
        nonlocal runs
        runs += 1

    await worker.offer(count)
    with pytest.raises(CallTimeoutError):
        # Keeps this very loop busy until the call is given up.
        worker.blocking.options(timeout=0.2).call_tool("count")
    link = session_of(worker).serving._workers[False]._link
    assert link is not None
    while not all(run.call.cancelled for run in link.runs.values()):
        time.sleep(0.001)  # noqa: ASYNC251  the loop is to stay busy

    async def given_back() -> bool:
        (known,) = (await worker.tool_status("count")).workers
        return known.worker_in_flight == 0

    await until(given_back)
    assert runs == 0
    await answers(worker)


async def test_a_generator_that_awaits_nothing_can_be_cancelled(worker: SessionContext) -> None:
    async def endless() -> AsyncIterator[int]:
        while True:
            yield 1

    await worker.offer(endless)
    with pytest.raises(CallTimeoutError):
        await worker.options(timeout=0.2).call_tool("endless")
    await answers(worker)


async def test_a_closed_loop_is_told_to_who_calls_its_tools(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id)

    async def lonely() -> None: ...

    def offered_elsewhere() -> None:
        asyncio.run(offer())

    async def offer() -> None:
        await ctx.offer(lonely)

    await asyncio.to_thread(offered_elsewhere)
    with pytest.raises(RuntimeError) as failed:
        await ctx.call_tool("lonely")
    assert isinstance(failed.value, ToolFailedError)
    # Nobody else is to meet it.
    await until_listed(ctx)
    await ctx.aclose()


async def test_each_call_has_a_context_of_its_own(worker: SessionContext) -> None:
    import contextvars

    said: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")

    def plain(word: str) -> list[str | None]:
        before = said.get()
        said.set(word)
        call = current_call()
        return [before, said.get(), call.tool if call else None]

    async def coroutine(word: str) -> list[str | None]:
        before = said.get()
        said.set(word)
        await asyncio.sleep(0)
        call = await asyncio.to_thread(current_call)
        return [before, said.get(), call.tool if call else None]

    said.set("when offered")
    for tool in (plain, coroutine):
        await worker.offer(tool)
    said.set("later")
    for tool in (plain, coroutine):
        for word in ("a", "b"):
            got = await worker.call_tool(tool.__name__, word=word)
            assert got == ["when offered", word, tool.__name__]
    assert (said.get(), current_call()) == ("later", None)
