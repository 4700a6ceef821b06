"""What a path of a program means: the object it stands on, and the predictors below it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dspy

from snakepit_bridge.dspy_integration.attributes import NameOverlay
from snakepit_bridge.dspy_integration.binding import MISSING, Target
from snakepit_bridge.dspy_integration.generation import COMMON, PARAMETERS, REFUSED, TEXT, Fit
from snakepit_bridge.dspy_integration.paths import depth, follow, parse, render, unknown
from snakepit_bridge.dspy_integration.prompts import task_of, to_demos
from snakepit_bridge.exceptions import BindingError

GENERATION = (*COMMON, "model", "instructions", "demos")
"""The names that mean the predictors below an object, unless it has an attribute of that name."""

_DEMOS = Fit(frozenset({"list"}), "a list of maps from field to value", to_demos)
_NUMBER = Fit(
    frozenset({"integer", "float", "choice"}), "a number, as it is now", lambda value: _only(value, int, float)
)
_SCALARS: dict[type, Fit] = {
    bool: Fit(frozenset({"boolean", "choice"}), "true or false, as it is now", lambda value: _only(value, bool)),
    int: _NUMBER,
    float: _NUMBER,
    str: Fit(frozenset({"string", "choice", "module"}), "text, as it is now", lambda value: _only(value, str)),
}
_DSPY_OWN = frozenset(
    ["signature", "config", "lm", "callbacks", "history", "fields", "train", "traces", "stage", "tools"]
)


def _only(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(value)
    return value


@dataclass(frozen=True, slots=True)
class Reached:
    """A predictor that a binding gives something to; `task` as in `Candidate`."""

    predictor: Any
    distance: int
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where a target is in a program.

    Attributes:
        owner: the object that the path stands on.
        reached: the predictors below it; none for a plain attribute.
        fit: what the target accepts; None: anything.
    """

    target: Target
    owner: Any
    reached: tuple[Reached, ...]
    fit: Fit | None


def locate(program: Any, path: str) -> Site:
    """Finds what a path names in a program.

    Raises:
        BindingError: nothing that can be bound; says what can.
    """
    *steps, name = parse(path)
    name = str(name)
    qualifier = None
    if steps and steps[-1] in {"lm", "self"}:
        qualifier = steps.pop()
    if qualifier == "lm" and name not in {*PARAMETERS, *GENERATION, *REFUSED}:
        raise unknown(path, f"{name} is no generation parameter that a variable may set", name, PARAMETERS)
    if name in REFUSED:
        raise BindingError(
            f"cannot bind {path!r}: {name} decides where a request goes and with which key, which no variable may. "
            "Give it to dspy.LM when you make it; to switch between LMs bind 'model' with models={...}",
            {"path": path},
        )
    owner = follow(program, steps, path)
    if not isinstance(owner, dspy.Module):
        raise BindingError(
            f"cannot bind {path!r}: {render(steps)} is a {type(owner).__name__}, not a dspy.Module", {"path": path}
        )
    plain = _has_plain(owner, name)
    if qualifier is None and name in GENERATION and plain:
        where = render(steps) + "." if steps else ""
        raise BindingError(
            f"cannot bind {path!r}: {type(owner).__name__} has an attribute {name!r} of its own. Say "
            f"'{where}lm.{name}' for the requests of the predictors below, or '{where}self.{name}' for the attribute",
            {"path": path, "ambiguous": name},
        )
    if qualifier == "lm" or (qualifier is None and name in GENERATION):
        return _generation(owner, tuple(steps), name, path, said="lm" if plain else "")
    return _attribute(owner, tuple(steps), name, path, plain=plain)


def _has_plain(owner: Any, name: str) -> bool:
    if isinstance(owner, dspy.Predict) and name == "demos":
        return False
    if name in vars(owner):
        return True
    static = inspect.getattr_static(type(owner), name, MISSING)
    return static is not MISSING and not (isinstance(static, NameOverlay) and static.fallback is MISSING)


