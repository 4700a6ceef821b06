"""Instructions, field descriptions and demos as a predictor wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import AGENT_MARKER, SCAFFOLDED, SIGNATURE, field_description
from snakepit_bridge.dspy_integration.serialization import dump, load
from snakepit_bridge.dspy_integration.targets.generation import Fit
from snakepit_bridge.dspy_integration.targets.paths import Step, render
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
    return field_description(signature.fields[field])


def tasks_of(owner: Any, steps: Sequence[Step], path: str) -> dict[int, str]:
    """For each predictor below whose prompt DSPy wrote around the task, by its id: the task.

    Raises:
        BindingError: there is one whose prompt does not contain its task.
    """
    tasks: dict[int, str] = {}
    for below, module in owner.named_sub_modules(type_=SCAFFOLDED):
        task: str = module.signature.instructions
        inner = list(module.named_sub_modules(type_=dspy.Predict))
        for _, predictor in inner:
            text = vars(predictor)[SIGNATURE].instructions
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
    _, marker, tail = plain.partition(AGENT_MARKER)
    return with_instructions(signature, text + (marker + tail if marker else f"\n\n{plain}"))


def demos_fit(signatures: Mapping[str, Any]) -> Fit:
    """What the demos of predictors of these signatures may follow.

    For one predictor that is a list of maps, for several a map from their names to such lists.
    """
    types = list(signatures.values())
    if len(signatures) == 1:
        return Fit(frozenset({"list"}), "a list of maps from field to value", lambda value: to_demos(value, types))

    def coerce(value: Any) -> dict[str, list[Any]]:
        if not isinstance(value, dict) or not value.keys() <= signatures.keys():
            raise ValueError(value)
        return {name: to_demos(demos, types) for name, demos in value.items()}

    return Fit(frozenset({"map"}), f"a map from predictor ({', '.join(signatures)}) to a list of maps", coerce)


def task_in(prompt: str, pattern: str, slot: str) -> str | None:
    """The task in a prompt, where `pattern` is that prompt with `slot` for the task; None if it is another prompt."""
    before, _, after = pattern.partition(slot)
    fits = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before) + len(after)
    return prompt[len(before) : len(prompt) - len(after)] if fits else None


def to_demos(value: Any, types: Sequence[Any] = ()) -> list[Any]:
    """A list of maps as fresh `dspy.Example`s; `types` as in `envelope.load`. Raises ValueError if it is none."""
    if not isinstance(value, list) or not all(isinstance(demo, dict) and demo for demo in value):
        raise ValueError(value)
    return [dspy.Example(**{name: _loaded(field, types) for name, field in demo.items()}) for demo in value]


def _loaded(value: Any, types: Sequence[Any]) -> Any:
    # What a variable can hold and JSON cannot is its own value.
    return load(value, types=types) if isinstance(value, dict | list) else value


def demo_to_map(demo: Mapping[str, Any]) -> dict[str, Any]:
    """A demo as a variable holds it. Raises EnvelopeError if it has something in it that no variable can hold."""
    return {name: dump(value) for name, value in demo.items()}


def dropped_demos(demos: list[Any], signature: Any) -> list[int]:
    """The indexes of demos that DSPy would leave out of the prompt without a word: no input, or no output in them."""
    return [
        index
        for index, demo in enumerate(demos)
        if not any(name in demo for name in signature.input_fields)
        or not any(name in demo for name in signature.output_fields)
    ]
