"""A function's arguments as JSON Schema, and how what arrives becomes what the function wants."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, Optional

from snakepit_bridge._tools import docstrings
from snakepit_bridge._tools.argument_types import ArgumentTypes, refuse
from snakepit_bridge._tools.type_mapping import ArgumentError, Convert, accepts_none

__all__ = ["Signature", "defined", "described", "signature"]

_MISSING = Parameter.empty


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and gives.

    Attributes:
        arguments: the JSON Schema of its arguments.
        result: the JSON Schema of its result; None if its annotation does not tell.
        converts: how to make what is wanted of what arrives, by argument; the others are wanted as they arrive.
        others: the same for arguments that `**kwargs` takes.
        defaults: what to pass for an argument left out, where the function itself does not know.
    """

    arguments: dict[str, Any]
    result: dict[str, Any] | None
    converts: dict[str, Convert]
    others: Convert | None
    defaults: dict[str, Callable[[], Any]]

    def bind(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function wants them; the server has checked them against the schema.

        Raises:
            ArgumentError: one is nothing that its type can be made of.
        """
        for name, value in arguments.items():
            convert = self.converts.get(name) or (self._other(name) if self.others else None)
            if convert is not None:
                try:
                    arguments[name] = convert(value)
                except ArgumentError as error:
                    raise ArgumentError([(name + path, problem) for path, problem in error.problems]) from None
        for name, default in self.defaults.items():
            if name not in arguments:
                arguments[name] = default()
        return arguments

    def _other(self, name: str) -> Convert | None:
        return None if name in self.arguments["properties"] else self.others


def defined(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that was written: without the partial, the bound method or the object that is called."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    called: Callable[..., Any] = type(function).__call__
    return called


def described(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A function's description, and those of its arguments, by its docstring."""
    written = defined(function)
    docstring = written.__doc__
    if not docstring and written is not function and not isinstance(function, functools.partial):
        # Of an object that is called, the class says what it is.
        docstring = type(function).__doc__ if not inspect.isroutine(function) else None
    return docstrings.parse(inspect.cleandoc(docstring or ""))


def signature(function: Callable[..., Any], tool: str, descriptions: Mapping[str, str]) -> Signature:
    """Reads a function's signature.

    Raises:
        InvalidRequestError: it takes arguments that cannot travel by name, or of a type that has no schema.
    """
    hints = _hints(function, tool)
    try:
        given = inspect.signature(function)
    except (TypeError, ValueError):
        refuse(
            tool, "", "Python cannot tell its signature; wrap it in a function of your own, or say arguments_schema="
        )
    types = ArgumentTypes(tool)
    required: list[str] = []
    defaults: dict[str, Callable[[], Any]] = {}
    for name, parameter in given.parameters.items():
        annotation = hints.get(name, parameter.annotation)
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            refuse(tool, name, f"{name} is positional-only, and arguments travel by name; take the `/` away")
        if parameter.kind is Parameter.VAR_POSITIONAL:
            refuse(tool, name, f"*{name} takes arguments without a name; take one list instead")
        if parameter.kind is Parameter.VAR_KEYWORD:
            types.others(annotation)
            continue
        default = parameter.default
        if _is_field(default):
            annotation = Annotated[Any if annotation is _MISSING else annotation, default]
            if not default.is_required():
                defaults[name] = functools.partial(default.get_default, call_default_factory=True)
            default = _MISSING if default.is_required() or default.default_factory else default.default
            required += [] if name in defaults else [name]
        elif default is _MISSING:
            required.append(name)
        elif default is None and not accepts_none(annotation):
            annotation = Optional[annotation]  # noqa: UP045  an annotation may be text, which | does not take
        types.add(name, annotation, default, descriptions.get(name, ""))
    schema, converts, others = types.finish()
    if required:
        schema["required"] = required
    result = types.result(hints.get("return", given.return_annotation))
    return Signature(schema, result, converts, others, defaults)


def _hints(function: Callable[..., Any], tool: str) -> dict[str, Any]:
    written = defined(function)
    if inspect.isclass(written):
        written = written.__init__
    try:
        return typing.get_type_hints(written, localns=_enclosing(written), include_extras=True)
    except NameError as error:
        refuse(
            tool, "", f"an annotation cannot be resolved: {error}; define it in the module, or say arguments_schema="
        )
    except TypeError:
        # Of what is written in C there are none.
        return {}


def _enclosing(function: Callable[..., Any]) -> dict[str, Any] | None:
    """The local names of the functions that this one is defined in, as far as they run now.

    Annotations that are text, as `from __future__ import annotations` makes them, may name a class defined there.
    """
    above = getattr(function, "__qualname__", "").split(".<locals>.")[:-1]
    if not above:
        return None
    names: dict[str, Any] = {}
    wanted = {".<locals>.".join(above[: depth + 1]) for depth in range(len(above))}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_qualname in wanted and frame.f_globals is getattr(function, "__globals__", None):
            # The inner ones come first, and win.
            names = frame.f_locals | names
        frame = frame.f_back
    return names or None


def _is_field(default: Any) -> bool:
    return type(default).__module__ == "pydantic.fields" and type(default).__name__ == "FieldInfo"
