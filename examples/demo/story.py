"""The story of the demo: commands that another process runs, and the forwards that follow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from examples.demo import show
from examples.demo.commands import Terminal, activation
from examples.demo.program import Assistant, Forward


class Scene(NamedTuple):
    """Commands that another process runs, and how often the program answers after them."""

    title: str
    commands: list[list[str]]
    forwards: int
    refused: bool = False


SCENES = [
    Scene("At temperature 0 the same question gets the same answer.", [], 3),
    Scene(
        "Another process raises the temperature: now the answers differ.",
        [["var", "set", "llm_temperature", "1.5"]],
        3,
    ),
    Scene(
        "The server rejects a value that is out of range. Nothing changes.",
        [["var", "set", "llm_temperature", "9"]],
        0,
        refused=True,
    ),
    Scene(
        "Temperature 0 again, but few tokens: the same answer, cut off.",
        [["var", "set", "llm_temperature", "0"], ["var", "set", "llm_max_tokens", "12"]],
        1,
    ),
    Scene(
        "Another prompt, more tokens and a low temperature, in one atomic write.",
        [["apply", "--set-values", "examples/demo/pirate.toml"]],
        1,
    ),
    Scene("Another module: the next forward reasons first.", [["var", "set", "reasoning_module", "ChainOfThought"]], 2),
]
NEXT = """\
  make demo FOREVER=1                  asks again and again; you change the variables from a second terminal
  make demo MODEL=openai/gpt-4o-mini   another LM, by any DSPy model string
  docs/guide.md                        how to bind a program of your own"""


def tell(assistant: Assistant, terminal: Terminal) -> list[Forward]:
    """Plays and prints all scenes. Returns the forwards made."""
    forwards: list[Forward] = []
    show.heading("Each $ line below runs as another process, in a terminal that was set up like this:")
    show.line(terminal.preparation())
    for number, scene in enumerate(SCENES, start=1):
        show.heading(f"{number}. {scene.title}")
        for command in scene.commands:
            printed = terminal.run(command)
            show.command(terminal.written(command), printed.text)
            if printed.succeeded == scene.refused:
                expected = "be rejected" if scene.refused else "succeed"
                raise RuntimeError(f"expected `{terminal.written(command).strip()}` to {expected}")
        for _ in range(scene.forwards):
            before = forwards[-1] if forwards else None
            forwards.append(assistant.ask())
            print_forward(len(forwards), forwards[-1], before)
    return forwards


def print_forward(number: int, forward: Forward, before: Forward | None = None) -> None:
    """Prints what a forward used, sent and got; of what it used and sent, only what differs from the forward before."""
    show.line()
    show.line(show.bold(f"forward {number}") + f", revision {forward.revision}")
    if before is None:
        show.row("uses", show.values(forward.used))
    elif forward.changed:
        show.row("changed", ", ".join(f"{name} {old!r} → {new!r}" for name, (old, new) in forward.changed.items()))
    last = before.sent[-1] if before and before.sent else None
    for body in forward.sent:
        if differs := show.request(body, last):
            show.row("sent", differs)
        last = body
    if forward.reasoning is not None:
        show.row("reasoning", forward.reasoning)
    show.row("answer", "(not in the form that was asked for)" if forward.answer is None else forward.answer)
    for difference in forward.differences():
        show.row("WRONG", difference)


def conclude(forwards: list[Forward], model: str) -> bool:
    """Prints the summary and what to do next. Returns whether every request carried the values of its revision."""
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
    show.heading("Next")
    show.line(NEXT)
    if activate := activation():
        show.line(activate)
        show.line("    puts snakepit, and a Python that has snakepit_bridge, on PATH")
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
