"""Instructions and demos as a predictor wants them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import dspy


@lru_cache(maxsize=512)
def with_instructions(signature: Any, text: str) -> Any:
    """The signature with other instructions; the same object for the same arguments.

    DSPy makes a new class each time (about 220 us), and compares signatures by identity.
    """
    return signature if signature.instructions == text else signature.with_instructions(text)


_AGENT = "\n\nYou are an Agent."


def task_of(agent: Any) -> str | None:
    """The task instructions that `ReAct` put at the head of its inner prompt, or None if they are not there."""
    task: str = agent.signature.instructions
    return task if _has_task(agent.react.signature.instructions, task) else None


def replace_task(signature: Any, task: str, text: str) -> Any:
    """The inner signature of a `ReAct` whose task instructions are `text`; what it says of tools stays."""
    plain: str = signature.instructions
    if _has_task(plain, task):
        rest = plain[len(task) :]
    else:
        # Loaded state may hold a prompt that an optimizer wrote.
        _, marker, tail = plain.partition(_AGENT)
        rest = marker + tail if marker else f"\n\n{plain}"
    return with_instructions(signature, text + rest)


def task_in(prompt: str, pattern: str, slot: str) -> str | None:
    """The task in a prompt, where `pattern` is that prompt with `slot` for the task; None if it is another prompt."""
    before, _, after = pattern.partition(slot)
    fits = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before) + len(after)
    return prompt[len(before) : len(prompt) - len(after)] if fits else None


def _has_task(plain: str, task: str) -> bool:
    return plain.startswith(task + _AGENT)


def to_demos(value: Any) -> list[Any]:
    """A list of maps as fresh `dspy.Example`s. Raises ValueError if it is none."""
    if not isinstance(value, list) or not all(isinstance(demo, dict) and demo for demo in value):
        raise ValueError(value)
    return [dspy.Example(**demo) for demo in value]


def demo_to_map(demo: Mapping[str, Any]) -> dict[str, Any]:
    """A demo as a variable holds it."""
    return dict(demo.items())


def dropped_demos(demos: list[Any], signature: Any) -> list[int]:
    """The indexes of demos that DSPy would leave out of the prompt without a word: no input, or no output in them."""
    return [
        index
        for index, demo in enumerate(demos)
        if not any(name in demo for name in signature.input_fields)
        or not any(name in demo for name in signature.output_fields)
    ]
