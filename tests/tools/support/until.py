"""Waiting for what only the server knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import (
    CallTimeoutError,
    ServerUnavailableError,
    ToolNotFoundError,
    ToolUnavailableError,
)
from tests.support.waiting import PATIENCE


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again."""
    async with asyncio.timeout(PATIENCE):
        while not await true():  # noqa: ASYNC110  the server counts
            await asyncio.sleep(0.005)


async def until_listed(ctx: SessionContext, *names: str) -> None:
    """Waits until the tools that can be called are exactly these."""

    async def listed() -> bool:
        return {tool.name for tool in await ctx.list_tools()} == set(names)

    await until(listed)


async def until_runs(ctx: SessionContext, name: str) -> None:
    """Waits until a worker runs the tool."""

    async def runs() -> bool:
        return any(worker.in_flight for worker in (await ctx.tool_status(name)).workers)

    await until(runs)


async def until_called(ctx: SessionContext, name: str, **arguments: object) -> object:
    """Calls a tool as soon as somebody offers it."""
    results: list[object] = []

    async def called() -> bool:
        try:
            results.append(await ctx.call_tool(name, **arguments))
        except (ToolNotFoundError, ToolUnavailableError, ServerUnavailableError):
            return False
        return True

    await until(called)
    return results[0]


async def given_up(call: Callable[[float], Awaitable[object]], began: Callable[[], bool]) -> CallTimeoutError:
    """Calls with a timeout, a longer one as long as the tool had not begun by then; what the last call raised."""
    timeout = 0.2
    while True:
        with pytest.raises(CallTimeoutError) as late:
            await call(timeout)
        if began():
            return late.value
        timeout *= 2
        assert timeout < PATIENCE