def _generation(owner: Any, steps: tuple[Any, ...], name: str, path: str, *, said: str) -> Site:
    kind = "parameter" if name in PARAMETERS else name
    fit = PARAMETERS.get(name) or {"model": TEXT, "instructions": _INSTRUCTIONS, "demos": _DEMOS}[name]
    found = list(owner.named_sub_modules(type_=dspy.Predict))
    if not found:
        raise BindingError(
            f"cannot bind {path!r}: there is no predictor in {render(steps) or type(owner).__name__} yet whose "
            f"requests {name} could shape. Bind after they are made",
            {"path": path},
        )
    if kind == "demos" and len(found) > 1:
        raise BindingError(
            f"cannot bind {path!r}: the {len(found)} predictors below want different demos; name one of "
            f"{', '.join(_path_of(steps, below) + '.demos' for below, _ in found)}",
            {"path": path},
        )
    tasks = _tasks(owner, steps, path) if kind == "instructions" else {}
    reached = tuple(Reached(predictor, depth(below), tasks.get(id(predictor))) for below, predictor in found)
    return Site(Target(steps, kind, name, said), owner, reached, fit)


def _tasks(owner: Any, steps: tuple[Any, ...], path: str) -> dict[int, str]:
    """For the predictors whose prompt DSPy builds around the task, that task. Refuses where it can not be told."""
    tasks: dict[int, str] = {}
    for below, module in owner.named_sub_modules(type_=dspy.Module):
        if isinstance(module, dspy.ReAct):
            task = task_of(module)
            if task is not None:
                tasks[id(module.react)] = task
                continue
        elif not _builds_prompts(module):
            continue
        inner = ", ".join(
            _path_of(steps, below + name.removeprefix("self")) + ".instructions"
            for name, _ in module.named_sub_modules(type_=dspy.Predict)
        )
        raise BindingError(
            f"cannot bind {path!r}: {type(module).__name__} writes the prompts of its predictors itself, and they "
            f"would be lost. Bind the whole text of one of them: {inner}",
            {"path": path},
        )
    return tasks


def _builds_prompts(module: Any) -> bool:
    """Whether it is one of DSPy's modules with scaffolding in its inner instructions."""
    names = ("ProgramOfThought", "CodeAct", "RLM", "ReActV2", "Flex")
    return isinstance(module, tuple(getattr(dspy, name) for name in names if hasattr(dspy, name)))


def _path_of(steps: tuple[Any, ...], name: str) -> str:
    """The path of a predictor that `named_sub_modules` of the object at `steps` calls `name`."""
    start, below = render(steps), name.removeprefix("self")
    return start + below if start else below.removeprefix(".")


def _attribute(owner: Any, steps: tuple[Any, ...], name: str, path: str, *, plain: bool) -> Site:
    if not plain:
        raise unknown(path, f"{render(steps) or type(owner).__name__} has no {name!r}", name, bindable(owner))
    value = vars(owner).get(name, inspect.getattr_static(type(owner), name, MISSING))
    value = value.fallback if isinstance(value, NameOverlay) else value
    if not _is_bindable(name, value):
        instead = {"lm": "'model'", "signature": "'instructions'", "config": "a parameter, like 'temperature'"}.get(
            name
        )
        raise BindingError(
            f"cannot bind {path!r}: {name} is a {type(value).__name__}, which no variable can hold; bind "
            f"{instead or 'one of ' + ', '.join(bindable(owner))}",
            {"path": path},
        )
    said = "self" if name in GENERATION else ""
    return Site(Target(steps, "attribute", name, said), owner, (), _SCALARS.get(type(value)))


def _is_bindable(name: str, value: Any) -> bool:
    if name.startswith("_") or name in _DSPY_OWN or name in REFUSED:
        return False
    if isinstance(value, (dspy.Module, dspy.BaseLM, type, types.FunctionType, property, classmethod, staticmethod)):
        return False
    if hasattr(type(value), "__set__") or callable(value):
        return False
    return not (isinstance(value, list | tuple | dict) and _holds_modules(value))


def _holds_modules(value: Any) -> bool:
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return any(
        isinstance(item, dspy.Module) or (isinstance(item, list | tuple | dict) and _holds_modules(item))
        for item in items
    )


def bindable(owner: Any) -> list[str]:
    """The names that can be bound on a module: its plain attributes, and what shapes the requests of its predictors."""
    own = [name for name, value in vars(owner).items() if _is_bindable(name, value) and name not in GENERATION]
    return [*own, *(name for name in GENERATION if any(True for _ in owner.named_sub_modules(type_=dspy.Predict)))]


def _instructions(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - the caller turns any refusal into one error
    return value


_INSTRUCTIONS = Fit(TEXT.types, "text", _instructions)
