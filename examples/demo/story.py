"""What the demo shows by itself, and what it concludes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from examples.demo import show
from examples.demo.program import Assistant, Forward
from examples.demo.second_process import SecondProcess


class Scene(NamedTuple):
    """A knob that the second process turns, and how often the program then answers."""

    title: str
    values: dict[str, Any]
    forwards: int


SCENES = [
    Scene("At temperature 0 the same question gets the same answer.", {}, 3),
    Scene("Another process raises the temperature: now the answers differ.", {"llm_temperature": 1.5}, 3),
    Scene("A value out of range is refused, and nothing changes.", {"llm_temperature": 9.0}, 0),
    Scene(
        "Temperature 0 again, but few tokens: the same answer, cut off.",
        {"llm_temperature": 0.0, "llm_max_tokens": 12},
        1,
    ),
    Scene(
        "It gives another prompt, more tokens and less temperature, in one atomic write.",
        {"llm_instructions": "You are a pirate. Answer like a pirate.", "llm_max_tokens": 120, "llm_temperature": 0.3},
        1,
    ),
    Scene("It chooses another module: the next forward reasons first.", {"reasoning_module": "ChainOfThought"}, 2),
]


def tell(assistant: Assistant, second: SecondProcess) -> list[Forward]:
    """Plays all scenes and prints them; gives the forwards made."""
    forwards: list[Forward] = []
    for scene in SCENES:
        show.heading(scene.title)
        if scene.values:
            show.other_process(f"(pid {second.pid}) {second.set(scene.values)}")
        for _ in range(scene.forwards):
            forwards.append(assistant.ask())
            print_forward(len(forwards), forwards[-1])
    return forwards


def print_forward(number: int, forward: Forward) -> None:
    """Prints one forward."""
    show.line()
    show.line(show.bold(f"forward {number}") + f", revision {forward.revision}")
    if forward.changed:
        changes = (f"{name} {old!r} → {new!r}" for name, (old, new) in forward.changed.items())
        show.row("changed", f"{', '.join(changes)}: used from this forward on")
    show.row("used", show.values(forward.used))
    for body in forward.sent:
        show.row("sent", show.request(body))
    if forward.reasoning is not None:
        show.row("reasoning", forward.reasoning)
    show.row("answer", "(not in the form it was asked for)" if forward.answer is None else forward.answer)
    for difference in forward.differences():
        show.row("WRONG", difference)


def conclude(forwards: list[Forward], model: str) -> bool:
    """Prints the summary; whether every request carried the values of its revision."""
    show.heading("Summary")
    wrong = sum(bool(forward.differences()) for forward in forwards)
    requests = sum(len(forward.sent) for forward in forwards)
    for text in _facts(forwards):
        show.line(f"  {text}")
    show.line(f"  {len(forwards)} forwards, {requests} requests to {model}.")
    if wrong:
        show.line(f"  WRONG: the requests of {wrong} forwards did not carry the values of their revision.")
    else:
        show.line("  Every request carried exactly the values of its revision.")
    return not wrong


def _facts(forwards: list[Forward]) -> Iterator[str]:
    by_temperature: dict[float, list[str | None]] = {}
    for forward in forwards:
        if forward.used["llm_max_tokens"] == forwards[0].used["llm_max_tokens"]:
            by_temperature.setdefault(forward.used["llm_temperature"], []).append(forward.answer)
    for temperature, answers in by_temperature.items():
        yield f"temperature {temperature}: {len(answers)} answers, {len(set(answers))} distinct"
    for before, after in pairwise(forwards):
        if "llm_max_tokens" in after.changed and after.used["llm_max_tokens"] < before.used["llm_max_tokens"]:
            words = len((after.answer or "").split())
            yield f"max_tokens {after.used['llm_max_tokens']}: the answer ends after {words} words"
        if "reasoning_module" in after.changed:
            old, new = after.changed["reasoning_module"]
            yield f"reasoning_module {old} → {new}: from revision {after.revision} on the LM was asked to reason"
