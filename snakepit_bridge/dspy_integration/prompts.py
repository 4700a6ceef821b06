"""Instructions, field descriptions and demos as a predictor wants them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import dspy

from snakepit_bridge.dspy_integration.generation import Fit
from snakepit_bridge.dspy_integration.paths import Step, render
from snakepit_bridge.exceptions import BindingError

# DSPy makes a new class for each change of a signature (about 220 us, 50 KB), and compares signatures by identity.
_KEPT = 128


@lru_cache(maxsize=_KEPT)
def with_instructions(signature: Any, text: str) -> Any:
    """The signature with other instructions; the same object for the same arguments."""
    return signature if signature.instructions == text else signature.with_instructions(text)


@lru_cache(maxsize=_KEPT)
def with_description(signature: Any, field: str, text: str) -> Any:
    """The signature with another description of one of its fields; itself if it has no such field."""
    if field not in signature.fields or description_of(signature, field) == text:
        return signature
    return signature.with_updated_fields(field, desc=text)


def description_of(signature: Any, field: str) -> str | None:
    """The description of a field."""
    found: str | None = signature.fields[field].json_schema_extra.get("desc")
    return found


_SCAFFOLDED = ("ReAct", "ReActV2", "RLM", "CodeAct", "ProgramOfThought")
"""DSPy's modules that write the prompts of their predictors around the task."""

_AGENT = "\n\nYou are an Agent."


def tasks_of(owner: Any, steps: Sequence[Step], path: str) -> dict[int, str]:
    """For each predictor below whose prompt DSPy wrote around the task, by its id: the task.

    Raises:
        BindingError: there is one whose prompt does not contain its task.
    """
    classes = tuple(getattr(dspy, name) for name in _SCAFFOLDED if hasattr(dspy, name))
    tasks: dict[int, str] = {}
    for below, module in owner.named_sub_modules(type_=classes):
        task: str = module.signature.instructions
        inner = list(module.named_sub_modules(type_=dspy.Predict))
        for _, predictor in inner:
            text = vars(predictor)["signature"].instructions
            if not task or task not in text:
                where = render(steps) + below.removeprefix("self")
                names = [(where + name.removeprefix("self")).removeprefix(".") for name, _ in inner]
                raise BindingError(
                    f"cannot bind {path!r}: {type(module).__name__} writes the prompts of its predictors itself, and "
                    "they would be lost. Bind the whole text of one of them: "
                    + ", ".join(f"{name}.instructions" for name in names),
                    {"path": path},
                )
            if task != text:
                tasks[id(predictor)] = task
    return tasks


def replace_task(signature: Any, task: str, text: str) -> Any:
    """The inner signature of such a module whose task instructions are `text`; what DSPy wrote around it stays."""
    plain: str = signature.instructions
    if task in plain:
        return with_instructions(signature, plain.replace(task, text, 1))
    # Loaded state may hold a prompt that an optimizer wrote.
    _, marker, tail = plain.partition(_AGENT)
    return with_instructions(signature, text + (marker + tail if marker else f"\n\n{plain}"))


def demos_fit(keys: Sequence[str] | None) -> Fit:
    """What demos may follow: a list of maps, or, for several predictors, a map from their names to such lists."""
    if keys is None:
        return Fit(frozenset({"list"}), "a list of maps from field to value", to_demos)

    def coerce(value: Any) -> dict[str, list[Any]]:
        if not isinstance(value, dict) or not set(value) <= set(keys):
            raise ValueError(value)
        return {name: to_demos(demos) for name, demos in value.items()}

    return Fit(frozenset({"map"}), f"a map from predictor ({', '.join(keys)}) to a list of maps", coerce)


def to_demos(value: Any) -> list[Any]:
    """A list of maps as fresh `dspy.Example`s. Raises ValueError if it is none."""
    if not isinstance(value, list) or not all(isinstance(demo, dict) and demo for demo in value):
        raise ValueError(value)
    return [dspy.Example(**demo) for demo in value]


def dropped_demos(demos: list[Any], signature: Any) -> list[int]:
    """The indexes of demos that DSPy would leave out of the prompt without a word: no input, or no output in them."""
    return [
        index
        for index, demo in enumerate(demos)
        if not any(name in demo for name in signature.input_fields)
        or not any(name in demo for name in signature.output_fields)
    ]
