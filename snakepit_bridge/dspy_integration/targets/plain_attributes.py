"""Which of a module's own attributes may follow a variable, and what each accepts."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import ALIASES, COUNTS, OWN_ATTRIBUTES, PACKAGE
from snakepit_bridge.dspy_integration.targets.generation import REFUSED, TEXT, Fit
from snakepit_bridge.dspy_integration.targets.target import MISSING

_NUMBER = Fit(
    frozenset({"integer", "float", "choice"}), "a number, as it is now", lambda value: _only(value, int, float)
)
_SCALARS: dict[type, Fit] = {
    bool: Fit(frozenset({"boolean", "choice"}), "true or false, as it is now", lambda value: _only(value, bool)),
    int: _NUMBER,
    float: _NUMBER,
    str: Fit(frozenset({"string", "choice", "module"}), "text, as it is now", lambda value: _only(value, str)),
}


class Covering:
    """A descriptor in front of a plain attribute of a class.

    Attributes:
        fallback: the attribute without it; MISSING if there is none.
    """

    fallback: Any


def _only(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(value)
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(value)
    return value


_COUNT = Fit(frozenset({"integer", "choice"}), "a whole number from 1", _count)


def own_name(owner: Any, name: str) -> str:
    """The name under which a module has an attribute: DSPy has called the same count by two names."""
    alias = ALIASES.get(name)
    return alias if alias is not None and not has_plain(owner, name) and has_plain(owner, alias) else name


def has_plain(owner: Any, name: str) -> bool:
    """Whether a module has an attribute of this name without any binding."""
    if name in vars(owner):
        return True
    static = inspect.getattr_static(type(owner), name, MISSING)
    return static is not MISSING and not (isinstance(static, Covering) and static.fallback is MISSING)


def plain_value(owner: Any, name: str) -> Any:
    """What a module has under a name without any binding."""
    value = vars(owner).get(name, inspect.getattr_static(type(owner), name, MISSING))
    return value.fallback if isinstance(value, Covering) else value


def is_bindable(name: str, value: Any) -> bool:
    """Whether an attribute of this name and plain value may follow a variable."""
    if name.startswith("_") or name in OWN_ATTRIBUTES or name in REFUSED:
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


def holds_lm(name: str, value: Any) -> bool:
    """Whether an attribute is where a module keeps an LM of its own, as `RLM.sub_lm`."""
    return isinstance(value, dspy.BaseLM) or (name in {"lm", "sub_lm"} and value is None)


def lm_fit(table: Mapping[str, Any]) -> Fit:
    """What an attribute that holds an LM may follow: a name in `table`."""

    def coerce(value: Any) -> Any:
        if not isinstance(value, str) or value not in table:
            raise ValueError(value)
        return table[value]

    return Fit(TEXT.types, f"the name of an LM in models=: {', '.join(table)}", coerce)


def attribute_fit(owner: Any, name: str) -> Fit | None:
    """What a plain attribute accepts; None: anything."""
    if name in COUNTS and type(owner).__module__.startswith((f"{PACKAGE}.", "snakepit_bridge.")):
        return _COUNT
    return _SCALARS.get(type(plain_value(owner, name)))
