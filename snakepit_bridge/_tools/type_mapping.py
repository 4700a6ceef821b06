"""An annotation as JSON Schema, and what makes the annotated type of the plain data that arrives.

The everyday ones are done here, with and without pydantic alike; every other is pydantic's.
"""

from __future__ import annotations

import base64
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

__all__ = ["ArgumentError", "Convert", "Mapped", "accepts_none", "mapped"]

Convert = Callable[[Any], Any]

_ARRAYS = (list, Sequence, Iterable, Collection)
_MAPS = (dict, Mapping)
_NDARRAY: dict[str, Any] = {
    "type": "object",
    "description": "an array of numbers",
    "properties": {"dtype": {"type": "string"}, "shape": {"type": "array", "items": {"type": "integer"}}},
    "required": ["dtype", "shape"],
}
_JSON_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class ArgumentError(ValueError):
    """Arguments fit the schema, and yet not what the tool wants.

    Attributes:
        problems: where, as a path like `filter.tags[2]`, and what.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"argument {path}: {problem}" for path, problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Mapped:
    """An annotation's schema, and its conversion; None if what arrives is what is wanted."""

    schema: dict[str, Any]
    convert: Convert | None = None


def _integer(value: Any) -> Any:
    # To JSON Schema 1.0 is an integer.
    return int(value) if type(value) is float else value


def _number(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ArgumentError([("", "text in place of bytes has to be their base64")]) from None


_BARE: dict[Any, Mapped] = {
    inspect.Parameter.empty: Mapped({}),
    Any: Mapped({}),
    object: Mapped({}),
    str: Mapped({"type": "string"}),
    bool: Mapped({"type": "boolean"}),
    int: Mapped({"type": "integer"}, _integer),
    float: Mapped({"type": "number"}, _number),
    None: Mapped({"type": "null"}),
    type(None): Mapped({"type": "null"}),
    bytes: Mapped({"type": "string", "contentEncoding": "base64"}, _bytes),
    list: Mapped({"type": "array"}),
    dict: Mapped({"type": "object", "additionalProperties": True}),
}


def mapped(annotation: Any) -> Mapped | None:
    """The everyday annotations: plain types, list, dict, Optional, Union, Literal, TypedDict, arrays; else None."""
    try:
        if annotation in _BARE:
            return _BARE[annotation]
    except TypeError:
        # Not hashable, like Annotated with a list in it.
        return None
    origin, arguments = get_origin(annotation), get_args(annotation)
    found: Mapped | None = None
    if _is_ndarray(annotation) or _is_ndarray(origin):
        found = Mapped(dict(_NDARRAY))
    elif origin is Literal:
        found = _literal(arguments)
    elif origin in {Union, types.UnionType}:
        found = _union(arguments)
    elif origin in _ARRAYS and len(arguments) == 1:
        found = _list(mapped(arguments[0]))
    elif origin in _MAPS and len(arguments) == 2 and arguments[0] is str:  # noqa: PLR2004
        found = _dict(mapped(arguments[1]))
    elif typing.is_typeddict(annotation):
        found = _typed_dict(annotation)
    return found


def accepts_none(annotation: Any) -> bool:
    """Whether None is a value of it, as far as that is easily told."""
    if any(annotation is one for one in (None, type(None), Any, object, inspect.Parameter.empty)):
        return True
    if get_origin(annotation) is Annotated:
        return accepts_none(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return None in get_args(annotation)
    return get_origin(annotation) in {Union, types.UnionType} and any(map(accepts_none, get_args(annotation)))


def _is_ndarray(annotation: Any) -> bool:
    kind = annotation if isinstance(annotation, type) else None
    return kind is not None and (kind.__module__, kind.__qualname__) == ("numpy", "ndarray")


def _literal(choices: tuple[Any, ...]) -> Mapped | None:
    kinds = {type(choice) for choice in choices}
    if not kinds <= {str, int, bool, type(None)}:
        return None
    schema: dict[str, Any] = {"enum": list(choices)}
    if len(kinds) == 1:
        schema["type"] = _JSON_TYPES[kinds.pop()]
    return Mapped(schema)


def _union(options: tuple[Any, ...]) -> Mapped | None:
    each = [mapped(option) for option in options]
    found = [option for option in each if option is not None]
    if len(found) < len(each):
        return None
    schema = {"anyOf": [option.schema for option in found]}
    wanted = [option for option, annotation in zip(found, options, strict=True) if annotation is not type(None)]
    if len(wanted) > 1:
        # Which of them is meant, only pydantic finds out. Numbers are left as they come.
        return Mapped(schema) if all(one.convert in {None, _integer, _number} for one in wanted) else None
    convert = wanted[0].convert if wanted else None
    return Mapped(schema, convert and (lambda value: None if value is None else convert(value)))


def _list(item: Mapped | None) -> Mapped | None:
    if item is None:
        return None
    convert = item.convert
    return Mapped({"type": "array", "items": item.schema}, convert and (lambda value: [convert(one) for one in value]))


def _dict(item: Mapped | None) -> Mapped | None:
    if item is None:
        return None
    convert = item.convert
    return Mapped(
        {"type": "object", "additionalProperties": item.schema or True},
        convert and (lambda value: {key: convert(one) for key, one in value.items()}),
    )


def _typed_dict(kind: Any) -> Mapped | None:
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except (NameError, TypeError):
        return None
    fields: dict[str, Mapped] = {}
    required: list[str] = []
    for name, hint in hints.items():
        marked = get_origin(hint)
        field = mapped(get_args(hint)[0] if marked in {Required, NotRequired} else hint)
        if field is None:
            return None
        fields[name] = field
        # What is written as text, Python itself takes for required.
        if marked is Required or (marked is not NotRequired and name in kind.__required_keys__):
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": {name: field.schema for name, field in fields.items()}}
    if required:
        schema["required"] = required
    converts = {name: field.convert for name, field in fields.items() if field.convert}

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        return {key: converts[key](one) if key in converts else one for key, one in value.items()}

    return Mapped(schema, convert if converts else None)
