"""Calling a tool: what goes in, what comes out, what is refused; through the real server."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import math
import threading
from typing import Any

import numpy as np
import pydantic
import pytest

from snakepit_bridge import BlockingContext, SessionContext, ToolResult, current_call
from snakepit_bridge._client.transport import ASYNCIO
from snakepit_bridge._tools.calls import CallOptions, Request
from snakepit_bridge._variables.values import decode
from snakepit_bridge.exceptions import (
    CallCancelledError,
    CallTimeoutError,
    InvalidRequestError,
    LimitExceededError,
    ToolFailedError,
    ToolNotFoundError,
    TypeMismatchError,
)
from snakepit_bridge.session_context import session_of
from tests.support.transports import OPEN, Transport
from tests.support.waiting import PATIENCE
from tests.tools.support.until import given_up

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    0.1,
    -0.0,
    1e308,
    "",
    "Zürich 東京 🐍\x00",
    b"",
    b"\x00\xff",
    [],
    [1, "a", None, [2.5, []]],
    {},
    {"b": 1, "a": {"c": None, "": [True]}},
]


def echo(value: Any = None) -> Any:
    return value


class Filter(pydantic.BaseModel):
    tags: list[str] = []
    most: int = pydantic.Field(default=3, ge=1)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Place:
    city: str
    colour: Colour


async def test_every_value_arrives_and_returns_exactly(ctx: SessionContext, blocking: BlockingContext) -> None:
    await ctx.offer(echo)
    for value in VALUES:
        for got in (await ctx.call_tool("echo", value=value), blocking.call_tool("echo", value=value)):
            assert (got, type(got), repr(got)) == (value, type(value), repr(value))
    assert await ctx.call_tool("echo") is None


async def test_a_result_may_be_no_number_and_an_argument_may_not(ctx: SessionContext) -> None:
    await ctx.offer(lambda: [math.nan, math.inf], name="odd")
    await ctx.offer(echo)
    nan, inf = await ctx.call_tool("odd")
    assert (math.isnan(nan), inf) == (True, math.inf)
    with pytest.raises(InvalidRequestError):
        await ctx.call_tool("echo", value=math.nan)


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_text_and_bytes_of_any_size_arrive(ctx: SessionContext, size: int) -> None:
    await ctx.offer(echo)
    assert await ctx.call_tool("echo", value="é" * size) == "é" * size
    assert await ctx.call_tool("echo", value=b"\xff" * size) == b"\xff" * size


async def test_arrays_arrive_with_dtype_shape_and_bits(ctx: SessionContext) -> None:
    def double(array: np.ndarray[Any, Any], weights: np.ndarray[Any, Any] | None = None) -> Any:
        return [array * 2, weights]

    await ctx.offer(double)
    array = np.arange(6, dtype="float32").reshape(2, 3)
    doubled, weights = await ctx.call_tool("double", array=array)
    assert (doubled.dtype, doubled.shape, weights) == (array.dtype, (2, 3), None)
    assert (doubled == array * 2).all()


async def test_models_enums_dates_go_in_and_out_as_what_they_are_there(ctx: SessionContext) -> None:
    seen: list[Any] = []

    async def search(filter: Filter, place: Place, when: datetime.datetime, exact: bool = False) -> Place:
        seen.append((filter, place, when, exact))
        return place

    tool = await ctx.offer(search)
    assert tool.arguments_schema["required"] == ["filter", "place", "when"]
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    place = Place("Rome", Colour.RED)
    got = await ctx.call_tool("search", filter=Filter(tags=["a"]), place=place, when=when)
    assert seen == [(Filter(tags=["a"]), place, when, False)]
    assert got == {"city": "Rome", "colour": "red"}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "arguments.city"),
        ({"city": 3}, "arguments.city"),
        ({"city": None}, "arguments.city"),
        ({"city": "Rome", "year": "2020"}, "arguments.year"),
        ({"city": "Rome", "year": 2020.5}, "arguments.year"),
        ({"city": "Rome", "year": True}, "arguments.year"),
        ({"city": "Rome", "town": "x"}, "arguments.town"),
        ({"city": "Rome", "filter": {"tags": ["a", 1]}}, "arguments.filter.tags[1]"),
        ({"city": "Rome", "filter": {"most": 0}}, "arguments.filter.most"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_the_tool_runs(
    ctx: SessionContext, arguments: dict[str, Any], field: str
) -> None:
    ran: list[str] = []

    def population(city: str, year: int = 2020, filter: Filter | None = None) -> int:
        ran.append(city)
        return year

    await ctx.offer(population)
    with pytest.raises(InvalidRequestError) as refused:
        await ctx.call_tool("population", **arguments)
    assert refused.value.field == field
    # Of one that is missing or unknown only the message says the name.
    named = set(arguments) - {"city"} if arguments.get("city") == "Rome" else {"city"}
    assert named.pop() in str(refused.value)
    assert ran == []
    assert (await ctx.tool_status("population")).stats.refused == 1


async def test_what_is_no_data_is_refused_before_it_is_sent(ctx: SessionContext) -> None:
    await ctx.offer(echo)
    with pytest.raises(TypeMismatchError) as refused:
        await ctx.call_tool("echo", value=[1, {"lock": threading.Lock()}])
    assert "value[1]['lock']" in str(refused.value)
    assert (await ctx.tool_status("echo")).stats.calls == 0


async def test_an_argument_beyond_the_limit_is_refused(ctx: SessionContext) -> None:
    await ctx.offer(echo)
    with pytest.raises(LimitExceededError) as refused:
        await ctx.call_tool("echo", value=b"x" * (16 * 2**20 + 1))
    assert refused.value.limit == "value_bytes"


async def test_a_validator_of_the_tools_own_fails_the_call_and_names_the_argument(ctx: SessionContext) -> None:
    class Even(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def even(cls, n: int) -> int:
            if n % 2:
                raise ValueError("wanted an even number")
            return n

    async def halve(numbers: list[Even]) -> int:
        return numbers[0].n // 2

    await ctx.offer(halve)
    assert await ctx.call_tool("halve", numbers=[{"n": 4}]) == 2
    with pytest.raises(ValueError, match=r"numbers\[1\]\.n: .*wanted an even number") as failed:
        await ctx.call_tool("halve", numbers=[{"n": 4}, {"n": 3}])
    assert isinstance(failed.value, ToolFailedError)


async def test_a_missing_tool_names_the_closest(ctx: SessionContext) -> None:
    await ctx.offer(echo)
    for attempt in (ctx.call_tool("ehco"), ctx.tool_status("ehco")):
        with pytest.raises(ToolNotFoundError) as refused:
            await attempt
        assert (refused.value.tool, refused.value.closest) == ("ehco", ["echo"])


async def test_what_it_raises_is_raised_here_without_the_way_it_took(ctx: SessionContext) -> None:
    def find(city: str) -> None:
        raise KeyError(city)

    await ctx.offer(find)
    await ctx.offer(find, name="open", traceback=True)
    with pytest.raises(KeyError) as failed:
        await ctx.options(call_id="call-7").call_tool("find", city="Atlantis")
    error = failed.value
    assert isinstance(error, ToolFailedError)
    assert (error.type, error.tool, error.call_id, error.retryable) == ("KeyError", "find", "call-7", False)
    assert (error.remote_message, error.remote_traceback) == ("'Atlantis'", "")
    assert (error.__cause__, error.__suppress_context__ or error.__context__ is None) == (None, True)
    with pytest.raises(KeyError) as failed:
        await ctx.call_tool("open", city="Atlantis")
    assert isinstance(failed.value, ToolFailedError)
    assert "in find" in failed.value.remote_traceback


async def test_a_tool_calls_another_and_its_failure_comes_through(ctx: SessionContext) -> None:
    async def inner(n: int) -> int:
        if n < 0:
            raise ValueError("too small")
        return n + 1

    async def outer(n: int) -> int:
        return int(await ctx.call_tool("inner", n=n)) * 10

    def from_a_thread(n: int) -> int:
        return int(ctx.blocking.call_tool("outer", n=n))

    for function in (inner, outer, from_a_thread):
        await ctx.offer(function)
    assert await ctx.call_tool("from_a_thread", n=1) == 20
    with pytest.raises(ValueError, match="too small") as failed:
        await ctx.call_tool("from_a_thread", n=-1)
    assert isinstance(failed.value, ToolFailedError)
    assert (failed.value.tool, failed.value.type) == ("from_a_thread", "ToolFailedError")


async def test_the_deadline_reaches_the_tool(ctx: SessionContext) -> None:
    left: list[float] = []

    async def linger(seconds: float) -> None:
        call = current_call()
        assert call is not None
        left.append(call.time_left())
        await asyncio.sleep(seconds)

    await ctx.offer(linger)
    await ctx.offer(linger, name="hurried", timeout=60)
    await ctx.options(timeout=6000).call_tool("linger", seconds=0)
    await ctx.call_tool("linger", seconds=0)
    await ctx.options(timeout=6000).call_tool("hurried", seconds=0)
    for seconds, most in zip(left, (6000, 10, 60), strict=True):
        # What the call had taken by then is gone.
        assert most / 10 < seconds <= most


@pytest.mark.parametrize("whose", ["the call's", "the tool's", "the tool's, with none of the call's"])
async def test_a_call_ends_at_its_own_deadline_or_its_tools(ctx: SessionContext, whose: str) -> None:
    begun = 0

    async def linger() -> None:
        nonlocal begun
        begun += 1
        await asyncio.sleep(3600)

    async def call(seconds: float) -> None:
        own, of_the_tool = {
            "the call's": (seconds, 3600.0),
            "the tool's": (3600.0, seconds),
            "the tool's, with none of the call's": (None, seconds),
        }[whose]
        await ctx.offer(linger, timeout=of_the_tool)
        try:
            await ctx.options(timeout=own).call_tool("linger")
        finally:
            await ctx.withdraw("linger")

    late = await given_up(call, lambda: begun > 0)
    assert (late.tool, (await ctx.call_status(late.call_id)).state) == ("linger", "deadline")


async def test_a_tool_with_a_long_timeout_of_its_own_outlasts_the_contexts(address: str, session_id: str) -> None:
    async with (
        SessionContext.connect(address, session_id=session_id) as worker,
        SessionContext.connect(address, session_id=session_id, timeout=1) as hurried,
    ):

        async def rest(delay: float) -> str:
            await asyncio.sleep(delay)
            return "rested"

        await worker.offer(rest, name="patient", timeout=PATIENCE)
        await worker.offer(rest, name="plain")
        assert await hurried.call_tool("patient", delay=1.2) == "rested"
        with pytest.raises(CallTimeoutError):
            await hurried.call_tool("plain", delay=PATIENCE)


async def test_cancelling_the_task_cancels_the_tool(ctx: SessionContext) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def linger() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            call = current_call()
            assert call is not None
            assert call.cancelled
            assert call.time_left() == 0
            ended.set()

    await ctx.offer(linger)
    calling = asyncio.create_task(ctx.options(call_id="mine").call_tool("linger"))
    async with asyncio.timeout(PATIENCE):
        await began.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await ended.wait()
    assert (await ctx.call_status("mine")).state == "cancelled"


async def test_a_call_can_be_cancelled_from_elsewhere(ctx: SessionContext, blocking: BlockingContext) -> None:
    began, seen = threading.Event(), threading.Event()

    def linger() -> str:
        began.set()
        call = current_call()
        assert call is not None
        while not call.cancelled:
            seen.wait(0.005)
        seen.set()
        return "too late"

    await ctx.offer(linger)
    calling = asyncio.create_task(ctx.options(call_id="theirs").call_tool("linger"))
    assert await asyncio.to_thread(began.wait, PATIENCE)
    assert (await ctx.call_status("theirs")).state == "running"
    assert blocking.cancel_call("theirs") is True
    with pytest.raises(CallCancelledError) as cancelled:
        await calling
    assert (cancelled.value.tool, cancelled.value.call_id) == ("linger", "theirs")
    assert cancelled.value.by
    assert await asyncio.to_thread(seen.wait, PATIENCE)
    assert await ctx.cancel_call("theirs") is False
    with pytest.raises(InvalidRequestError):
        await ctx.cancel_call("nobody's")


async def test_a_call_has_a_record_and_its_id_is_used_once(ctx: SessionContext) -> None:
    await ctx.offer(echo)
    assert await ctx.options(call_id="once").call_tool("echo", value=1) == 1
    status = await ctx.call_status("once")
    assert (status.call_id, status.tool, status.state) == ("once", "echo", "result")
    assert [attempt.state for attempt in status.attempts] == ["result"]
    assert 0 <= status.took < PATIENCE
    assert abs((datetime.datetime.now(datetime.UTC) - status.accepted_at).total_seconds()) < 60
    with pytest.raises(InvalidRequestError) as refused:
        await ctx.options(call_id="once").call_tool("echo", value=2)
    assert refused.value.field == "call_id"
    with pytest.raises(InvalidRequestError):
        await ctx.call_status("never")
    for wrong in (0, -1, math.nan):
        with pytest.raises(InvalidRequestError):
            ctx.options(timeout=wrong)


async def test_a_result_may_be_wrapped(ctx: SessionContext) -> None:
    await ctx.offer(lambda: ToolResult([1]), name="wrapped")
    assert await ctx.call_tool("wrapped") == [1]


async def test_the_caller_is_known_to_the_tool(
    ctx: SessionContext, blocking: BlockingContext, transport: Transport
) -> None:
    def about() -> dict[str, Any]:
        call = current_call()
        assert call is not None
        return {name: getattr(call, name) for name in ("call_id", "attempt", "tool", "session_id", "wants_chunks")} | {
            "caller": call.caller
        }

    await ctx.offer(about)
    assert current_call() is None
    told = blocking.options(call_id="about-1").call_tool("about")
    assert told.pop("caller") == (blocking._session.author if transport.name == OPEN else "all")
    assert told == {
        "call_id": "about-1",
        "attempt": 1,
        "tool": "about",
        "session_id": ctx.session_id,
        "wants_chunks": False,
    }


async def test_the_trace_of_the_caller_reaches_the_tool_and_those_that_it_calls(ctx: SessionContext) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    def inner() -> str:
        call = current_call()
        assert call is not None
        return call.traceparent

    async def outer() -> list[str]:
        call = current_call()
        assert call is not None
        return [call.traceparent, await ctx.call_tool("inner")]

    await ctx.offer(inner)
    await ctx.offer(outer)
    assert await ctx.call_tool("outer") == ["", ""]
    session = session_of(ctx)
    request = Request(session, "outer", {}, CallOptions())
    metadata = (*session.connection.metadata, ("traceparent", trace))
    reply = await ASYNCIO.call(session.connection.tool.CallTool, request.message, 10, metadata)
    assert decode(reply.result) == [trace, trace]
