"""Tools as others see them: names, lists, figures, and whose they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snakepit_bridge import BlockingContext, Retry, SessionContext, current_call
from snakepit_bridge.exceptions import InvalidRequestError, ToolExistsError, ToolNotFoundError


def echo(value: Any = None) -> Any:
    return value


async def test_a_tool_is_listed_as_it_was_offered(ctx: SessionContext, blocking: BlockingContext) -> None:
    def population(city: str) -> int:
        """How many live there.

        Args:
            city: which one
        """
        return len(city)

    retry = Retry(max_attempts=2, initial_backoff=0.25, multiplier=1.5, max_backoff=1)
    offered = await ctx.offer(
        population, idempotent=True, timeout=2.5, retry=retry, max_concurrency=3, metadata={"kind": "test"}
    )
    await ctx.offer(echo)
    assert [tool.name for tool in blocking.list_tools()] == ["echo", "population"]
    (listed,) = await ctx.list_tools("pop*")
    assert listed == offered == (await ctx.tool_status("population")).tool
    assert (listed.name, listed.description) == ("population", "How many live there.")
    assert listed.arguments_schema == {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "which one"}},
        "required": ["city"],
    }
    assert listed.result_schema == {"type": "integer"}
    assert (listed.idempotent, listed.timeout, listed.retry, listed.max_concurrency) == (True, 2.5, retry, 3)
    assert (listed.metadata, listed.everywhere, listed.native, listed.workers) == ({"kind": "test"}, False, False, 1)
    (plain,) = await ctx.list_tools("echo")
    assert (plain.idempotent, plain.timeout, plain.retry, plain.max_concurrency) == (False, None, Retry(), None)
    assert await ctx.list_tools("none*") == []


async def test_many_tools_are_listed_page_by_page(ctx: SessionContext) -> None:
    await asyncio.gather(*(ctx.offer(echo, name=f"tool_{n:03}") for n in range(250)))
    assert [tool.name for tool in await ctx.list_tools()] == [f"tool_{n:03}" for n in range(250)]


async def test_the_figures_of_a_tool_add_up(ctx: SessionContext) -> None:
    async def maybe(fail: bool) -> None:
        if fail:
            raise ValueError

    await ctx.offer(maybe)
    for fail in (True, False, False):
        await asyncio.gather(ctx.call_tool("maybe", fail=fail), return_exceptions=True)
    status = await ctx.tool_status("maybe")
    stats = status.stats
    assert (stats.calls, stats.results, stats.failures, stats.in_flight, stats.queued) == (3, 2, 1, 0, 0)
    assert sum(bucket.count for bucket in stats.latency) == 3
    assert stats.latency[-1].up_to is None
    (worker,) = status.workers
    assert (worker.breaker, worker.in_flight, worker.max_concurrency, worker.connected) == ("closed", 0, 16, True)
    assert (worker.opens_for, worker.failures_in_row, worker.draining) == (0, 0, False)
    assert worker.label


async def test_another_tool_of_the_same_name_is_refused_and_the_same_one_is_shared(
    ctx: SessionContext, blocking: BlockingContext
) -> None:
    def other(value: str) -> str:
        return value

    await ctx.offer(echo)
    with pytest.raises(ToolExistsError) as refused:
        blocking.offer(other, name="echo")
    assert refused.value.tool == "echo"
    with pytest.raises(InvalidRequestError) as again:
        await ctx.offer(echo)
    assert again.value.field == "name"
    assert blocking.offer(echo).workers == 2
    blocking.withdraw("echo")
    assert (await ctx.tool_status("echo")).tool.workers == 1


@pytest.mark.parametrize("name", ["", "with space", "1st", "a" * 129, "ü"])
async def test_a_name_or_schema_that_is_none_is_refused(ctx: SessionContext, name: str) -> None:
    if name:
        with pytest.raises(InvalidRequestError):
            await ctx.offer(echo, name=name)
    with pytest.raises(InvalidRequestError):
        await ctx.offer(echo, arguments_schema="{not json")
    assert await ctx.list_tools() == []


async def test_a_global_tool_is_every_sessions_unless_it_has_one_of_its_own(address: str, session_id: str) -> None:
    name = f"tool_{session_id.replace('-', '_')}"

    def whose() -> str:
        call = current_call()
        assert call is not None
        return f"everybody's, called from {call.session_id}"

    async with (
        SessionContext.connect(address, session_id=session_id) as one,
        SessionContext.connect(address, session_id=f"{session_id}-2") as two,
    ):
        assert (await one.offer(whose, name=name, everywhere=True)).everywhere
        assert await two.call_tool(name) == f"everybody's, called from {session_id}-2"
        await two.offer(lambda: "mine", name=name)
        assert await two.call_tool(name) == "mine"
        assert await one.call_tool(name) == f"everybody's, called from {session_id}"
        hidden = await two.offer(whose, name=name, everywhere=True)
        assert (hidden.everywhere, hidden.name) == (True, name)
        assert await two.call_tool(name) == "mine"
        await two.withdraw(name)
        await one.withdraw(name)
        with pytest.raises(ToolNotFoundError):
            await one.call_tool(name)
