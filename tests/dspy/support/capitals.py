"""A task for optimizers, and the LM that does it.

It knows every capital, but says more than the metric wants unless it is told to name only the city, or shown how.
"""

from __future__ import annotations

import threading
from typing import Any

import dspy

from tests.support.recording_lm import asked_fields

PLAIN = "Given the fields `country`, produce the fields `capital`."
TOLD = "Name only the city."
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo", "Poland": "Warsaw", "Cuba": "Havana",
    "Japan": "Tokyo", "Peru": "Lima",
}  # fmt: skip
EXAMPLES = [dspy.Example(country=country, capital=city).with_inputs("country") for country, city in CAPITALS.items()]
TRAIN, DEV = EXAMPLES[:5], EXAMPLES[5:]


class Oracle:
    """Answers as the LM under test, and as the LM that proposes instructions.

    Attributes:
        useless: how many of its first proposals are of no use.
        lucky: how many of its first answers about a country are right by luck.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._proposals = 0
        self._asked: dict[str, int] = {}
        self.useless = 1
        self.lucky = 0

    def __call__(self, body: dict[str, Any]) -> Any:
        fields = asked_fields(body)
        if "capital" in fields:
            return {"capital": self._capital(body)}
        if not fields:
            return f"```\n{self._proposal()}\n```"
        advice = {"module_advice": {"ask": TOLD}, "discussion": "none"}
        return {field: advice.get(field, self._proposal() if "instruction" in field else "none") for field in fields}

    def _proposal(self) -> str:
        with self._lock:
            self._proposals += 1
            return "Answer like a poet." if self._proposals <= self.useless else f"{TOLD} ({self._proposals})"

    def _capital(self, body: dict[str, Any]) -> str:
        country = country_in(body)
        with self._lock:
            self._asked[country] = self._asked.get(country, 0) + 1
            lucky = self._asked[country] <= self.lucky
        city = CAPITALS[country]
        return city if lucky or TOLD in instructions_in(body) or demos_in(body) else f"The capital is {city}."


def country_in(body: dict[str, Any]) -> str:
    last = str(body["messages"][-1]["content"])
    return next(country for country in CAPITALS if country in last)


def instructions_in(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def demos_in(body: dict[str, Any]) -> list[str]:
    """The answers that a request shows."""
    return [str(one["content"]) for one in body["messages"] if one["role"] == "assistant"]


def exact(example: Any, prediction: Any, *_: Any) -> float:
    return float(example.capital == getattr(prediction, "capital", None))


def score(program: Any) -> float:
    found: float = dspy.Evaluate(devset=DEV, metric=exact, num_threads=1, display_progress=False)(program).score
    return found
