"""Paths into a program: `a.b[0].attr`, `choices['x'].attr`."""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import HISTORY
from snakepit_bridge.exceptions import BindingError

_STEP = re.compile(
    r"""(?P<dot>\.)?(?P<name>[A-Za-z_]\w*)
      | \[(?P<index>-?\d+)\]
      | \[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]""",
    re.VERBOSE,
)

Step = str | tuple[int | str]
"""An attribute's name, or the one key between brackets in a tuple."""


def parse(path: str) -> tuple[Step, ...]:
    """Splits a path into its steps. A leading `self.` before a longer path is dropped, as DSPy's own names have it.

    Raises:
        BindingError: it is no path.
    """
    steps: list[Step] = []
    position = 0
    while isinstance(path, str) and position < len(path):
        match = _STEP.match(path, position)
        if match is None or (match["name"] is not None and bool(match["dot"]) != bool(steps)):
            break
        if match["name"] is not None:
            steps.append(match["name"])
        else:
            steps.append((int(match["index"]) if match["index"] is not None else match["key"],))
        position = match.end()
    if not steps or position != len(path) or not isinstance(steps[-1], str):
        raise BindingError(
            f"{path!r} is no path to something that can be bound; paths look like 'temperature', 'generate.model', "
            "'steps[0].max_tokens', 'choices[\\'x\\'].k'",
            {"path": path},
        )
    if steps[0] == "self" and len(steps) > 2:  # noqa: PLR2004 - "self.k" itself names the attribute k
        del steps[0]
    return tuple(steps)


def render(steps: Iterable[Step]) -> str:
    """Writes steps as the one spelling that this package reports."""
    text = ""
    for step in steps:
        if isinstance(step, tuple):
            key = step[0]
            # Not its repr: `parse` knows no escapes.
            quote = "" if isinstance(key, int) else '"' if "'" in key else "'"
            text += f"[{quote}{key}{quote}]"
        else:
            text += f".{step}" if text else step
    return text


def follow(root: Any, steps: Sequence[Step], path: str) -> Any:
    """The object that steps lead to from `root`.

    Raises:
        BindingError: there is none; names the closest of what there is.
    """
    found = root
    for position, step in enumerate(steps):
        try:
            found = found[step[0]] if isinstance(step, tuple) else getattr(found, step)
        except (AttributeError, KeyError, IndexError, TypeError):
            where = render(steps[:position]) or type(root).__name__
            raise unknown(path, f"{where} has no {render((step,))}", render((step,)), _steps_of(found)) from None
    return found


def unknown(path: str, problem: str, wanted: str, candidates: Iterable[str]) -> BindingError:
    """The error for a path that leads nowhere: says what is the closest, or all there is if that is little."""
    names = sorted(set(candidates))
    near = closest(wanted, names)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; there is {', '.join(names[:20])}" if names else ""
    return BindingError(f"cannot bind {path!r}: {problem}{hint}", {"path": path, "closest": ",".join(near)})


def closest(wanted: str, names: Iterable[str]) -> list[str]:
    """The names most like `wanted`, nearest first; at most three."""
    by_lower = {name.lower(): name for name in names}
    return [by_lower[near] for near in difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.5)]


def _steps_of(found: Any) -> list[str]:
    if isinstance(found, dspy.Module):
        return [name for name in vars(found) if not name.startswith("_")]
    if isinstance(found, dict):
        return [render(((key,),)) for key in found]
    if isinstance(found, list | tuple):
        return [render(((index,),)) for index in range(len(found))]
    return []


def walk(root: Any) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Every module of a program with the steps that lead to it: what `named_sub_modules` finds, in its order."""
    queue: deque[tuple[tuple[Step, ...], Any]] = deque([((), root)])
    seen = {id(root)}
    while queue:
        steps, found = queue.popleft()
        inside: Iterable[tuple[Step, Any]] = ()
        if isinstance(found, dspy.Module):
            yield steps, found
            # DSPy keeps thousands of requests in it, and copies it never.
            inside = ((name, item) for name, item in vars(found).items() if name != HISTORY)
        elif isinstance(found, list | tuple):
            inside = (((index,), item) for index, item in enumerate(found))
        elif isinstance(found, dict):
            inside = (((key,), item) for key, item in found.items())
        for step, item in inside:
            if id(item) not in seen:
                seen.add(id(item))
                queue.append(((*steps, step), item))


def depth(name: str) -> int:
    """How many steps a name of `named_sub_modules` goes down from `self`."""
    return name.count(".") + name.count("[")
