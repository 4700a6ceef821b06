"""What a path of a program means: the object it stands on, and the modules below that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import READERS, RESERVED, SIGNATURE, Flex
from snakepit_bridge.dspy_integration.targets.adapters import adapter_fit
from snakepit_bridge.dspy_integration.targets.generation import COMMON, PARAMETERS, REFUSED, TEXT, Fit
from snakepit_bridge.dspy_integration.targets.paths import Step, depth, follow, parse, render, unknown
from snakepit_bridge.dspy_integration.targets.plain_attributes import (
    attribute_fit,
    has_plain,
    holds_lm,
    is_bindable,
    lm_fit,
    own_name,
    plain_value,
)
from snakepit_bridge.dspy_integration.targets.prompts import demos_fit, tasks_of
from snakepit_bridge.dspy_integration.targets.registries import Tables
from snakepit_bridge.dspy_integration.targets.target import Target
from snakepit_bridge.dspy_integration.targets.toolsets import agent_of, tools_fit
from snakepit_bridge.exceptions import BindingError

GENERATION = (*COMMON, "model", "lm", "instructions", "demos", "adapter")
"""The names that mean the predictors below an object, unless it has an attribute of that name."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A module that a binding gives something to; `task` and `key` as in `Candidate`."""

    module: Any
    distance: int
    task: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where a target is in a program.

    Attributes:
        owner: the object that the path stands on.
        reached: the modules that read it; none for a plain attribute.
        fit: what the target accepts; None: anything.
        readable: whether the owner is to give its value under the target's name.
        table: the table of `Tables` that its values are looked up in, if there is one.
    """

    target: Target
    owner: Any
    reached: tuple[Reached, ...]
    fit: Fit | None
    readable: bool
    table: Literal["models", "tools", "adapters"] | None = None


def locate(program: Any, path: str, tables: Tables | None = None) -> Site:
    """Finds what a path names in a program.

    Raises:
        BindingError: nothing that can be bound; says what can.
    """
    *steps, last = parse(path)
    name, tables = str(last), tables or {}
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
    field = _field_in(program, steps, name)
    if field is not None:
        return _description(_owner(program, steps[:-2], path), tuple(steps[:-2]), field, path)
    owner = _owner(program, steps, path)
    agent = agent_of(owner) if name == "tools" else None
    if agent is not None:
        fit = tools_fit(agent, owner, tables.get("tools"), path)
        reached = (Reached(owner, 0), Reached(vars(owner)[agent.predictor], 1))
        return Site(Target(tuple(steps), "tools", "tools"), owner, reached, fit, readable=False, table="tools")
    plain = has_plain(owner, name) and not _is_read_by_dspy(owner, name)
    if qualifier is None and name in GENERATION and plain:
        where = render(steps) + "." if steps else ""
        raise BindingError(
            f"cannot bind {path!r}: {type(owner).__name__} has an attribute {name!r} of its own. Say "
            f"'{where}lm.{name}' for the requests of the predictors below, or '{where}self.{name}' for the attribute",
            {"path": path, "ambiguous": name},
        )
    if qualifier == "lm" or (qualifier is None and name in GENERATION):
        return _generation(owner, Target(tuple(steps), "", name, "lm" if plain else ""), path, tables, program)
    return _attribute(owner, tuple(steps), own_name(owner, name), path, tables)


def _owner(program: Any, steps: list[Step], path: str) -> Any:
    owner = follow(program, steps, path)
    if not isinstance(owner, dspy.Module):
        raise BindingError(
            f"cannot bind {path!r}: {render(steps)} is a {type(owner).__name__}, not a dspy.Module", {"path": path}
        )
    if not any(below is owner for _, below in program.named_sub_modules(type_=dspy.Module)):
        raise BindingError(
            f"cannot bind {path!r}: DSPy finds the modules of a program in attributes, lists and dicts only, and "
            f"{render(steps)} is in something else. Keep it in one of those, or bind that module by itself",
            {"path": path},
        )
    return owner


def _is_read_by_dspy(owner: Any, name: str) -> bool:
    return isinstance(owner, READERS.get(name, ()))


def _generation(owner: Any, target: Target, path: str, tables: Tables, program: Any) -> Site:
    name, steps = target.name, target.owner
    kind = "parameter" if name in PARAMETERS else "model" if name == "lm" else name
    target = Target(steps, kind, name, target.said)
    readable = not (target.said or _is_read_by_dspy(owner, name))
    if kind == "adapter":
        _refuse_inside_refine(program, steps, path)
        return Site(
            target, owner, (Reached(owner, 0),), adapter_fit(tables.get("adapters"), path), readable, "adapters"
        )
    found = [] if isinstance(owner, dspy.Predict) else [*_flexes(owner)] if kind in {"parameter", "model"} else []
    found += owner.named_sub_modules(type_=dspy.Predict)
    if not found:
        where = render(steps) or type(owner).__name__
        why = f"there is no predictor in {where} yet whose requests {name} could shape. Bind after they are made"
        if _flexes(owner):
            why = f"Flex makes its predictors anew in each call. It follows {', '.join((*COMMON, 'model', 'lm'))}"
        raise BindingError(f"cannot bind {path!r}: {why}", {"path": path})
    for below, predictor in found:
        _refuse_reserved(predictor, path, below)
    distances = [(below, module, depth(below)) for below, module in found]
    if kind == "demos":
        names = {id(module): below.removeprefix("self").removeprefix(".") for below, module in found}
        keyed = len(found) > 1
        reached = [Reached(module, far, key=names[id(module)] if keyed else None) for _, module, far in distances]
        signatures = {names[id(module)]: vars(module)[SIGNATURE] for _, module in found}
        return Site(target, owner, tuple(reached), demos_fit(signatures), readable)
    fit = PARAMETERS.get(name) or {"model": TEXT, "instructions": _TEXT}[kind]
    tasks = tasks_of(owner, steps, path) if kind == "instructions" else {}
    reached = [Reached(module, far, task=tasks.get(id(module))) for _, module, far in distances]
    return Site(target, owner, tuple(reached), fit, readable, "models" if kind == "model" else None)


def _flexes(owner: Any) -> list[tuple[str, Any]]:
    """The modules below that make their predictors anew in each call, and have but an LM."""
    return list(owner.named_sub_modules(type_=Flex)) if Flex is not None else []


def _refuse_inside_refine(program: Any, steps: tuple[Step, ...], path: str) -> None:
    for length in range(len(steps)):
        outer = follow(program, steps[:length], path)
        if isinstance(outer, dspy.Refine):
            raise BindingError(
                f"cannot bind {path!r}: Refine gives its advice to the module inside through an adapter of its own, "
                f"which this one would replace. Bind {render((*steps[:length], 'adapter'))!r} instead",
                {"path": path},
            )


def _refuse_reserved(predictor: Any, path: str, below: str) -> None:
    signature = vars(predictor).get(SIGNATURE)
    taken = [name for name in RESERVED if name in getattr(signature, "input_fields", ())]
    if taken:
        raise BindingError(
            f"cannot bind {path!r}: the signature of {below.removeprefix('self.') or 'self'} has an input field named "
            f"{taken[0]!r}, which dspy.Predict takes as an argument of its own, so that it never reaches the LM. "
            "Rename the field",
            {"path": path, "field": taken[0]},
        )


def refuse_reserved_fields(module: Any) -> None:
    """Refuses a module whose inputs DSPy would take for arguments of its own.

    Raises:
        BindingError: an input field of one of its predictors is called config, demos, lm or signature.
    """
    for below, predictor in module.named_sub_modules(type_=dspy.Predict):
        _refuse_reserved(predictor, below, below)


def _field_in(program: Any, steps: list[Step], name: str) -> str | None:
    """The field in a path like `generate.fields['answer'].desc`, unless the program has such an object itself."""
    if name != "desc" or len(steps) < 2 or steps[-2] != "fields" or not isinstance(steps[-1], tuple):  # noqa: PLR2004
        return None
    owner = follow(program, steps[:-2], render((*steps, name)))
    if has_plain(owner, "fields") and not isinstance(owner, dspy.Predict):
        return None
    return str(steps[-1][0])


def _description(owner: Any, steps: tuple[Step, ...], field: str, path: str) -> Site:
    found = list(owner.named_sub_modules(type_=dspy.Predict))
    reached = [Reached(module, depth(below)) for below, module in found if field in vars(module)[SIGNATURE].fields]
    if not reached:
        fields = [name for _, module in found for name in vars(module)[SIGNATURE].fields]
        raise unknown(path, f"no signature below has a field {field!r}", field, fields)
    return Site(Target(steps, "description", field), owner, tuple(reached), _TEXT, readable=False)


def _attribute(owner: Any, steps: tuple[Step, ...], name: str, path: str, tables: Tables) -> Site:
    if not has_plain(owner, name):
        raise unknown(path, f"{render(steps) or type(owner).__name__} has no {name!r}", name, bindable(owner))
    value = plain_value(owner, name)
    said = "self" if name in GENERATION else ""
    target = Target(steps, "attribute", name, said)
    models = tables.get("models")
    if holds_lm(name, value) and models is not None:
        return Site(target, owner, (), lm_fit(models), readable=True, table="models")
    if isinstance(owner, dspy.MultiChainComparison) and name == "M":
        raise BindingError(
            f"cannot bind {path!r}: M is written into the signature of a MultiChainComparison when it is made. Make "
            "one for each M, and choose among them with sb.VariableModule",
            {"path": path},
        )
    if not is_bindable(name, value):
        instead = {
            "lm": "'model'",
            "signature": "'instructions'",
            "config": "a parameter, like 'temperature'",
            "tools": "the tools of a ReAct, ReActV2 or RLM",
        }.get(name)
        if holds_lm(name, value):
            instead = f"{path!r} with models={{name: dspy.LM(...)}}"
        raise BindingError(
            f"cannot bind {path!r}: {name} is a {type(value).__name__}, which no variable can hold; bind "
            f"{instead or 'one of ' + ', '.join(bindable(owner))}",
            {"path": path},
        )
    return Site(target, owner, (), attribute_fit(owner, name), readable=True)


def bindable(owner: Any) -> list[str]:
    """The names that can be bound on a module: its plain attributes, and what shapes the requests of its predictors."""
    own = [name for name, value in vars(owner).items() if is_bindable(name, value) and name not in GENERATION]
    own += ["tools"] if agent_of(owner) is not None else []
    return [*own, *(name for name in GENERATION if any(True for _ in owner.named_sub_modules(type_=dspy.Predict)))]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - the caller turns any refusal into one error
    return value


_TEXT = Fit(TEXT.types, "text", _text)
