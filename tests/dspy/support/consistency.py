"""The checker: from the requests that an LM got and the answers of a program, whether any forward mixed two states."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import snakepit_bridge.dspy_integration as sb
from tests.dspy.support.states import RING

BINDINGS = {
    "temperature": "t",
    "max_tokens": "tokens",
    "instructions": "prompt",
    "model": "model",
    "draft.demos": "demos",
    "k": "k",
    "part.width": "width",
}
REQUESTS = 3
"""That each forward of the programs in `entry_points` makes."""
_QUESTION = re.compile(r"question \d+ of [\w-]+")


def shown(body: Mapping[str, Any]) -> dict[str, int]:
    """The place in the ring that each part of a request is of; what should be there and is not is of none, -1."""
    messages = body["messages"]
    asked = str(messages[-1]["content"])
    tokens = body.get("max_completion_tokens", body.get("max_tokens")) or 0
    temperature = body.get("temperature")
    places = {
        "temperature": -1 if temperature is None else round(temperature * RING),
        "max_tokens": tokens - 100,
        "model": _number(r"state-(\d+)$", body["model"]),
        "instructions": _number(r"You are in state (\d+)\.", str(messages[0]["content"])),
    }
    # The predictor with demos asks for a draft, and for nothing else.
    if "`[[ ## draft ## ]]`" in asked:
        places["demos"] = _number(r"demo of state (\d+)\?", str(messages[1:-1]))
    return places


def _number(pattern: str, text: str) -> int:
    found = set(re.findall(pattern, text))
    return int(found.pop()) if len(found) == 1 else -1


def by_question(bodies: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, int]]]:
    """What the requests of each forward show. The question is in all of them."""
    found: dict[str, list[dict[str, int]]] = defaultdict(list)
    for body in bodies:
        found[_QUESTION.findall(str(body["messages"][-1]["content"]))[-1]].append(shown(body))
    return found


def problems(answer: Any, requests: Sequence[Mapping[str, int]], *, oldest: int, first_revision: int) -> list[str]:
    """What is wrong with one forward; nothing if all of it is of one state, and of one not older than `oldest`."""
    found = []
    if len(requests) != REQUESTS:
        found.append(f"{len(requests)} requests instead of {REQUESTS}")
    numbers = set(answer.read)
    if len(numbers) != 1:
        found.append(f"attributes of states {sorted(numbers)}")
    number = max(numbers)
    for index, request in enumerate(requests):
        other = {name: place for name, place in request.items() if place != number % RING}
        if other:
            found.append(f"state {number} ({number % RING}), but in request {index} {other}")
    if number < oldest:
        found.append(f"state {number}, but {oldest} was known before it began")
    if sb.revision_of(answer) != first_revision + number:
        found.append(f"state {number}, but revision {sb.revision_of(answer)} instead of {first_revision + number}")
    return found
