"""What a plain program is set to, by slot, so that two copies of it can be compared and one of them read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from snakepit_bridge._variables.values import encode
from snakepit_bridge.dspy_integration._dspy_internals import (
    CONFIG,
    DEMOS,
    LM,
    NOT_SETTINGS,
    OF_PREDICT,
    SIGNATURE,
    field_description,
    field_prefix,
)
from snakepit_bridge.dspy_integration.overlay.view import Slot
from snakepit_bridge.dspy_integration.targets.models import lm_settings
from snakepit_bridge.dspy_integration.targets.paths import Step, render
from snakepit_bridge.dspy_integration.targets.prompts import dropped_demos
from snakepit_bridge.exceptions import BridgeError

UNSENT = "prefix"
"""The kind of slot of which no adapter of DSPy says anything to an LM."""


def state_of(module: Any) -> dict[Slot, Any]:
    """What a module of a program without bindings is set to, by (kind, name) as bindings have it."""
    own = vars(module)
    predicts = isinstance(module, dspy.Predict)
    hidden = NOT_SETTINGS | OF_PREDICT if predicts else NOT_SETTINGS
    found: dict[Slot, Any] = {
        ("attribute", name): value for name, value in own.items() if not name.startswith("_") and name not in hidden
    }
    if LM in own and isinstance(own[LM], dspy.BaseLM | None):
        found["model", "model"] = own[LM]
    if predicts:
        signature = own[SIGNATURE]
        found |= {("parameter", name): value for name, value in own[CONFIG].items()}
        found["demos", "demos"] = _sent(own[DEMOS], signature)
        found["signature", "signature"] = signature.signature
        found["instructions", "instructions"] = signature.instructions
        for name, field in signature.fields.items():
            found["description", name] = field_description(field)
            found[UNSENT, name] = field_prefix(field)
    return found


def _sent(demos: Sequence[Any], signature: Any) -> list[dict[str, Any]]:
    """The demos that DSPy would put into a prompt."""
    dropped = set(dropped_demos(list(demos), signature))
    return [dict(demo.items()) for index, demo in enumerate(demos) if index not in dropped]


def path_of(steps: Sequence[Step], slot: Slot) -> str:
    """A slot of the module at `steps` as a path."""
    kind, name = slot
    if kind in {"description", UNSENT}:
        return render((*steps, "fields", (name,), "desc" if kind == "description" else "prefix"))
    return render((*steps, name))


def changed(before: Mapping[Slot, Any], after: Mapping[Slot, Any]) -> list[Slot]:
    """The slots in which two copies of a module differ.

    An attribute counts if it holds data, and was there before. An LM that is gone does not: resetting a program takes
    it away.
    """
    return [slot for slot in {**before, **after} if _differs(slot, before, after)]


_MISSING = object()


def _differs(slot: Slot, before: Mapping[Slot, Any], after: Mapping[Slot, Any]) -> bool:
    kind, _ = slot
    one, other = before.get(slot, _MISSING), after.get(slot, _MISSING)
    if kind == "model":
        return other is not None and other is not _MISSING and lm_settings(one) != lm_settings(other)
    if kind == "attribute" and one is _MISSING:
        return False
    if equal(one, other):
        return False
    return kind != "attribute" or _wired(one) is not None


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same to the server; or, of kinds it does not know, to each other."""
    if one is other:
        return True
    wired = _wired(one)
    if wired is not None:
        return wired == _wired(other)
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return repr(one) == repr(other)


def _wired(value: Any) -> bytes | None:
    try:
        return encode(value).SerializeToString(deterministic=True)
    except BridgeError:
        return None
