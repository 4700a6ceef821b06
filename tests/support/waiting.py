"""Waiting for what has to happen, on a machine of any speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from snakepit_bridge.exceptions import CallTimeoutError, ServerUnavailableError

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a test takes what it waits for to hang. A loaded machine needs a fraction of it."""


def wait_until(true: Callable[[], object], within: float = PATIENCE) -> None:
    """Asks again and again; fails if it does not become true."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"not within {within:g} s"
        time.sleep(0.005)


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """Makes a call again as long as its server is too slow for its timeout."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except (CallTimeoutError, ServerUnavailableError):
                continue
