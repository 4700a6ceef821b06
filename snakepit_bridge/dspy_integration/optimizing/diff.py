"""What an optimizer changed in a program, as values for the variables that are bound there."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import LM
from snakepit_bridge.dspy_integration.optimizing.freezing import plain_copy, served_by
from snakepit_bridge.dspy_integration.optimizing.program_state import UNSENT, changed, equal, path_of, state_of
from snakepit_bridge.dspy_integration.overlay.binding import Binding
from snakepit_bridge.dspy_integration.overlay.overlay import overlay_of
from snakepit_bridge.dspy_integration.overlay.view import Slot
from snakepit_bridge.dspy_integration.targets.paths import Step, follow, render, walk
from snakepit_bridge.dspy_integration.targets.prompts import demo_to_map, task_in
from snakepit_bridge.dspy_integration.targets.target import MISSING
from snakepit_bridge.exceptions import BindingError

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session
    from snakepit_bridge._variables.mirror import Snapshot
    from snakepit_bridge._variables.variables import Variable

_TASK = "\N{OBJECT REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What differs between a program as it was frozen and what an optimizer made of it.

    Attributes:
        values: session -> variable -> its new value.
        unbound: the paths of what no variable carries.
        unsent: the same, of what no LM is told anyway.
    """

    values: dict[Session, dict[str, Any]] = field(default_factory=dict)
    unbound: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Said:
    """What one place of the optimized program says of a variable, or of one key of the map that it was, `whole`."""

    path: str
    value: Any
    new: bool
    key: str | None = None
    whole: Any = None


def compare(
    program: Any, optimized: Any, seen: Mapping[Session, Snapshot], described: Mapping[Session, Mapping[str, Variable]]
) -> Findings:
    """Finds what an optimizer changed in a frozen program.

    Args:
        program: the live program.
        optimized: a program without bindings.
        seen: what the frozen program was made from.
        described: the variables as they are now.

    Raises:
        BindingError: there are two values for one variable, or one that its path does not take; or `optimized` is no
            copy of the program.
    """
    frozen = plain_copy(program, lambda binding: binding.value_in(seen[binding.session]))
    # The same with a mark for each text of instructions, to tell it from the prompt that DSPy wrote around it.
    marked = plain_copy(
        program, lambda one: _TASK if one.target.kind == "instructions" else one.value_in(seen[one.session])
    )
    found = Findings()
    said: dict[tuple[Session, str], list[_Said]] = {}
    for steps, module in walk(program):
        before, after = state_of(follow(frozen, steps, "")), state_of(_counterpart(optimized, steps))
        differing, served = changed(before, after), served_by(module)
        for slot, binding in served.items():
            path, state = path_of(steps, slot), seen[binding.session].variables.get(binding.variable)
            whole = binding.default if state is None else state.value
            key = _key_of(module, slot)
            old = whole if key is None else (whole or {}).get(key)
            if slot not in differing:
                if slot[0] != "model" or after.get(slot) is not None:
                    one = _Said(path, old, new=False, key=key, whole=whole)
                    said.setdefault((binding.session, binding.variable), []).append(one)
                continue
            value = _value_of(
                module, slot, binding, after, old=old, marked=state_of(follow(marked, steps, "")), key=key
            )
            if value is MISSING:
                found.unbound.append(path)
            else:
                said.setdefault((binding.session, binding.variable), []).append(
                    _Said(path, value, new=True, key=key, whole=whole)
                )
        for slot in differing:
            if slot not in served:
                (found.unsent if slot[0] == UNSENT else found.unbound).append(path_of(steps, slot))
    for (session, name), parts in said.items():
        places = _joined(parts)
        new = next((one for one in places if one.new), None)
        if new is not None:
            variable = described[session].get(name)
            _refuse_two(name, places, secret=variable is None or variable.secret)
            value = _fitting(new.value, variable)
            # Published before, by whoever sends it again after a lost answer.
            if variable is None or not equal(value, variable.value):
                found.values.setdefault(session, {})[name] = value
    return found


def _counterpart(optimized: Any, steps: Sequence[Step]) -> Any:
    try:
        module = follow(optimized, steps, "")
    except BindingError:
        module = None
    if not isinstance(module, dspy.Module):
        raise BindingError(
            f"the optimized {type(optimized).__name__} has no module {render(steps)!r} as the live program has: give "
            "publish what an optimizer made of sb.freeze(program)",
            {"path": render(steps)},
        )
    return module


def _value_of(
    module: Any,
    slot: Slot,
    binding: Binding,
    after: Mapping[Slot, Any],
    *,
    old: Any,
    marked: Mapping[Slot, Any],
    key: str | None,
) -> Any:
    """The value with which a variable gives a slot what it has in `after`; MISSING if there is none."""
    kind, value = slot[0], after.get(slot)
    if kind == "instructions" and (overlay := overlay_of(module)) is not None:
        if overlay.view.winners[slot].task is not None:
            value = task_in(str(value), marked[slot], _TASK)
    elif kind == "demos":
        value = [demo_to_map(demo) for demo in value or ()]
    elif kind == "model" and binding.models is not None:
        value = binding.models.name_of(value, vars(module)[LM] or dspy.settings.lm, old)
    elif kind not in {"parameter", "attribute", "description"}:
        return MISSING
    if value is None and kind != "parameter":
        return MISSING
    if key is None:
        binding.convert(value)
    return value


def _key_of(module: Any, slot: Slot) -> str | None:
    overlay = overlay_of(module)
    found = overlay.view.winners.get(slot) if overlay is not None else None
    return found.key if found is not None else None


def _joined(parts: Sequence[_Said]) -> list[_Said]:
    """What is said of one variable, with what is said of the keys of a map made into one."""
    keyed = [one for one in parts if one.key is not None]
    if not keyed:
        return list(parts)
    new = {one.key: one.value for one in keyed if one.new}
    paths = ", ".join(one.path for one in keyed if one.new or not new)
    whole = _Said(paths, {**(keyed[0].whole or {}), **new}, new=bool(new))
    return [whole, *(one for one in parts if one.key is None)]


def _refuse_two(name: str, places: Sequence[_Said], *, secret: bool) -> None:
    if all(equal(places[0].value, one.value) for one in places):
        return
    shown = (one.path if secret else f"{one.path} is {textwrap.shorten(repr(one.value), 80)}" for one in places)
    raise BindingError(
        f"the optimizer left more than one value where variable {name!r} is bound: {', '.join(shown)}. Bind each path "
        "to a variable of its own, and publish again",
        {"variable": name, "paths": ",".join(one.path for one in places)},
    )


def _fitting(value: Any, variable: Variable | None) -> Any:
    """A number as its variable wants it: what takes a number makes a float of it."""
    whole = variable is not None and variable.type == "integer" and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
