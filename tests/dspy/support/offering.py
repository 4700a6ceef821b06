"""A process that offers tools: `python -m tests.dspy.support.offering ADDRESS SESSION`. It ends with its stdin."""

from __future__ import annotations

import sys
import threading
from typing import Literal

from pydantic import BaseModel

from snakepit_bridge import SessionContext, current_call
from tests.support.waiting import PATIENCE

POPULATIONS = {"Paris": 2_100_000, "Rome": 2_800_000}
_meetings: dict[str, threading.Barrier] = {}
_lock = threading.Lock()


class Place(BaseModel):
    """Somewhere."""

    name: str
    within: Place | None = None


def population(city: str, year: int = 2026, unit: Literal["people", "thousands"] = "people") -> float:
    """Says how many people live in a city.

    Args:
        city: its English name.
        year: of the census.
        unit: what to count.
    """
    if city not in POPULATIONS:
        raise KeyError(f"no city is called {city}")
    return POPULATIONS[city] / (1 if unit == "people" else 1000)


def describe(place: Place, style: str | None = None) -> str:
    """Describes a place."""
    return f"{place.name} in {place.within.name if place.within else 'nowhere'}, {style or 'plainly'}"


def refuse(why: str) -> str:
    """Refuses everything."""
    raise ValueError(why)


def meet(room: str) -> str:
    """Waits in a room for somebody else. Two calls that do not run at the same time never meet."""
    with _lock:
        barrier = _meetings.setdefault(room, threading.Barrier(2))
    barrier.wait(PATIENCE)
    return f"met in {room}"


def linger(seconds: float) -> bool:
    """Waits until nobody is interested any more."""
    running = current_call()
    assert running is not None
    threading.Event().wait(min(seconds, running.time_left() + 1))
    return True


def echo(value: object) -> object:
    """Gives back what it is given."""
    return value


def main() -> None:
    """Offers all of them until stdin ends."""
    address, session_id = sys.argv[1:]
    with SessionContext.connect(address, session_id=session_id, tool_concurrency=32) as ctx:
        for function in (population, describe, refuse, meet, linger, echo):
            ctx.offer(function)
        ctx.offer(population, name="geo.population-of", idempotent=True)
        print("offered", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
